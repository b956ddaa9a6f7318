//! How a daemon is, judged by its heartbeats. Pure: what was heard comes in, the state goes out.
//!
//! ```text
//! starting ──ready──► healthy ◄──ready── degraded ◄──not ready── (any)
//!    any ──says that it is stopping──► draining
//!    any ──3 misses──► down ──heard again──► by what it says
//! ```

use std::time::Duration;

/// A daemon that was not heard for this many heartbeats is down.
const MISSES: u32 = 3;
/// How `tbi_daemon::serve` begins its sentence while it drains.
const STOPPING: &str = "the daemon is stopping";

/// How a daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not heard yet.
    Starting,
    Healthy,
    /// Answers, and says that it is not ready.
    Degraded,
    /// Is stopping; takes nothing new.
    Draining,
    Down,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Draining => "draining",
            Self::Down => "down",
        }
    }
}

/// What a heartbeat brought.
#[derive(Debug, Clone)]
pub(crate) enum Beat {
    Ready { after: Duration },
    NotReady { after: Duration, reason: String },
    Missed { reason: String },
}

/// State of one daemon.
#[derive(Debug, Clone)]
pub(crate) struct Heart {
    pub(crate) state: State,
    pub(crate) misses: u32,
    /// Exponentially weighted mean of the time a heartbeat took, µs.
    pub(crate) latency_us: Option<u64>,
    /// Why it is not healthy.
    pub(crate) reason: Option<String>,
}

impl Heart {
    pub(crate) fn new() -> Self {
        Self { state: State::Starting, misses: 0, latency_us: None, reason: Some("it was not heard yet".to_owned()) }
    }

    pub(crate) fn apply(&mut self, beat: Beat) {
        match beat {
            Beat::Ready { after } => {
                self.heard(after);
                (self.state, self.reason) = (State::Healthy, None);
            }
            Beat::NotReady { after, reason } => {
                self.heard(after);
                self.state = if reason.starts_with(STOPPING) { State::Draining } else { State::Degraded };
                self.reason = Some(reason);
            }
            Beat::Missed { reason } => {
                self.misses = self.misses.saturating_add(1);
                if self.misses >= MISSES {
                    self.state = State::Down;
                } else if self.state == State::Healthy {
                    self.state = State::Degraded;
                }
                self.reason = Some(reason);
            }
        }
    }

    fn heard(&mut self, after: Duration) {
        self.misses = 0;
        let new = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        // A quarter of the newest: four heartbeats forget most of an outlier.
        self.latency_us = Some(self.latency_us.map_or(new, |old| old - old / 4 + new / 4));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Beat {
        Beat::Ready { after: Duration::from_micros(400) }
    }

    fn not_ready(reason: &str) -> Beat {
        Beat::NotReady { after: Duration::from_micros(400), reason: reason.to_owned() }
    }

    fn missed() -> Beat {
        Beat::Missed { reason: "nobody listens".to_owned() }
    }

    #[test]
    fn every_beat_in_every_state() {
        let starting = Vec::new();
        let down = vec![missed(), missed(), missed()];
        for (before, beat, after) in [
            (starting.clone(), ready(), State::Healthy),
            (starting.clone(), not_ready("no disk"), State::Degraded),
            (starting.clone(), not_ready("the daemon is stopping; wait"), State::Draining),
            (starting, missed(), State::Starting),
            (vec![ready()], ready(), State::Healthy),
            (vec![ready()], not_ready("no disk"), State::Degraded),
            (vec![ready()], missed(), State::Degraded),
            (vec![ready(), missed()], ready(), State::Healthy),
            (vec![ready(), missed()], missed(), State::Degraded),
            (vec![ready(), missed(), missed()], missed(), State::Down),
            (vec![not_ready("the daemon is stopping; wait")], missed(), State::Draining),
            (vec![not_ready("the daemon is stopping; wait"), missed(), missed()], missed(), State::Down),
            (down.clone(), missed(), State::Down),
            (down.clone(), not_ready("no disk"), State::Degraded),
            (down, ready(), State::Healthy),
        ] {
            let mut heart = Heart::new();
            for beat in before.clone() {
                heart.apply(beat);
            }
            heart.apply(beat.clone());
            assert_eq!(heart.state, after, "{before:?} {beat:?}");
            assert_eq!(heart.reason.is_none(), after == State::Healthy);
        }
    }

    #[test]
    fn latency_follows_slowly() {
        let mut heart = Heart::new();
        heart.apply(ready());
        heart.apply(Beat::Ready { after: Duration::from_micros(800) });
        assert_eq!(heart.latency_us, Some(500));
    }
}
