//! One unit as the backend sees it: what was asked of it and what it came to. Pure: facts and a clock in, a state out.
//!
//! A slot follows one process at a time: from its start (or from when it was found) to [`State::Ended`], where it stays until forgotten.

use std::time::{Duration, Instant};

use super::facts::Facts;
use crate::process::{Readiness, State, Workload};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Nothing when it does not run.
    pub(super) state: Option<State>,
    /// Which start it follows, once it has happened.
    invocation: Vec<u8>,
    /// How it says that it is ready, and until when it must have; `None` as long as nobody wants it.
    watched: Option<(Readiness, Instant)>,
    /// Counts what it followed, so that answers about an earlier process are not taken for this one's.
    pub(super) generation: u64,
    /// A probe of the socket is under way.
    pub(super) probed: bool,
    /// It should end.
    pub(super) stop: Stop,
    /// Why it is made to end, when it was not asked to.
    reason: Option<String>,
}

/// How far a wish to end it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stop {
    #[default]
    No,
    /// To be told to systemd.
    Wanted,
    /// Told.
    Told,
}

impl Slot {
    /// systemd has taken the order to start it.
    pub(super) fn started(&mut self, workload: &Workload, now: Instant) {
        *self = Self {
            state: Some(State::Queued),
            watched: Some((workload.readiness.clone(), now + workload.ready_within)),
            generation: self.generation + 1,
            ..Self::default()
        };
    }

    /// What runs is wanted, so its readiness counts from now on.
    pub(super) fn adopt(&mut self, workload: &Workload, now: Instant) {
        self.watched = Some((workload.readiness.clone(), now + workload.ready_within));
    }

    /// It should end; not because somebody asked, when there is a reason.
    pub(super) fn end(&mut self, reason: Option<String>) {
        if self.stop == Stop::No && !matches!(self.state, None | Some(State::Ended { .. })) {
            self.stop = Stop::Wanted;
            self.reason = reason;
        }
    }

    /// Drops the memory of a process that ended.
    pub(super) fn forget(&mut self) {
        *self = Self { generation: self.generation + 1, ..Self::default() };
    }

    /// Its socket said that it is ready, or did not in time.
    pub(super) fn probe_ended(&mut self, answer: Result<(), String>, now: Instant) {
        self.probed = false;
        match (answer, &self.state) {
            (Ok(()), Some(State::Starting { pid })) => self.state = Some(State::Ready { pid: *pid, since: now }),
            (Err(why), Some(State::Queued | State::Starting { .. })) => self.end(Some(why)),
            _ => {}
        }
    }

    /// The socket to ask, and how long, when it is time to.
    pub(super) fn wants_probe(&self, now: Instant) -> Option<(std::path::PathBuf, Duration)> {
        match (&self.state, &self.watched) {
            (Some(State::Starting { .. }), Some((Readiness::Socket(socket), until))) if !self.probed => {
                Some((socket.clone(), until.saturating_duration_since(now)))
            }
            _ => None,
        }
    }

