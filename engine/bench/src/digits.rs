//! How many digits a measurement is written with: the one rule of the report, of the pages and of exports that people read. How a language
//! writes them (separators, signs, what stands for nothing) is not decided here.

/// Decimals of a measured value: three significant digits where a measurement allows them, never more than three decimals.
#[must_use]
pub fn of_value(number: f64) -> usize {
    match number.abs() {
        0.0 => 0,
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        _ => 3,
    }
}

/// Decimals of a ratio: two below 10, so that a column of ratios lines up; three below 0.1, where two would say nothing.
#[must_use]
pub fn of_ratio(number: f64) -> usize {
    match number.abs() {
        size if size < 0.0995 => 3,
        size if size < 9.995 => 2,
        _ => of_value(number),
    }
}

/// A share in per cent and its decimals; `None` of nothing. Rounded towards the suspicious side: 100 only when nothing is missing.
#[must_use]
pub fn share(part: u64, whole: u64) -> Option<(f64, usize)> {
    match (part, whole) {
        (_, 0) => None,
        (part, whole) if part == whole => Some((100.0, 0)),
        (part, whole) => {
            let percent = (part as f64 / whole as f64 * 100.0 * 1000.0).floor() / 1000.0;
            Some((percent, if percent >= 99.0 { 3 } else { 1 }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_has_three_significant_digits_and_three_decimals_at_most() {
        assert_eq!([0.0, 0.4567, 3.926, 70.44, 822.4, 20_773.0].map(of_value), [0, 3, 2, 1, 0, 0]);
        assert_eq!([-0.05, 0.382, 2.674, 11.68].map(of_ratio), [3, 2, 2, 1]);
    }

    #[test]
    fn all_is_only_said_when_nothing_is_missing() {
        assert_eq!([share(0, 0), share(72, 72)], [None, Some((100.0, 0))]);
        assert_eq!([share(11_999, 12_000), share(1, 3)], [Some((99.991, 3)), Some((33.333, 1))]);
    }
}
