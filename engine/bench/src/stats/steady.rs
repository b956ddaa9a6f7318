//! Has the load settled? Two questions about one-second windows: do the last ones agree (RFC 9411 criterion r: forwarding rate within
//! 5 %), and does latency still rise or fall (Mann-Kendall trend test)?
//!
//! Mann-Kendall looks only at which of two windows is larger, so single outliers do not matter. It assumes independent windows; where
//! neighbours resemble each other it finds trends too often, which errs towards measuring longer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Largest relative spread of the last windows (RFC 9411 §7, deviation of the forwarding rate).
pub const SPREAD: f64 = 0.05;
/// A trend is believed when chance explains it less often than this. Stricter than 5 %, for a campaign asks once per block.
pub const SIGNIFICANCE: f64 = 0.01;
/// Below so many windows the normal approximation of the test is poor and no trend can be shown.
pub const FEWEST_WINDOWS: usize = 8;
/// Windows looked at; a longer series is judged by its end. Bounds the work, which grows with the square.
const MOST_WINDOWS: usize = 3600;

/// Result of the trend test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Trend {
    /// Rising pairs of windows less falling ones.
    pub s: i64,
    /// Standardised `s`, with continuity correction; positive when rising.
    pub z: f64,
    /// Probability of so strong a trend by chance, two-sided.
    pub p: f64,
}

impl Trend {
    /// Whether the trend is believed.
    #[must_use]
    pub fn significant(&self) -> bool {
        self.p < SIGNIFICANCE
    }
}

/// What can be said of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Steadiness {
    /// The last windows agree and there is no trend.
    Steady,
    /// The last windows differ by more than [`SPREAD`].
    Spread,
    /// Latency rises or falls.
    Trend,
    /// Too few windows to say.
    TooShort,
}

/// Mann-Kendall trend test with correction for ties; `None` below [`FEWEST_WINDOWS`] values or when one is not finite.
#[must_use]
pub fn mann_kendall(values: &[f64]) -> Option<Trend> {
    let values = last(values, MOST_WINDOWS);
    if values.len() < FEWEST_WINDOWS || !values.iter().all(|value| value.is_finite()) {
        return None;
    }
    let mut s = 0i64;
    for (index, earlier) in values.iter().enumerate() {
        for later in &values[index + 1..] {
            s += i64::from(later > earlier) - i64::from(later < earlier);
        }
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let spread = |n: usize| (n * (n - 1) * (2 * n + 5)) as f64;
    // total_cmp parts 0.0 from -0.0, so ties are grouped by == on the sorted values.
    let ties: f64 = sorted.chunk_by(|a, b| a == b).map(|group| spread(group.len())).sum();
    let variance = (spread(values.len()) - ties) / 18.0;
    // Every value the same: no trend at all. One step towards zero corrects for s taking whole numbers only.
    let z = if variance > 0.0 { (s - s.signum()) as f64 / variance.sqrt() } else { 0.0 };
    Some(Trend { s, z, p: libm::erfc(z.abs() / std::f64::consts::SQRT_2) })
}

/// Whether the last `windows` values lie within `spread` of their mean, relative; `None` when there are fewer, `windows` is 0, or the
/// mean is not a positive finite number.
#[must_use]
pub fn within(values: &[f64], windows: usize, spread: f64) -> Option<bool> {
    if windows == 0 || values.len() < windows {
        return None;
    }
    let values = last(values, windows);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean.is_finite() && mean > 0.0).then(|| values.iter().all(|value| (value - mean).abs() <= spread * mean))
}

/// Judges a sustain phase: `rate` (transactions per window) must agree over the last `windows`, `latency` must show no trend over the
/// same windows. A latency series with gaps (windows without transactions) is passed without them.
#[must_use]
pub fn judge(rate: &[f64], latency: &[f64], windows: usize) -> Steadiness {
    let Some(agree) = within(rate, windows, SPREAD) else { return Steadiness::TooShort };
    let Some(trend) = mann_kendall(last(latency, windows)) else { return Steadiness::TooShort };
    match (agree, trend.significant()) {
        (false, _) => Steadiness::Spread,
        (true, true) => Steadiness::Trend,
        (true, false) => Steadiness::Steady,
    }
}

