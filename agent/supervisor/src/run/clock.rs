//! Watches the wall clock against the monotonic one. Durations never come from the wall clock, but certificates, logs and the device's
//! records do, so a step in the middle of a run voids it.

use std::time::{Duration, Instant, SystemTime};

/// Difference between the two clocks' progress that cannot be slewing: NTP slews by at most 500 ppm, which is 0.15 s in five minutes.
const STEP: Duration = Duration::from_millis(500);

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    pub(crate) wall: SystemTime,
    pub(crate) monotonic: Instant,
}

impl Clocks {
    /// Now.
    pub(crate) fn now() -> Self {
        Self { wall: SystemTime::now(), monotonic: Instant::now() }
    }

    /// The wall clock, Unix seconds.
    pub(crate) fn unix(&self) -> i64 {
        match self.wall.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
        }
    }

    /// A sentence when the wall clock was stepped between `self` and `later`.
    pub(crate) fn step_until(&self, later: &Self) -> Option<String> {
        let monotonic = later.monotonic.saturating_duration_since(self.monotonic);
        let (forward, step) = match later.wall.duration_since(self.wall) {
            Ok(wall) if wall >= monotonic => (true, wall - monotonic),
            Ok(wall) => (false, monotonic - wall),
            Err(error) => (false, error.duration() + monotonic),
        };
        (step > STEP).then(|| {
            format!(
                "The wall clock stepped {} by {:.1} s during the run, so certificates, logs and the device's records cannot be lined up; \
                 let the time service settle (or slew instead of step) and run again.",
                if forward { "forward" } else { "back" },
                step.as_secs_f64()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_clock_that_steps_is_noticed_and_one_that_slews_is_not() {
        let start = Clocks::now();
        let after = |wall_ms: i64, monotonic_ms: u64| Clocks {
            wall: if wall_ms < 0 {
                start.wall - Duration::from_millis(wall_ms.unsigned_abs())
            } else {
                start.wall + Duration::from_millis(wall_ms.unsigned_abs())
            },
            monotonic: start.monotonic + Duration::from_millis(monotonic_ms),
        };
        assert_eq!(start.step_until(&after(300_150, 300_000)), None);
        assert_eq!(start.step_until(&after(299_850, 300_000)), None);
        assert!(start.step_until(&after(3_610_000, 10_000)).unwrap().contains("forward by 3600.0 s"));
        assert!(start.step_until(&after(9_000, 10_000)).unwrap().contains("back by 1.0 s"));
        assert!(start.step_until(&after(-50_000, 10_000)).unwrap().contains("back by 60.0 s"));
    }
}
