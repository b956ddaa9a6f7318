//! What may be claimed from measured values: averages, drift, intervals for paired comparisons, and steadiness.
//!
//! The unit of every statistic here is the *block* (one trial), never the request: requests inside a block share its conditions and
//! are not independent, so a million of them make one observation (facts on experiment design: blocks in pairs, order randomised).
//!
//! Nothing here decides whether a campaign is valid; it gives numbers, or refuses with a reason when a number cannot be given.
//! Values are in whatever unit the KPI has.

pub mod bootstrap;
pub mod paired;
pub mod steady;
pub mod student;

/// Values a KPI may take. Wider than any time or rate, narrow enough that sums, squares and ratios stay finite.
const LEAST: f64 = 1e-100;
const MOST: f64 = 1e100;

/// Why no statistic can be given.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StatsError {
    /// Nothing was measured.
    #[error("there are no values to compare; measure at least one whole pair of blocks")]
    Empty,
    /// An interval needs at least two pairs.
    #[error("an interval needs at least two pairs of blocks and there is {0}; add pairs to the plan")]
    TooFew(usize),
    /// A value from which no ratio can be formed.
    #[error(
        "the {what} value {value} of block {index} is not a positive finite measurement; look at the block's errors and leave it out"
    )]
    Value {
        /// Which series.
        what: &'static str,
        /// Position in it, from 0.
        index: usize,
        /// The value.
        value: f64,
    },
    /// Number of bootstrap resamples outside 100 to 1,000,000.
    #[error("{0} bootstrap resamples are not between 100 and 1000000; 10000 is a good choice")]
    Resamples(u32),
    /// A precision nobody can reach.
    #[error(
        "a half-width of {half_width} at a standard deviation of {pilot_sd} is not reached with {most} pairs; ask for less or steady the bench"
    )]
    OutOfReach {
        /// Standard deviation given.
        pilot_sd: f64,
        /// Half-width wanted.
        half_width: f64,
        /// Most pairs considered.
        most: u32,
    },
}

fn check(what: &'static str, index: usize, value: f64) -> Result<f64, StatsError> {
    // The range test is false for NaN.
    if (LEAST..=MOST).contains(&value) { Ok(value) } else { Err(StatsError::Value { what, index, value }) }
}

fn check_all(what: &'static str, values: &[f64]) -> Result<(), StatsError> {
    if values.is_empty() {
        return Err(StatsError::Empty);
    }
    values.iter().enumerate().try_for_each(|(index, &value)| check(what, index, value).map(drop))
}

/// Arithmetic mean.
///
/// # Errors
/// When there are no values or one is not positive and finite.
pub fn mean(values: &[f64]) -> Result<f64, StatsError> {
    check_all("averaged", values)?;
    Ok(raw_mean(values.iter().copied()))
}

/// Geometric mean, the mean that ratios have.
///
/// # Errors
/// When there are no values or one is not positive and finite.
pub fn geometric_mean(values: &[f64]) -> Result<f64, StatsError> {
    check_all("averaged", values)?;
    Ok(libm::exp(raw_mean(values.iter().map(|&value| libm::log(value)))))
}

/// Median; of an even number of values the mean of the middle two.
///
/// # Errors
/// When there are no values or one is not positive and finite.
pub fn median(values: &[f64]) -> Result<f64, StatsError> {
    check_all("averaged", values)?;
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Ok(sorted[(sorted.len() - 1) / 2].midpoint(sorted[sorted.len() / 2]))
}

/// Largest relative difference between two of the reference blocks (start, middle, end of a campaign): largest less smallest, divided
/// by the smallest. A campaign whose reference drifts by more than 2 % is void.
///
/// # Errors
/// When there are no values or one is not positive and finite.
pub fn drift(reference: &[f64]) -> Result<f64, StatsError> {
    check_all("reference", reference)?;
    let least = reference.iter().copied().fold(f64::INFINITY, f64::min);
    let most = reference.iter().copied().fold(0.0, f64::max);
    Ok((most - least) / least)
}

fn raw_mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// Standard deviation of a sample (n - 1 in the denominator); needs two values.
fn sample_sd(values: &[f64], mean: f64) -> f64 {
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn averages_of_small_samples() {
        assert_eq!(mean(&[1.0, 2.0, 6.0]), Ok(3.0));
        assert_eq!(median(&[6.0, 1.0, 2.0]), Ok(2.0));
        assert_eq!(median(&[6.0, 1.0, 2.0, 4.0]), Ok(3.0));
        assert!((geometric_mean(&[1.0, 4.0]).unwrap_or(0.0) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn drift_is_the_largest_relative_difference() {
        assert_eq!(drift(&[100.0, 102.0, 101.0]), Ok(0.02));
        assert_eq!(drift(&[5.0]), Ok(0.0));
        assert_eq!(drift(&[2.0, 1.0]), Ok(1.0));
    }

    #[test]
    fn what_is_no_measurement_is_refused_by_name() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300, 1e300] {
            for statistic in [mean, median, geometric_mean, drift] {
                let error = statistic(&[1.0, bad]).expect_err("refused");
                assert!(error.to_string().contains("of block 1 is not a positive finite measurement"), "{error}");
            }
        }
        assert_eq!(mean(&[]), Err(StatsError::Empty));
    }
}
