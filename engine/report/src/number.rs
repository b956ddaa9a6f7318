//! How numbers are written: the one place that decides separators and signs for HTML and text, with the digits of [`tbi_bench::digits`].
//!
//! Thousands are set apart by a narrow no-break space (ISO 80000-1); the minus sign is U+2212. A number that is not finite, or absent, is an en dash.

use tbi_bench::digits;
use tbi_bench::units::Span;

/// What stands where there is no number.
pub(crate) const NONE: &str = "–";
const THIN: char = '\u{202f}';

/// A measured value.
pub(crate) fn value(number: f64) -> String {
    if !number.is_finite() {
        return NONE.to_owned();
    }
    fixed(number, digits::of_value(number))
}

/// As [`value`], or a dash.
pub(crate) fn optional(number: Option<f64>) -> String {
    number.map_or_else(|| NONE.to_owned(), value)
}

/// A ratio.
pub(crate) fn ratio(number: f64) -> String {
    if !number.is_finite() {
        return NONE.to_owned();
    }
    fixed(number, digits::of_ratio(number))
}

/// A difference, always with its sign.
pub(crate) fn signed(number: f64) -> String {
    let text = value(number);
    if number > 0.0 && text.chars().any(|c| c.is_ascii_digit() && c != '0') { format!("+{text}") } else { text }
}

/// A share in per cent.
pub(crate) fn share(part: u64, whole: u64) -> String {
    let share = digits::share(part, whole);
    share.map_or_else(|| NONE.to_owned(), |(percent, decimals)| format!("{}\u{a0}%", fixed(percent, decimals)))
}

/// A fraction 0..=1 in per cent, whole numbers.
pub(crate) fn percent(fraction: f64) -> String {
    if !fraction.is_finite() {
        return NONE.to_owned();
    }
    let percent = fraction * 100.0;
    format!("{}\u{a0}%", fixed(percent, usize::from(percent < 9.95 && percent > 0.0)))
}

/// A count with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    group(&number.to_string())
}

/// Sum of counts. A record from elsewhere may hold any numbers, so it stops at the largest one instead of overflowing.
pub(crate) fn total(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// Microseconds as milliseconds, without unit.
pub(crate) fn us_as_ms(us: f64) -> String {
    value(us / 1000.0)
}

/// A length of time for reading, with unit: `0.7 s`, `2 min 5 s`.
pub(crate) fn span(span: Span) -> String {
    let us = span.as_micros();
    match us {
        0 => "0\u{a0}s".to_owned(),
        1..=99_999 => format!("{}\u{a0}ms", trim(&fixed(us as f64 / 1e3, 3))),
        100_000..=59_999_999 => format!("{}\u{a0}s", trim(&fixed(us as f64 / 1e6, 2))),
        _ => {
            let seconds = (us + 500_000) / 1_000_000;
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            if hours > 0 {
                format!("{hours}\u{a0}h {minutes:02}\u{a0}min")
            } else {
                format!("{minutes}\u{a0}min {seconds:02}\u{a0}s")
            }
        }
    }
}

/// `number` with exactly so many decimals, thousands apart, no negative zero.
pub(crate) fn fixed(number: f64, decimals: usize) -> String {
    if !number.is_finite() {
        return NONE.to_owned();
    }
    let text = format!("{:.decimals$}", number.abs());
    let negative = number < 0.0 && text.chars().any(|c| c.is_ascii_digit() && c != '0');
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    if negative {
        out.push('−');
    }
    out.push_str(&group(whole));
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

fn group(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (index, digit) in digits.chars().enumerate() {
        // 4-digit numbers are grouped too, so that columns line up.
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(THIN);
        }
        out.push(digit);
    }
    out
}

fn trim(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_three_significant_digits() {
        for (number, text) in [
            (0.0, "0"),
            (0.01234, "0.012"),
            (0.9994, "0.999"),
            (0.9996, "1.00"),
            (1.234, "1.23"),
            (9.996, "10.0"),
            (12.34, "12.3"),
            (99.96, "100"),
            (1234.5, "1\u{202f}234"),
            (1_234_567.0, "1\u{202f}234\u{202f}567"),
            (-1.5, "−1.50"),
            (-0.0001, "0.000"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
        ] {
            assert_eq!(value(number), text, "{number}");
        }
        assert_eq!(optional(None), "–");
    }

    #[test]
    fn ratios_line_up() {
        for (number, text) in [(1.0, "1.00"), (0.4211, "0.42"), (0.0421, "0.042"), (12.34, "12.3"), (f64::NAN, "–")] {
            assert_eq!(ratio(number), text, "{number}");
        }
    }

    #[test]
    fn differences_carry_their_sign() {
        for (number, text) in [(1.5, "+1.50"), (-1.5, "−1.50"), (0.0, "0"), (0.0001, "0.000"), (-1e4, "−10\u{202f}000")]
        {
            assert_eq!(signed(number), text, "{number}");
        }
    }

    #[test]
    fn a_share_is_never_rounded_up_to_all() {
        assert_eq!(share(10_000_000, 10_000_000), "100\u{a0}%");
        assert_eq!(share(9_999_999, 10_000_000), "99.999\u{a0}%");
        assert_eq!(share(1, 3), "33.3\u{a0}%");
        assert_eq!(share(0, 0), "–");
        assert_eq!(percent(0.43), "43\u{a0}%");
        assert_eq!(percent(0.012), "1.2\u{a0}%");
    }

    #[test]
    fn lengths_of_time_read_naturally() {
        for (us, text) in [
            (0, "0\u{a0}s"),
            (250, "0.25\u{a0}ms"),
            (50_000, "50\u{a0}ms"),
            (700_000, "0.7\u{a0}s"),
            (125_000_000, "2\u{a0}min 05\u{a0}s"),
            (7_260_000_000, "2\u{a0}h 01\u{a0}min"),
        ] {
            assert_eq!(span(Span::from_micros(us)), text);
        }
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(us_as_ms(1234.0), "1.23");
    }
}
