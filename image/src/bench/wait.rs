//! Waiting for a condition with a deadline, the only place of this tool that sleeps.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Pause between two looks; short beside everything measured, long enough to cost nothing.
const PAUSE: Duration = Duration::from_millis(20);

/// Lets `time` pass while something else works.
#[expect(clippy::disallowed_methods, reason = "the bench has nothing to do while a measurement runs")]
pub(super) fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// Looks until `look` gives a value; an error naming `what` after `deadline`.
pub(super) fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = look()? {
            return Ok(value);
        }
        if start.elapsed() > deadline {
            bail!("{what} within {} s", deadline.as_secs());
        }
        pass(PAUSE);
    }
}
