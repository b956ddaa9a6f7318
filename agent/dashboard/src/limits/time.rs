//! A time that only goes forward, made of a clock that may not. A step back counts as no time; it is not waited for until the clock has
//! caught up, which would hold everybody for as long as the step was.

use std::time::Duration;

/// Sum of all steps forward.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Steady {
    last_reading: Option<Duration>,
    elapsed: Duration,
}

impl Steady {
    /// Takes a reading of the clock and gives the time since the first one.
    pub(crate) fn at(&mut self, reading: Duration) -> Duration {
        let step = self.last_reading.map_or(Duration::ZERO, |last| reading.saturating_sub(last));
        self.last_reading = Some(reading);
        self.elapsed = self.elapsed.saturating_add(step);
        self.elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_back_counts_as_no_time_and_is_not_waited_for() {
        let mut steady = Steady::default();
        let seconds = Duration::from_secs;
        assert_eq!(steady.at(seconds(1000)), seconds(0));
        assert_eq!(steady.at(seconds(1005)), seconds(5));
        assert_eq!(steady.at(seconds(3)), seconds(5));
        assert_eq!(steady.at(seconds(4)), seconds(6));
    }
}
