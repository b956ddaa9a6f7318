//! The two times that access needs: one that only measures, and the one on the wall, which may be wrong and may jump.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Tells time; the tests have one that they turn.
pub(crate) trait Clock: Send + Sync + 'static {
    /// Since some moment, forward only.
    fn steady(&self) -> Duration;
    /// What the wall says.
    fn wall(&self) -> Timestamp;
}

/// The machine's.
#[derive(Debug)]
pub(crate) struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Begins to measure.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn steady(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Locks also what a panicking holder left: everything behind these locks is whole between two statements.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From `earlier` to `later`; zero when it is the other way round.
pub(crate) fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

/// Some time after a moment; the end of all time when there is no such moment.
pub(crate) fn after(moment: Timestamp, time: Duration) -> Timestamp {
    moment.checked_add(time).unwrap_or(Timestamp::MAX)
}
