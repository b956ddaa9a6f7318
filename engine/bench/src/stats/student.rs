//! Student's t distribution: tail probability and quantile, by the regularised incomplete beta function.
//!
//! The continued fraction is the standard one (Abramowitz and Stegun 26.5.8), evaluated by the modified Lentz method; the quantile is
//! found by bisection, which is slow, cannot fail and is exact to the last few bits. Good to at least 1e-9 relative for the
//! probabilities in use (1e-6 to ½).

/// Probability that |T| is at least `t` (two tails) with `df` degrees of freedom; `df` 0 counts as 1.
#[must_use]
pub fn two_sided(t: f64, df: u32) -> f64 {
    let df = f64::from(df.max(1));
    incomplete_beta(df / (df + t * t), df / 2.0, 0.5)
}

/// The `t` for which an interval `mean ± t·se` has the given two-sided `confidence` (0.95 for 95 %) with `df` degrees of freedom.
/// `None` when there are no degrees of freedom or the confidence is not between 0 and 1, both excluded.
#[must_use]
pub fn quantile(confidence: f64, df: u32) -> Option<f64> {
    if df == 0 || !(confidence > 0.0 && confidence < 1.0) {
        return None;
    }
    let tails = 1.0 - confidence;
    let (mut low, mut high) = (0.0, 1.0);
    while two_sided(high, df) > tails {
        low = high;
        high *= 2.0;
    }
    // Sixty halvings of an interval no wider than its lower end leave nothing to halve.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if two_sided(middle, df) > tails { low = middle } else { high = middle }
    }
    Some(f64::midpoint(low, high))
}

/// Regularised incomplete beta function I_x(a, b), 0 <= x <= 1.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front =
        libm::exp(libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * libm::log(x) + b * libm::log1p(-x));
    // The fraction converges fast only on this side of the mean; the other side by symmetry.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(x, a, b) / a
    } else {
        1.0 - front * fraction(1.0 - x, b, a) / b
    }
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    // Stands in for zero denominators (Lentz, as modified by Thompson and Barnett).
    const TINY: f64 = 1e-300;
    const TERMS: u32 = 1000;
    let guard = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    for m in 1..=TERMS {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        for coefficient in [even, odd] {
            d = 1.0 / guard(1.0 + coefficient * d);
            c = guard(1.0 + coefficient / c);
            result *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 97.5 % and 99.5 % quantiles, from the usual table (three decimals).
    const TABLE: [(u32, f64, f64); 17] = [
        (1, 12.706, 63.657),
        (2, 4.303, 9.925),
        (3, 3.182, 5.841),
        (4, 2.776, 4.604),
        (5, 2.571, 4.032),
        (6, 2.447, 3.707),
        (7, 2.365, 3.499),
        (8, 2.306, 3.355),
        (9, 2.262, 3.250),
        (10, 2.228, 3.169),
        (15, 2.131, 2.947),
        (19, 2.093, 2.861),
        (20, 2.086, 2.845),
        (30, 2.042, 2.750),
        (40, 2.021, 2.704),
        (60, 2.000, 2.660),
        (120, 1.980, 2.617),
    ];

    #[test]
    fn agrees_with_the_table() {
        for (df, t95, t99) in TABLE {
            for (confidence, expected) in [(0.95, t95), (0.99, t99)] {
                let t = quantile(confidence, df).unwrap_or(0.0);
                assert!((t - expected).abs() <= 0.000_501, "df {df} at {confidence}: {t} is not {expected}");
            }
        }
    }

    #[test]
    fn agrees_with_closed_forms_to_one_in_a_billion() {
        for confidence in [0.5, 0.9, 0.95, 0.99, 0.999, 0.999_999] {
            // df 1 is Cauchy; df 2: t = c·sqrt(2/(1-c²)).
            let cauchy = (std::f64::consts::FRAC_PI_2 * confidence).tan();
            let two = confidence * (2.0 / (1.0 - confidence * confidence)).sqrt();
            for (df, expected) in [(1, cauchy), (2, two)] {
                let t = quantile(confidence, df).unwrap_or(0.0);
                assert!((t / expected - 1.0).abs() < 1e-9, "df {df} at {confidence}: {t} is not {expected}");
            }
        }
        // Many degrees of freedom: the normal distribution with its first correction (Abramowitz and Stegun 26.7.5).
        let z: f64 = 1.959_963_984_540_054;
        let t = quantile(0.95, 1_000_000).unwrap_or(0.0);
        assert!((t - (z + (z.powi(3) + z) / 4e6)).abs() < 1e-9, "{t}");
    }

    #[test]
    fn quantile_and_tail_are_inverse_and_monotonic() {
        let mut last = f64::INFINITY;
        for df in 1..=120 {
            let t = quantile(0.95, df).unwrap_or(0.0);
            assert!((two_sided(t, df) - 0.05).abs() < 1e-12, "df {df}");
            assert!(t < last, "df {df}");
            last = t;
        }
        assert!((two_sided(0.0, 7) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn nonsense_has_no_quantile() {
        for (confidence, df) in [(0.95, 0), (0.0, 5), (1.0, 5), (-1.0, 5), (f64::NAN, 5)] {
            assert_eq!(quantile(confidence, df), None);
        }
    }
}
