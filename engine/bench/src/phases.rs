//! Where in a trial a moment lies: the phases of RFC 9411 §4.3.4 laid end to end from the start of the trial.
//!
//! Offsets are nanoseconds since the start of the init phase. Each phase is half open, `[start, end)`, so every offset lies in
//! exactly one phase and a phase of no length holds none. Collection, the fifth phase of the RFC, is not timed and has no offsets.
//! Lengths that do not fit are cut to the largest offset rather than wrapped.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::engine::Phases;
use crate::units::Span;

/// A phase of a trial, in order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No traffic.
    Init,
    /// Load rises from nothing.
    RampUp,
    /// Constant load; the only phase that is measured.
    Sustain,
    /// Load falls to nothing.
    RampDown,
    /// After the end of the ramp-down.
    Over,
}

/// Shortest init phase RFC 9411 §4.3.4 recommends.
pub const RFC9411_INIT: Span = Span::from_secs(5);
/// Shortest sustain phase RFC 9411 §4.3.4 recommends.
pub const RFC9411_SUSTAIN: Span = Span::from_secs(300);

impl Phases {
    /// Phase in which the offset (ns since the start of the trial) lies.
    #[must_use]
    pub fn at(&self, offset_ns: u64) -> Phase {
        [Phase::Init, Phase::RampUp, Phase::Sustain, Phase::RampDown]
            .into_iter()
            .find(|&phase| offset_ns < self.end_ns(phase))
            .unwrap_or(Phase::Over)
    }

    /// First offset of `phase`, ns; equal to [`Self::end_ns`] when the phase has no length.
    #[must_use]
    pub fn start_ns(&self, phase: Phase) -> u64 {
        match phase {
            Phase::Init => 0,
            Phase::RampUp => self.end_ns(Phase::Init),
            Phase::Sustain => self.end_ns(Phase::RampUp),
            Phase::RampDown => self.end_ns(Phase::Sustain),
            Phase::Over => self.end_ns(Phase::RampDown),
        }
    }

    /// First offset after `phase`, ns; [`Phase::Over`] never ends.
    #[must_use]
    pub fn end_ns(&self, phase: Phase) -> u64 {
        let lengths: &[Span] = match phase {
            Phase::Init => &[self.init],
            Phase::RampUp => &[self.init, self.ramp_up],
            Phase::Sustain => &[self.init, self.ramp_up, self.sustain],
            Phase::RampDown => &[self.init, self.ramp_up, self.sustain, self.ramp_down],
            Phase::Over => return u64::MAX,
        };
        lengths.iter().fold(0u64, |sum, length| sum.saturating_add(length.as_micros().saturating_mul(1000)))
    }

    /// Length of the whole trial.
    #[must_use]
    pub fn total(&self) -> Span {
        Span::from_micros(self.end_ns(Phase::RampDown) / 1000)
    }

    /// Whether these lengths are what RFC 9411 §4.3.4 recommends; a profile for which this is false is labelled "quick".
    #[must_use]
    pub fn as_rfc9411_recommends(&self) -> bool {
        self.init >= RFC9411_INIT
            && self.sustain >= RFC9411_SUSTAIN
            && self.ramp_up > Span::ZERO
            && self.ramp_down > Span::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phases(init: u64, ramp_up: u64, sustain: u64, ramp_down: u64) -> Phases {
        let span = Span::from_micros;
        Phases { init: span(init), ramp_up: span(ramp_up), sustain: span(sustain), ramp_down: span(ramp_down) }
    }

    #[test]
    fn every_border_belongs_to_the_later_phase() {
        let phases = phases(1, 2, 3, 4);
        let expected = [
            (0, Phase::Init),
            (999, Phase::Init),
            (1000, Phase::RampUp),
            (2999, Phase::RampUp),
            (3000, Phase::Sustain),
            (5999, Phase::Sustain),
            (6000, Phase::RampDown),
            (9999, Phase::RampDown),
            (10_000, Phase::Over),
            (u64::MAX, Phase::Over),
        ];
        for (offset, phase) in expected {
            assert_eq!(phases.at(offset), phase, "{offset}");
        }
        assert_eq!(phases.total(), Span::from_micros(10));
    }

    #[test]
    fn a_phase_of_no_length_holds_no_offset() {
        let phases = phases(0, 0, 5, 0);
        assert_eq!(phases.at(0), Phase::Sustain);
        assert_eq!(phases.at(5000), Phase::Over);
        assert_eq!(phases.start_ns(Phase::RampUp), phases.end_ns(Phase::RampUp));
    }

    #[test]
    fn impossible_lengths_saturate() {
        let phases = phases(u64::MAX, 1, 1, 1);
        assert_eq!(phases.at(7), Phase::Init);
        assert_eq!(phases.end_ns(Phase::RampDown), u64::MAX);
    }

    #[test]
    fn quick_profiles_are_told_from_those_of_the_rfc() {
        let quick = Phases {
            init: Span::ZERO,
            ramp_up: Span::from_secs(1),
            sustain: Span::from_secs(10),
            ramp_down: Span::from_secs(1),
        };
        assert!(!quick.as_rfc9411_recommends());
        assert!(Phases { init: RFC9411_INIT, sustain: RFC9411_SUSTAIN, ..quick }.as_rfc9411_recommends());
    }
}
