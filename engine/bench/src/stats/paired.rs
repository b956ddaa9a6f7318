//! What decryption costs: ON against BYPASS, block by block in pairs.
//!
//! Both blocks of a pair are neighbours in time, so slow drift hits both and cancels in their ratio. The estimate is the geometric
//! mean of the ratios; its interval is Student's t on their logarithms, exact when these are normal and good when they are merely
//! symmetric. The bootstrap interval beside it assumes no shape but is too narrow with few pairs (see [`super::bootstrap`]).
//!
//! The module does not know whether large is good: for times a ratio above 1 is a cost, for rates one below 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{StatsError, bootstrap, check, raw_mean, sample_sd, student};

/// Confidence of every interval.
pub const CONFIDENCE: f64 = 0.95;
/// With fewer pairs an estimate is an indication and not a measurement.
pub const PAIRS_FOR_A_CLAIM: u32 = 6;
/// Most pairs [`required_pairs`] considers; ten thousand pairs of five-minute blocks take ten weeks.
pub const MOST_PAIRS: u32 = 10_000;

/// One pair: the KPI in the ON block and in the BYPASS block, same unit.
pub type Pair = (f64, f64);

/// Cost of decryption for one KPI.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct CostEstimate {
    /// Geometric mean of ON divided by BYPASS.
    pub ratio: f64,
    /// Lower end of the 95 % interval of the ratio (t on the log ratio); `None` with one pair, or when it is beyond all numbers.
    pub low: Option<f64>,
    /// Upper end of the same.
    pub high: Option<f64>,
    /// Mean of ON less BYPASS, in the KPI's unit.
    pub difference: f64,
    /// Lower end of the 95 % interval of the difference (t); `None` with one pair.
    pub difference_low: Option<f64>,
    /// Upper end of the same.
    pub difference_high: Option<f64>,
    /// Lower end of the 95 % interval of the ratio by bootstrap over pairs; `None` with one pair or when not asked for.
    pub bootstrap_low: Option<f64>,
    /// Upper end of the same.
    pub bootstrap_high: Option<f64>,
    /// Pairs it rests on.
    pub pairs: u32,
    /// Fewer than [`PAIRS_FOR_A_CLAIM`] pairs.
    pub indicative: bool,
}

/// Cost with t intervals, without bootstrap.
///
/// # Errors
/// When there are no pairs or a value is not positive and finite.
pub fn cost(pairs: &[Pair]) -> Result<CostEstimate, StatsError> {
    let logs = log_ratios(pairs)?;
    let differences: Vec<f64> = pairs.iter().map(|(on, bypass)| on - bypass).collect();
    let (log_ratio, log_margin) = mean_and_margin(&logs);
    let (difference, margin) = mean_and_margin(&differences);
    let finite = |value: f64| value.is_finite().then_some(value);
    let count = u32::try_from(pairs.len()).unwrap_or(u32::MAX);
    Ok(CostEstimate {
        ratio: libm::exp(log_ratio),
        low: log_margin.and_then(|margin| finite(libm::exp(log_ratio - margin))),
        high: log_margin.and_then(|margin| finite(libm::exp(log_ratio + margin))),
        difference,
        difference_low: margin.and_then(|margin| finite(difference - margin)),
        difference_high: margin.and_then(|margin| finite(difference + margin)),
        bootstrap_low: None,
        bootstrap_high: None,
        pairs: count,
        indicative: count < PAIRS_FOR_A_CLAIM,
    })
}

/// Cost with t intervals and, from two pairs on, the bootstrap interval.
///
/// # Errors
/// As [`cost`] and [`bootstrap::ratio`], except that a single pair is no error.
pub fn estimate(pairs: &[Pair], seed: u64, resamples: u32) -> Result<CostEstimate, StatsError> {
    let mut cost = cost(pairs)?;
    if pairs.len() > 1 {
        let interval = bootstrap::ratio(pairs, seed, resamples)?;
        (cost.bootstrap_low, cost.bootstrap_high) = (Some(interval.low), Some(interval.high));
    }
    Ok(cost)
}

/// Pairs needed for a 95 % interval of `± half_width` around the mean, when single pairs scatter with `pilot_sd` (both relative, or both in
/// the KPI's unit). At least two.
///
/// # Errors
/// When one of the two is not positive and finite, or more than [`MOST_PAIRS`] would be needed.
pub fn required_pairs(pilot_sd: f64, half_width: f64) -> Result<u32, StatsError> {
    check("standard deviation", 0, pilot_sd)?;
    check("half-width", 0, half_width)?;
    let enough = |pairs: u32| {
        student::quantile(CONFIDENCE, pairs - 1).is_some_and(|t| t * pilot_sd / f64::from(pairs).sqrt() <= half_width)
    };
    if !enough(MOST_PAIRS) {
        return Err(StatsError::OutOfReach { pilot_sd, half_width, most: MOST_PAIRS });
    }
    // The half-width only shrinks as pairs are added, so the smallest sufficient number is found by halving.
    let (mut low, mut high) = (2, MOST_PAIRS);
    while low < high {
        let middle = low.midpoint(high);
        if enough(middle) { high = middle } else { low = middle + 1 }
    }
    Ok(low)
}

/// Logarithms of ON/BYPASS, after checking every value.
pub(super) fn log_ratios(pairs: &[Pair]) -> Result<Vec<f64>, StatsError> {
    if pairs.is_empty() {
        return Err(StatsError::Empty);
    }
    pairs
        .iter()
        .enumerate()
        .map(|(index, &(on, bypass))| {
            Ok(libm::log(check("ON", index, on)?) - libm::log(check("BYPASS", index, bypass)?))
        })
        .collect()
}