fn last(values: &[f64], most: usize) -> &[f64] {
    &values[values.len().saturating_sub(most)..]
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn a_worked_example_with_ties() {
        // 45 pairs: 35 rise, 7 fall, 3 tie. Three ties of two, so the variance is (10·9·25 - 3·2·1·9)/18 = 122.
        let trend = mann_kendall(&[1.0, 3.0, 2.0, 4.0, 3.0, 6.0, 4.0, 7.0, 5.0, 5.0]).expect("ten windows");
        assert_eq!(trend.s, 28);
        assert!((trend.z - 27.0 / 122f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn straight_lines_have_a_trend_and_constants_none() {
        let rising: Vec<f64> = (0..20).map(f64::from).collect();
        let falling: Vec<f64> = (0..20).map(|i| f64::from(20 - i)).collect();
        assert!(mann_kendall(&rising).is_some_and(|trend| trend.s == 190 && trend.z > 0.0 && trend.significant()));
        assert!(mann_kendall(&falling).is_some_and(|trend| trend.s == -190 && trend.z < 0.0 && trend.significant()));
        assert_eq!(mann_kendall(&[5.0; 30]), Some(Trend { s: 0, z: 0.0, p: 1.0 }));
        assert_eq!(mann_kendall(&rising[..7]), None);
        assert_eq!(mann_kendall(&[f64::NAN; 30]), None);
    }

    #[test]
    fn false_alarms_on_noise_are_as_rare_as_promised() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for windows in [8, 10, 30, 100] {
            let alarms = (0..4000)
                .filter(|_| {
                    let noise: Vec<f64> = (0..windows).map(|_| f64::from(rng.next_u32())).collect();
                    mann_kendall(&noise).is_some_and(|trend| trend.significant())
                })
                .count();
            // 1 % of 4000 is 40, standard deviation 6.3.
            assert!(alarms <= 65, "{alarms} of 4000 at {windows} windows");
        }
    }

    #[test]
    fn the_last_windows_decide() {
        let mut rate = vec![10.0; 5];
        rate.extend([100.0, 104.0, 96.0, 101.0, 99.0]);
        assert_eq!(within(&rate, 5, SPREAD), Some(true));
        assert_eq!(within(&rate, 6, SPREAD), Some(false));
        assert_eq!(within(&rate, 11, SPREAD), None);
        assert_eq!(within(&rate, 0, SPREAD), None);
        assert_eq!(within(&[0.0; 5], 5, SPREAD), None);
        assert_eq!(within(&[f64::NAN; 5], 5, SPREAD), None);
        assert_eq!(within(&[95.0, 105.0], 2, SPREAD), Some(true));
        assert_eq!(within(&[94.9, 105.1], 2, SPREAD), Some(false));
    }

    #[test]
    fn a_block_is_steady_only_when_both_say_so() {
        let flat: Vec<f64> = (0..20).map(|i| 100.0 + f64::from(i * 7 % 5)).collect();
        let rising: Vec<f64> = (0..20).map(|i| 100.0 + f64::from(i)).collect();
        let wild: Vec<f64> = (0..20).map(|i| f64::from(100 + i * 7 % 5 * 30)).collect();
        assert_eq!(judge(&flat, &flat, 20), Steadiness::Steady);
        assert_eq!(judge(&flat, &rising, 20), Steadiness::Trend);
        assert_eq!(judge(&wild, &flat, 20), Steadiness::Spread);
        assert_eq!(judge(&flat, &flat, 21), Steadiness::TooShort);
        assert_eq!(judge(&flat, &[], 20), Steadiness::TooShort);
    }

    proptest! {
        #[test]
        fn reversing_time_reverses_the_trend(values in prop::collection::vec(-1e3f64..1e3, 8..60)) {
            let reversed: Vec<f64> = values.iter().rev().copied().collect();
            let (forth, back) = (mann_kendall(&values), mann_kendall(&reversed));
            prop_assert_eq!(forth.map(|trend| trend.s), back.map(|trend| -trend.s));
            prop_assert!(forth.is_some_and(|trend| (0.0..=1.0).contains(&trend.p)));
        }
    }
}
