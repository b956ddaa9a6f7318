//! Health as a daemon says it: alive, started, ready. Nothing is inferred from a dropped value, except the one direction that is safe:
//! a [`CriticalTask`] that goes away without saying so makes the daemon unhealthy for good, so a panicking task never looks ready.

use tokio::sync::watch;

/// Shared by everything in a process that has something to say about its health. Clones speak of the same state.
#[derive(Debug, Clone)]
pub struct Health {
    state: watch::Sender<State>,
}

#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) started: bool,
    pub(crate) ready: Result<(), String>,
    /// Sticky: the daemon cannot recover by itself and wants to be restarted.
    pub(crate) failed: Option<String>,
}

impl State {
    /// Whether work may be given to this daemon; otherwise why not.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        match &self.failed {
            Some(reason) => Err(reason.clone()),
            None => self.ready.clone(),
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Not started and not ready.
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            started: false,
            ready: Err("the daemon is starting; wait until it is ready".to_owned()),
            failed: None,
        };
        Self { state: watch::Sender::new(state) }
    }

    /// Initialisation is over; readiness is said apart.
    pub fn set_started(&self) {
        self.state.send_modify(|state| state.started = true);
    }

    /// Says whether work may come, or in one sentence why not. `Ok` implies started.
    pub fn set_ready(&self, ready: Result<(), String>) {
        self.state.send_modify(|state| {
            state.started |= ready.is_ok();
            state.ready = ready;
        });
    }

    /// The daemon can no longer do its work and must be restarted; sticky, the first reason stays.
    pub fn fail(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.state.send_if_modified(|state| {
            let first = state.failed.is_none();
            if first {
                tracing::error!(reason, "unhealthy");
                state.failed = Some(reason);
            }
            first
        });
    }

    /// Registers a task (or thread) without which the daemon is useless. Move the value into it and call [`CriticalTask::finish`] at
    /// its regular end; any other end, a panic included, is [`Self::fail`].
    #[must_use = "dropping the value at once marks the daemon as failed"]
    pub fn critical(&self, name: impl Into<String>) -> CriticalTask {
        CriticalTask { health: self.clone(), name: Some(name.into()) }
    }

    /// Whether the daemon is ready, else the reason.
    ///
    /// # Errors
    /// The sentence given to [`Self::set_ready`] or [`Self::fail`].
    pub fn readiness(&self) -> Result<(), String> {
        self.state.borrow().readiness()
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }
}

/// Life sign of one indispensable task, see [`Health::critical`].
#[derive(Debug)]
pub struct CriticalTask {
    health: Health,
    name: Option<String>,
}

impl CriticalTask {
    /// The task ends as it should.
    pub fn finish(mut self) {
        self.name = None;
    }
}

impl Drop for CriticalTask {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            let how = if std::thread::panicking() { "panicked" } else { "ended early" };
            self.health.fail(format!("{name} {how}; restart the daemon and look at its log"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn readiness_is_said() {
        let health = Health::new();
        assert!(health.readiness().is_err());
        health.set_started();
        assert!(health.readiness().is_err());
        health.set_ready(Ok(()));
        assert_eq!(health.readiness(), Ok(()));
        health.set_ready(Err("a trial is starting".to_owned()));
        assert_eq!(health.readiness(), Err("a trial is starting".to_owned()));
    }

    #[test]
    fn a_panicking_task_is_never_ready_again() {
        let health = Health::new();
        health.set_ready(Ok(()));
        let task = health.critical("worker 1");
        let ended = std::thread::spawn(move || {
            let _alive = task;
            panic!("deliberate");
        })
        .join();
        assert!(ended.is_err());
        health.set_ready(Ok(()));
        assert_eq!(health.readiness(), Err("worker 1 panicked; restart the daemon and look at its log".to_owned()));
    }

    #[test]
    fn a_finished_task_is_no_failure() {
        let health = Health::new();
        health.set_ready(Ok(()));
        health.critical("worker").finish();
        assert_eq!(health.readiness(), Ok(()));
        drop(health.critical("worker"));
        assert!(health.readiness().is_err());
    }
}