/// Mean and half-width of its t interval, the latter from two values on.
fn mean_and_margin(values: &[f64]) -> (f64, Option<f64>) {
    let mean = raw_mean(values.iter().copied());
    let df = u32::try_from(values.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let margin = student::quantile(CONFIDENCE, df).map(|t| t * sample_sd(values, mean) / (values.len() as f64).sqrt());
    (mean, margin)
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_worked_example() {
        // Ratios 1.1 and 1.21: mean log is 1.5·ln 1.1, sd is ln 1.1/√2, so the margin is 12.7062·ln 1.1/2.
        let cost = cost(&[(110.0, 100.0), (121.0, 100.0)]).expect("two pairs");
        let unit = 1.1f64.ln();
        assert!((cost.ratio - (1.5 * unit).exp()).abs() < 1e-12);
        assert!((cost.high.expect("two pairs") - (1.5 * unit + 12.706_204_7 * unit / 2.0).exp()).abs() < 1e-6);
        assert!((cost.low.expect("two pairs") - (1.5 * unit - 12.706_204_7 * unit / 2.0).exp()).abs() < 1e-6);
        assert_eq!(cost.difference, 15.5);
        assert!((cost.difference_high.expect("two pairs") - (15.5 + 12.706_204_7 * 5.5)).abs() < 1e-5);
    }

    #[test]
    fn one_pair_has_a_ratio_and_no_interval() {
        let cost = estimate(&[(3.0, 2.0)], 1, 1000).expect("one pair");
        assert!((cost.ratio - 1.5).abs() < 1e-12);
        assert_eq!((cost.low, cost.high, cost.difference_low, cost.difference_high), (None, None, None, None));
        assert_eq!((cost.bootstrap_low, cost.bootstrap_high, cost.pairs, cost.indicative), (None, None, 1, true));
    }

    #[test]
    fn values_that_are_no_measurement_are_refused_by_arm_and_block() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, f64::MAX] {
            let error = cost(&[(1.0, 1.0), (bad, 1.0)]).expect_err("refused");
            assert!(
                error.to_string().starts_with("the ON value ") && error.to_string().contains("of block 1 "),
                "{error}"
            );
            let error = estimate(&[(1.0, bad)], 0, 100).expect_err("refused");
            assert!(error.to_string().starts_with("the BYPASS value "), "{error}");
        }
        assert_eq!(cost(&[]), Err(StatsError::Empty));
    }

    #[test]
    fn an_interval_beyond_all_numbers_is_left_out() {
        let cost = cost(&[(1e100, 1e-100), (1e-100, 1e100)]).expect("in range");
        assert_eq!((cost.low, cost.high), (Some(0.0), None));
    }

    #[test]
    fn required_pairs_agree_with_the_table_of_half_widths() {
        // (sd, half-width at 6, 10, 20 and 40 pairs), per cent.
        for (sd, widths) in
            [(2.0, [2.10, 1.43, 0.94, 0.64]), (5.0, [5.25, 3.58, 2.34, 1.60]), (10.0, [10.50, 7.15, 4.68, 3.20])]
        {
            for (pairs, width) in [6, 10, 20, 40].into_iter().zip(widths) {
                let needed = required_pairs(sd, width + 0.005).expect("reachable");
                assert!(needed <= pairs && needed + 1 >= pairs, "sd {sd}, width {width}: {needed} instead of {pairs}");
                assert!(required_pairs(sd, width * 0.98).expect("reachable") > pairs, "sd {sd}, width {width}");
            }
        }
        assert_eq!(required_pairs(0.01, 10.0), Ok(2));
        assert!(matches!(required_pairs(1.0, 1e-6), Err(StatsError::OutOfReach { .. })));
        assert!(required_pairs(0.0, 1.0).is_err() && required_pairs(1.0, f64::NAN).is_err());
    }

    proptest! {
        #[test]
        fn swapping_the_arms_inverts_the_ratio(pairs in prop::collection::vec((1e-3f64..1e6, 1e-3f64..1e6), 2..20)) {
            let swapped: Vec<Pair> = pairs.iter().map(|&(on, bypass)| (bypass, on)).collect();
            let (one, two) = (cost(&pairs).expect("valid"), cost(&swapped).expect("valid"));
            prop_assert!((one.ratio * two.ratio - 1.0).abs() < 1e-9);
            if let (Some(low), Some(high)) = (one.low, two.high) {
                prop_assert!(low == 0.0 || (low * high - 1.0).abs() < 1e-6);
            }
            prop_assert!(one.low.is_none_or(|low| low <= one.ratio) && one.high.is_none_or(|high| high >= one.ratio));
        }

        #[test]
        fn the_unit_does_not_matter_to_the_ratio(pairs in prop::collection::vec((1e-3f64..1e3, 1e-3f64..1e3), 1..20), factor in 1e-3f64..1e3) {
            let scaled: Vec<Pair> = pairs.iter().map(|&(on, bypass)| (on * factor, bypass * factor)).collect();
            let (one, two) = (cost(&pairs).expect("valid"), cost(&scaled).expect("valid"));
            prop_assert!((one.ratio / two.ratio - 1.0).abs() < 1e-9);
            prop_assert!((two.difference - one.difference * factor).abs() <= 1e-9 * factor * 1e3);
        }
    }
}
