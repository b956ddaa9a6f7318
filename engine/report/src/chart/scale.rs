//! From values to positions on an axis, and where its ticks stand.
//!
//! A scale always has a length: equal or senseless ends are pulled apart, so that no division by zero reaches a drawing.

use crate::number;

/// Share of an axis between percentiles: each nine takes the same room.
const PERCENTILES: [(f64, &str); 6] =
    [(0.0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99")];

/// One axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Linear,
    Log,
    Percentile,
}

impl Scale {
    /// Equal steps.
    pub(crate) fn linear(low: f64, high: f64) -> Self {
        let (low, high) = if low.is_finite() && high.is_finite() && high > low { (low, high) } else { (0.0, 1.0) };
        Self { low, high, kind: Kind::Linear }
    }

    /// From zero to a little above the largest value.
    pub(crate) fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        let high = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        if high <= 0.0 {
            return Self::linear(0.0, 1.0);
        }
        let step = step(high);
        // The next tick above the largest value, unless it just touches one.
        Self::linear(0.0, ((high * 1.02 / step).ceil() * step).max(step))
    }

    /// Equal factors.
    pub(crate) fn log(low: f64, high: f64) -> Self {
        let sane = low.is_finite() && high.is_finite() && low > 0.0 && high > low;
        let (low, high) = if sane { (low, high) } else { (0.1, 10.0) };
        Self { low, high, kind: Kind::Log }
    }

    /// Logarithmic, over all positive values, with room at both ends.
    pub(crate) fn log_around(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            low = low.min(value);
            high = high.max(value);
        }
        Self::log(low / 1.25, high * 1.25)
    }

    /// Quantiles from 0 to `highest`, each nine as wide as the one before.
    pub(crate) fn percentile(highest: f64) -> Self {
        let high = if highest.is_finite() { highest.clamp(0.9, 0.99999) } else { 0.9 };
        Self { low: 0.0, high, kind: Kind::Percentile }
    }

    /// Where a value lies, 0 to 1; values outside are put at the end they are beyond.
    pub(crate) fn position(&self, value: f64) -> f64 {
        let warp = |value: f64| match self.kind {
            Kind::Linear => value,
            Kind::Log => value.max(f64::MIN_POSITIVE).ln(),
            Kind::Percentile => -(1.0 - value.clamp(0.0, 0.999_999)).log10(),
        };
        let (low, high) = (warp(self.low), warp(self.high));
        ((warp(value) - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// Ticks with their labels.
    pub(crate) fn ticks(&self) -> Vec<(f64, String)> {
        match self.kind {
            Kind::Percentile => PERCENTILES
                .into_iter()
                .filter(|(value, _)| *value <= self.high)
                .map(|(value, label)| (value, label.to_owned()))
                .collect(),
            Kind::Log => self.log_ticks(),
            Kind::Linear => {
                let step = step(self.high - self.low);
                let decimals = if step >= 1.0 { 0 } else { (-step.log10()).ceil().clamp(0.0, 6.0) as usize };
                let first = (self.low / step).ceil() as i64;
                let last = (self.high / step * (1.0 + 1e-9)).floor() as i64;
                (first..=last.min(first + 12))
                    .map(|n| n as f64 * step)
                    .map(|value| (value, number::fixed(value, decimals)))
                    .collect()
            }
        }
    }

    fn log_ticks(&self) -> Vec<(f64, String)> {
        let decades = (self.high / self.low).log10();
        let factors: &[f64] = match decades {
            decades if decades < 2.2 => &[1.0, 2.0, 5.0],
            decades if decades < 4.0 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().ceil() as i32;
        (first..=last)
            .flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)))
            .filter(|value| (self.low..=self.high).contains(value))
            .map(|value| {
                let decimals = if value >= 1.0 { 0 } else { (-value.log10()).ceil().clamp(0.0, 6.0) as usize };
                (value, number::fixed(value, decimals))
            })
            .collect()
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides a range in about four.
fn step(range: f64) -> f64 {
    let rough = range / 4.0;
    let power = 10f64.powf(rough.log10().floor());
    let factor = match rough / power {
        factor if factor < 1.5 => 1.0,
        factor if factor < 3.5 => 2.0,
        factor if factor < 7.5 => 5.0,
        _ => 10.0,
    };
    factor * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for high in [0.0013, 0.07, 1.0, 3.93, 12.0, 99.0, 12_345.0, 9.9e6] {
            let scale = Scale::from_zero([high].into_iter());
            let ticks = scale.ticks();
            assert!((2..=8).contains(&ticks.len()), "{high}: {ticks:?}");
            assert!(scale.position(high) <= 1.0 && scale.position(high) > 0.5, "{high}");
        }
        let labels: Vec<String> = Scale::from_zero([3.93].into_iter()).ticks().into_iter().map(|tick| tick.1).collect();
        assert_eq!(labels, ["0", "1", "2", "3", "4", "5"]);
    }

    #[test]
    fn senseless_ends_give_a_usable_axis() {
        for scale in [
            Scale::linear(f64::NAN, 1.0),
            Scale::linear(2.0, 2.0),
            Scale::from_zero(std::iter::empty()),
            Scale::log(0.0, 0.0),
            Scale::log_around(std::iter::empty()),
            Scale::percentile(f64::NAN),
        ] {
            for value in [-1.0, 0.0, 1.0, 1e30] {
                assert!((0.0..=1.0).contains(&scale.position(value)), "{scale:?} {value}");
            }
            assert!(!scale.ticks().is_empty(), "{scale:?}");
        }
    }

    #[test]
    fn every_nine_takes_the_same_room() {
        let scale = Scale::percentile(0.9999);
        let nines = scale.position(0.99) - scale.position(0.9);
        assert!((scale.position(0.999) - scale.position(0.99) - nines).abs() < 1e-9);
    }
}