    /// When it must be ready at the latest, while it is not. Once a socket is probed, the probe has that limit.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let (readiness, until) = self.watched.as_ref().filter(|_| self.stop == Stop::No)?;
        match (&self.state, readiness) {
            (Some(State::Queued), _) | (Some(State::Starting { .. }), Readiness::Unit) => Some(*until),
            _ => None,
        }
    }

    /// Not ready although it should be by now.
    pub(super) fn too_late(&mut self, now: Instant) {
        if self.deadline().is_some_and(|until| until <= now) {
            self.end(Some("its unit did not say that it is ready in time".to_owned()));
        }
    }

    /// Takes in what systemd says now. `job` is what became of the job that started it, when that is known.
    pub(super) fn look(&mut self, facts: &Facts, job: Option<&str>, now: Instant) {
        if matches!(self.state, Some(State::Ended { .. })) {
            return;
        }
        if self.state.is_none() {
            if !facts.is_alive() {
                return;
            }
            self.state = Some(State::Queued);
        }
        if !facts.is_alive() {
            if facts.job == 0 {
                self.ended(self.reason.clone().unwrap_or_else(|| facts.ending(job)), now);
            }
            return;
        }
        if self.invocation.is_empty() {
            self.invocation.clone_from(&facts.invocation);
        } else if self.invocation != facts.invocation {
            let again = "it ended, and its socket or somebody else started it again before the agent did";
            self.ended(self.reason.clone().unwrap_or_else(|| again.to_owned()), now);
            return;
        }
        let pid = facts.pid;
        let ready = matches!(self.state, Some(State::Ready { pid: before, .. }) if before == pid);
        self.state = Some(match facts.active.as_str() {
            "deactivating" => {
                // Kept, so that its end still tells how long it was ready.
                if ready {
                    return;
                }
                State::Stopping
            }
            "activating" if pid == 0 => State::Queued,
            "activating" => State::Starting { pid },
            _ if ready => return,
            _ => match self.watched {
                Some((Readiness::Unit, _)) => State::Ready { pid, since: now },
                _ => State::Starting { pid },
            },
        });
    }

    fn ended(&mut self, status: String, now: Instant) {
        let ready_for = match self.state {
            Some(State::Ready { since, .. }) => Some(now.saturating_duration_since(since)),
            _ => None,
        };
        self.state = Some(State::Ended { status, ready_for });
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use crate::process::Launch;

    fn workload(readiness: Readiness) -> Workload {
        Workload {
            name: "isp".to_owned(),
            launch: Launch::Unit { definition: String::new() },
            readiness,
            needs: Vec::new(),
            ready_within: Duration::from_secs(5),
        }
    }

    fn facts(active: &str, invocation: u8, pid: u32) -> Facts {
        Facts { active: active.to_owned(), invocation: vec![invocation], pid, ..Facts::default() }
    }

    #[test]
    fn a_unit_that_says_itself_that_it_is_ready() {
        let (mut slot, now) = (Slot::default(), Instant::now());
        slot.started(&workload(Readiness::Unit), now);
        slot.look(&Facts { job: 4, ..facts("inactive", 0, 0) }, None, now);
        assert_eq!(slot.state, Some(State::Queued));
        slot.look(&facts("activating", 1, 7), None, now);
        assert_eq!(slot.state, Some(State::Starting { pid: 7 }));
        slot.look(&facts("active", 1, 7), None, now);
        assert_eq!(slot.state, Some(State::Ready { pid: 7, since: now }));
        let later = now + Duration::from_secs(60);
        let killed = Facts { code: 2, status: 9, ..facts("failed", 1, 0) };
        slot.look(&killed, None, later);
        let ended = State::Ended { status: "killed by SIGKILL".to_owned(), ready_for: Some(Duration::from_secs(60)) };
        assert_eq!(slot.state, Some(ended.clone()));
        slot.look(&facts("active", 2, 8), None, later);
        assert_eq!(slot.state, Some(ended), "until it is forgotten");
        slot.forget();
        slot.look(&facts("active", 2, 8), None, later);
        assert_eq!(slot.state, Some(State::Starting { pid: 8 }), "somebody started it; nobody wants it yet");
    }

    #[test]
    fn a_socket_must_answer_and_what_is_too_late_is_ended_with_the_reason() {
        let (mut slot, now) = (Slot::default(), Instant::now());
        slot.started(&workload(Readiness::Socket("/run/isp.sock".into())), now);
        assert_eq!(slot.wants_probe(now), None, "no process yet");
        slot.look(&facts("active", 1, 7), None, now);
        assert_eq!(slot.wants_probe(now).unwrap().1, Duration::from_secs(5));
        slot.probe_ended(Err("nobody answers on /run/isp.sock".to_owned()), now);
        assert_eq!(slot.stop, Stop::Wanted);
        slot.look(&facts("inactive", 1, 0), None, now);
        let Some(State::Ended { status, .. }) = &slot.state else { panic!("{:?}", slot.state) };
        assert_eq!(status, "nobody answers on /run/isp.sock");

        slot.started(&workload(Readiness::Unit), now);
        slot.look(&facts("activating", 3, 7), None, now);
        slot.too_late(now + Duration::from_secs(4));
        assert_eq!(slot.stop, Stop::No);
        slot.too_late(now + Duration::from_secs(5));
        assert_eq!(slot.stop, Stop::Wanted);
    }

    #[test]
    fn a_process_that_was_exchanged_between_two_looks_has_ended() {
        let (mut slot, now) = (Slot::default(), Instant::now());
        slot.started(&workload(Readiness::Unit), now);
        slot.look(&facts("active", 1, 7), None, now);
        slot.look(&facts("active", 2, 8), None, now);
        assert!(matches!(&slot.state, Some(State::Ended { status, .. }) if status.contains("somebody else")));
    }
}
