//! Numbers, spans and sizes as a reader's language writes them. Pure. For machines there is the API; nothing here is parsed again.

use super::words::Lang;

/// With separators, rounded to `decimals`.
pub(crate) fn decimal(value: f64, decimals: usize, lang: Lang) -> String {
    let (group, point) = match lang {
        Lang::En => (',', '.'),
        Lang::PtBr => ('.', ','),
    };
    if !value.is_finite() {
        return "–".to_owned();
    }
    let plain = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let zero = plain.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let mut text = String::new();
    if value < 0.0 && !zero {
        text.push('\u{2212}');
    }
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            text.push(group);
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push(point);
        text.push_str(fraction);
    }
    text
}

/// A count.
pub(crate) fn count(value: u64, lang: Lang) -> String {
    // Beyond 2^53 the last digits of a count are of no use to a reader.
    decimal(value as f64, 0, lang)
}

/// A span: `45 s`, `12 min`, `3 h 5 min`, `2 d 4 h`; the units are those of the SI brochure in both languages.
pub(crate) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Memory: `7 MiB`, `1.5 GiB`.
pub(crate) fn memory(bytes: u64, lang: Lang) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1000.0 {
        format!("{} MiB", decimal(mib, 0, lang))
    } else {
        format!("{} GiB", decimal(mib / 1024.0, 1, lang))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_separators_of_the_language() {
        assert_eq!(decimal(1_234_567.891, 2, Lang::En), "1,234,567.89");
        assert_eq!(decimal(1_234_567.891, 2, Lang::PtBr), "1.234.567,89");
        assert_eq!(decimal(999.0, 0, Lang::En), "999");
        assert_eq!(decimal(-1000.5, 1, Lang::PtBr), "\u{2212}1.000,5");
        assert_eq!(decimal(-0.01, 1, Lang::En), "0.0", "no negative nothing");
        assert_eq!(decimal(f64::NAN, 1, Lang::En), "–");
        assert_eq!(count(12_000, Lang::PtBr), "12.000");
    }

    #[test]
    fn spans_and_sizes_are_short() {
        assert_eq!(
            [0, 59, 60, 3599, 3700, 90_000].map(span),
            ["0 s", "59 s", "1 min", "59 min", "1 h 1 min", "1 d 1 h"]
        );
        assert_eq!(memory(7 << 20, Lang::En), "7 MiB");
        assert_eq!(memory(3 << 29, Lang::PtBr), "1,5 GiB");
    }
}
