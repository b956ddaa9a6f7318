//! Whether a session is still alive: thirty minutes without use end it, twelve hours end it whatever happens.
//!
//! The stored times are of the wall's clock, which can be set back. So, from the first look at a session, its ends are measured with a clock
//! that only goes forward; and a session that was used "in the future" at the first look, which is how a clock that was set back looks after a
//! restart, is not taken.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use tbi_api::access::{Digest, Session};

use super::clock::{between, lock};

/// A session ends when it is not used for so long.
pub(crate) const IDLE: Duration = Duration::from_secs(30 * 60);
/// And after so long in any case.
pub(crate) const ABSOLUTE: Duration = Duration::from_secs(12 * 3600);
/// A fresh proof of the person counts for so long.
pub(crate) const STEPPED_UP: Duration = Duration::from_secs(10 * 60);
/// The agent is told at most so often that a session or token is in use.
pub(crate) const TOLD: Duration = Duration::from_secs(60);
/// A clock may be corrected by so much without ending sessions.
const SKEW: Duration = Duration::from_secs(120);
/// Sessions measured; far more than a box has users.
const ROOM: usize = 10_000;

/// A session that is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alive {
    /// The person was proven a short time ago.
    pub(crate) stepped_up: bool,
    /// It is time to tell the agent that it is in use.
    pub(crate) tell: bool,
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    absolute: Duration,
    idle: Duration,
    stepped_up: Duration,
    told: Duration,
}

/// Measures sessions.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    ends: Mutex<HashMap<Digest, Ends>>,
}

impl Lives {
    /// Judges a session that is used now.
    pub(crate) fn used(&self, session: &Session, steady: Duration, wall: Timestamp) -> Option<Alive> {
        let mut known = lock(&self.ends);
        let mut ends = match known.get(&session.hash) {
            Some(ends) => *ends,
            None => first_look(session, steady, wall)?,
        };
        if steady >= ends.absolute || steady >= ends.idle || wall >= session.ends {
            return None;
        }
        let tell = steady.saturating_sub(ends.told) >= TOLD;
        if tell {
            ends.told = steady;
        }
        ends.idle = steady + IDLE;
        if known.len() >= ROOM {
            known.retain(|_hash, ends| ends.absolute > steady);
        }
        if known.len() < ROOM || known.contains_key(&session.hash) {
            known.insert(session.hash.clone(), ends);
        }
        Some(Alive { stepped_up: steady < ends.stepped_up, tell })
    }

    /// A session got another id: its absolute end stays where it is, also when the clock on the wall says otherwise.
    pub(crate) fn replaced(&self, old: &Digest, new: &Session, steady: Duration, stepped_up: bool) {
        let mut known = lock(&self.ends);
        if let Some(ends) = known.get(old).copied() {
            let stepped_up = if stepped_up { steady + STEPPED_UP } else { Duration::ZERO };
            known.insert(new.hash.clone(), Ends { idle: steady + IDLE, stepped_up, told: steady, ..ends });
        }
    }
}

fn first_look(session: &Session, steady: Duration, wall: Timestamp) -> Option<Ends> {
    let set_back = between(wall, session.last_seen) > SKEW;
    let idle = IDLE.checked_sub(between(session.last_seen, wall)).filter(|left| !left.is_zero())?;
    if set_back {
        return None;
    }
    let left = |until: Timestamp, most: Duration| steady + between(wall, until).min(most);
    Some(Ends {
        absolute: left(session.ends, ABSOLUTE),
        idle: steady + idle,
        stepped_up: session.stepped_up_until.map_or(Duration::ZERO, |until| left(until, STEPPED_UP)),
        // What is stored may be a minute old; then it is told at once, else in a minute.
        told: if between(session.last_seen, wall) >= TOLD { steady.saturating_sub(TOLD) } else { steady },
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::clock::after;
    use super::*;

    fn wall(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn steady(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    fn session(stepped_up: Option<i64>) -> Session {
        Session {
            hash: Digest::of_bytes(&[1; 32]),
            account: "anna".parse().unwrap(),
            epoch: 1,
            created: wall(0),
            last_seen: wall(0),
            ends: after(wall(0), ABSOLUTE),
            source: "192.0.2.1".to_owned(),
            user_agent: String::new(),
            stepped_up_until: stepped_up.map(wall),
        }
    }

    #[test]
    fn thirty_idle_minutes_end_a_session_and_use_prolongs_it() {
        let lives = Lives::default();
        let session = session(None);
        for minute in [0, 29, 58, 87] {
            assert!(lives.used(&session, steady(minute * 60), wall(minute as i64 * 60)).is_some(), "{minute}");
        }
        assert_eq!(lives.used(&session, steady(117 * 60), wall(117 * 60)), None);
        assert_eq!(Lives::default().used(&session, steady(0), wall(1800)), None, "also at the first look");
    }

    #[test]
    fn twelve_hours_end_a_session_that_is_always_in_use() {
        let lives = Lives::default();
        let session = session(None);
        let last = (0..2000)
            .take_while(|minute| lives.used(&session, steady(minute * 60), wall(*minute as i64 * 60)).is_some());
        assert_eq!(last.last(), Some(12 * 60 - 1));
    }

    #[test]
    fn a_clock_set_back_prolongs_nothing() {
        let lives = Lives::default();
        let session = session(Some(600));
        assert!(lives.used(&session, steady(0), wall(0)).unwrap().stepped_up);
        // The wall stands still or goes back while real time passes.
        assert!(!lives.used(&session, steady(601), wall(-3600)).unwrap().stepped_up);
        assert_eq!(lives.used(&session, steady(601 + 1800), wall(-3600)), None, "idle");
        for minute in (0..12 * 60).step_by(20) {
            let _used = lives.used(&session, steady(minute * 60), wall(0));
        }
        assert_eq!(lives.used(&session, steady(12 * 3600), wall(0)), None, "absolute");
        // After a restart there is only the stored time of last use, which is in the future then.
        assert_eq!(Lives::default().used(&session, steady(0), wall(-121)), None);
        assert!(
            Lives::default().used(&session, steady(0), wall(-119)).is_some(),
            "a correction of the clock is no attack"
        );
    }

    #[test]
    fn the_agent_is_told_once_a_minute() {
        let lives = Lives::default();
        let session = session(None);
        let told = (0..=300)
            .filter(|second| lives.used(&session, steady(*second), wall(*second as i64)).unwrap().tell)
            .count();
        assert_eq!(told, 5);
    }
}
