//! Where a moment lies within a trial: RFC 9411 §4.3.4's four phases laid on the monotonic clock.
//!
//! Pure arithmetic on instants. Invariant: `start <= ramp_up <= sustain <= ramp_down <= end`.

use std::time::{Duration, Instant};

use tbi_bench::control::engine::Phases;

/// Boundaries of the phases of one trial.
#[derive(Debug, Clone, Copy)]
pub struct Timeline {
    /// Start of the init phase.
    pub start: Instant,
    /// Start of the ramp-up.
    pub ramp_up: Instant,
    /// Start of the sustain phase.
    pub sustain: Instant,
    /// Start of the ramp-down, end of the sustain phase.
    pub ramp_down: Instant,
    /// End of everything.
    pub end: Instant,
}

impl Timeline {
    /// Lays the phases out from `start`.
    #[must_use]
    pub fn new(start: Instant, phases: &Phases) -> Self {
        let ramp_up = start + phases.init.duration();
        let sustain = ramp_up + phases.ramp_up.duration();
        let ramp_down = sustain + phases.sustain.duration();
        let end = ramp_down + phases.ramp_down.duration();
        Self { start, ramp_up, sustain, ramp_down, end }
    }

    /// Whether what starts at `at` is measured.
    #[must_use]
    pub fn is_sustain(&self, at: Instant) -> bool {
        self.sustain <= at && at < self.ramp_down
    }

    /// Whether the whole second that ends at `at` and lasted `length` lies in the sustain phase.
    #[must_use]
    pub fn covers(&self, at: Instant, length: Duration) -> bool {
        at.checked_sub(length).is_some_and(|from| self.sustain <= from) && at <= self.ramp_down
    }

    /// When the closed-loop connection `index` of `of` starts: spread evenly over the ramp-up.
    #[must_use]
    pub fn closed_start(&self, index: u32, of: u32) -> Instant {
        self.ramp_up + fraction(self.sustain - self.ramp_up, index, of)
    }

    /// When the closed-loop connection `index` of `of` starts nothing more: spread evenly over the first half of the ramp-down, so
    /// that the second half is left for what is in flight.
    #[must_use]
    pub fn closed_stop(&self, index: u32, of: u32) -> Instant {
        self.ramp_down + fraction((self.end - self.ramp_down) / 2, index, of)
    }
}

fn fraction(of: Duration, part: u32, parts: u32) -> Duration {
    of.mul_f64(f64::from(part) / f64::from(parts.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tbi_bench::units::Span;

    #[test]
    fn only_the_sustain_phase_is_measured_and_ramps_are_spread() {
        let start = Instant::now();
        let phases = Phases {
            init: Span::from_secs(1),
            ramp_up: Span::from_secs(2),
            sustain: Span::from_secs(3),
            ramp_down: Span::from_secs(4),
        };
        let timeline = Timeline::new(start, &phases);
        let at = |s: u64| start + Duration::from_secs(s);
        assert!(
            !timeline.is_sustain(at(2))
                && timeline.is_sustain(at(3))
                && timeline.is_sustain(at(5))
                && !timeline.is_sustain(at(6))
        );
        assert_eq!(timeline.end, at(10));
        assert_eq!(timeline.closed_start(1, 2), at(2));
        assert_eq!(timeline.closed_stop(1, 2), at(7));
        assert!(timeline.covers(at(4), Duration::from_secs(1)) && !timeline.covers(at(3), Duration::from_secs(1)));
    }
}
