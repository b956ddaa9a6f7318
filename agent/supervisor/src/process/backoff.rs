//! Growing pauses between attempts.

use std::time::Duration;

/// Pauses that double from `first` to `longest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
}

/// The two bounds make no sequence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BackoffError {
    #[error("the first pause of a backoff is zero; choose one of at least a millisecond")]
    Zero,
    #[error("the first pause of a backoff, {first:?}, is longer than the longest, {longest:?}; exchange them")]
    Order { first: Duration, longest: Duration },
}

impl Backoff {
    /// A quarter of a second, so that a program that fell over once is back within a block; ten seconds, so that one that cannot run
    /// does not fill the disk with its log.
    pub(crate) const PROGRAMS: Self = match Self::new(Duration::from_millis(250), Duration::from_secs(10)) {
        Ok(backoff) => backoff,
        // Evaluated while compiling: a wrong pair of bounds does not build.
        Err(_) => unreachable!(),
    };

    /// Pauses between two bounds.
    ///
    /// # Errors
    /// When `first` is zero or longer than `longest`.
    pub(crate) const fn new(first: Duration, longest: Duration) -> Result<Self, BackoffError> {
        if first.as_millis() == 0 {
            return Err(BackoffError::Zero);
        }
        if first.as_nanos() > longest.as_nanos() {
            return Err(BackoffError::Order { first, longest });
        }
        Ok(Self { first, longest })
    }

    /// Pause after so many failures in a row, counted from 0.
    pub(crate) fn pause(self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_stay_there() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1)).unwrap();
        let pauses: Vec<u128> = (0..6).map(|failures| backoff.pause(failures).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        let mut last = Duration::ZERO;
        for failures in 0..=200 {
            let pause = Backoff::PROGRAMS.pause(failures);
            assert!(pause >= last && pause <= Duration::from_secs(10));
            last = pause;
        }
        assert_eq!(Backoff::PROGRAMS.pause(u32::MAX), Duration::from_secs(10));
    }

    #[test]
    fn bounds_that_make_no_sequence_are_refused() {
        assert_eq!(Backoff::new(Duration::ZERO, Duration::from_secs(1)), Err(BackoffError::Zero));
        let (first, longest) = (Duration::from_secs(2), Duration::from_secs(1));
        assert_eq!(Backoff::new(first, longest), Err(BackoffError::Order { first, longest }));
    }
}
