//! Numbers of measurements as a reader's language writes them, with the digits of the report ([`tbi_bench::digits`]). Pure.

use tbi_bench::digits;
use tbi_bench::record::Cost;

use super::super::look::Look;
use super::super::number::decimal;

/// What stands where there is no number.
pub(super) const NONE: &str = "–";

/// A measured value.
pub(super) fn value(number: f64, look: &Look) -> String {
    decimal(number, digits::of_value(number), look.lang)
}

/// The same, or a dash.
pub(super) fn optional(number: Option<f64>, look: &Look) -> String {
    number.map_or_else(|| NONE.to_owned(), |number| value(number, look))
}

/// A ratio.
pub(super) fn ratio(number: f64, look: &Look) -> String {
    decimal(number, digits::of_ratio(number), look.lang)
}

/// An interval of ratios; empty where there is none.
pub(super) fn interval(low: Option<f64>, high: Option<f64>, look: &Look) -> String {
    let ends = low.zip(high);
    ends.map(|(low, high)| format!("{} – {}", ratio(low, look), ratio(high, look))).unwrap_or_default()
}

/// The interval of a cost.
pub(super) fn interval_of(cost: &Cost, look: &Look) -> String {
    interval(cost.low, cost.high, look)
}

/// A share in per cent.
pub(super) fn share(part: u64, whole: u64, look: &Look) -> String {
    let share = digits::share(part, whole);
    share.map_or_else(|| NONE.to_owned(), |(percent, decimals)| format!("{} %", decimal(percent, decimals, look.lang)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_report() {
        let look = Look::of(&http::HeaderMap::new());
        let values = [0.0, 0.4567, 3.926, 70.44, 822.4, 20_773.0].map(|number| value(number, &look));
        assert_eq!(values, ["0", "0.457", "3.93", "70.4", "822", "20,773"]);
        assert_eq!([0.05, 0.382, 2.674, 11.68].map(|it| ratio(it, &look)), ["0.050", "0.38", "2.67", "11.7"]);
        assert_eq!(interval(Some(2.531), Some(2.816), &look), "2.53 – 2.82");
        assert_eq!((interval(None, Some(1.0), &look).as_str(), optional(None, &look).as_str()), ("", "–"));
        assert_eq!([share(72, 72, &look), share(11_999, 12_000, &look)], ["100 %", "99.991 %"]);
    }
}
