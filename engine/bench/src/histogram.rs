//! Latency histograms: HDR, three significant digits, 1 µs to 60 s, merged by adding counts and never by averaging percentiles.
//!
//! The serial form is sparse and self-describing (`[[value_us, count], …]`), so a record can be re-analysed by anything that reads
//! JSON, and merging two parsed histograms equals having recorded into one.

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Largest value kept, µs; longer times are counted there and in [`LatencyHistogram::clipped`].
pub const MAX_US: u64 = 60_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// Counts of latencies in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyHistogram {
    counts: Histogram<u64>,
    clipped: u64,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyHistogram {
    /// An empty histogram.
    #[must_use]
    pub fn new() -> Self {
        // The bounds are constants that satisfy hdrhistogram's rules (low >= 1, high >= 2 * low, digits <= 5).
        #[expect(clippy::expect_used, reason = "constant bounds, checked by every test that makes one")]
        let counts = Histogram::new_with_bounds(1, MAX_US, SIGNIFICANT_DIGITS).expect("constant bounds are valid");
        Self { counts, clipped: 0 }
    }

    /// Counts one latency, µs; 0 counts as 1.
    pub fn record(&mut self, us: u64) {
        if us > MAX_US {
            self.clipped = self.clipped.saturating_add(1);
        }
        self.counts.saturating_record(us.clamp(1, MAX_US));
    }

    /// Adds every count of `other`; exact.
    pub fn merge(&mut self, other: &Self) {
        // Cannot fail: both have the same constant bounds.
        let _same_bounds = self.counts.add(&other.counts);
        self.clipped = self.clipped.saturating_add(other.clipped);
    }

    /// Number of latencies.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.counts.len()
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many were above [`MAX_US`].
    #[must_use]
    pub fn clipped(&self) -> u64 {
        self.clipped
    }

    /// Smallest, µs; `None` when empty.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.counts.min())
    }

    /// Largest, µs; `None` when empty.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.counts.max())
    }

    /// Mean, µs; `None` when empty.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.counts.mean())
    }

    /// Value at quantile `q` in 0..=1, µs; `None` when empty.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        (!self.is_empty()).then(|| self.counts.value_at_quantile(q))
    }

    /// Value at quantile `q`, µs, or `None` when fewer than 100 latencies lie beyond it and it would be noise (facts/bench.md §5.2).
    #[must_use]
    pub fn supported_quantile(&self, q: f64) -> Option<u64> {
        // 1 - 0.9 is a little less than a tenth in binary; the slack keeps exactly 100 values from counting as 99.99….
        ((1.0 - q) * self.len() as f64 >= 100.0 - 1e-6).then(|| self.counts.value_at_quantile(q))
    }

    /// Non-empty buckets, lowest first: lowest value of the bucket in µs and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.counts
            .iter_recorded()
            .map(|bucket| (self.counts.lowest_equivalent(bucket.value_iterated_to()), bucket.count_at_value()))
    }
}

#[derive(Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename = "LatencyHistogram")]
struct Sparse {
    /// Unit of the bucket values, always `us`.
    unit: String,
    /// Latencies above 60 s, counted in the last bucket too.
    #[serde(default)]
    clipped: u64,
    /// Lowest value of a bucket and its count, lowest first.
    buckets: Vec<(u64, u64)>,
}

impl Serialize for LatencyHistogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Sparse { unit: "us".to_owned(), clipped: self.clipped, buckets: self.buckets().collect() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LatencyHistogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sparse = Sparse::deserialize(deserializer)?;
        if sparse.unit != "us" {
            return Err(de::Error::custom(format!("histogram unit '{}' is not 'us'", sparse.unit)));
        }
        let mut histogram = Self::new();
        histogram.clipped = sparse.clipped;
        let mut total = 0u64;
        for (value, count) in sparse.buckets {
            if value == 0 || count == 0 {
                return Err(de::Error::custom(format!("histogram bucket [{value}, {count}] has no value or no count")));
            }
            total = total.checked_add(count).ok_or_else(|| de::Error::custom("histogram counts overflow"))?;
            histogram
                .counts
                .record_n(value, count)
                .map_err(|error| de::Error::custom(format!("histogram bucket {value}: {error}")))?;
        }
        if sparse.clipped > total {
            return Err(de::Error::custom(format!("histogram claims {} clipped of {total} values", sparse.clipped)));
        }
        Ok(histogram)
    }
}

impl schemars::JsonSchema for LatencyHistogram {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LatencyHistogram".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Sparse::json_schema(generator)
    }
}

impl utoipa::PartialSchema for LatencyHistogram {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        Sparse::schema()
    }
}

impl utoipa::ToSchema for LatencyHistogram {}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recorded(values: &[u64]) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::new();
        values.iter().for_each(|&us| histogram.record(us));
        histogram
    }

    fn through_json(histogram: &LatencyHistogram) -> LatencyHistogram {
        let json = serde_json::to_string(histogram).expect("serialises");
        serde_json::from_str(&json).expect("reads back")
    }

    #[test]
    fn an_empty_histogram_claims_nothing() {
        for empty in [LatencyHistogram::new(), through_json(&LatencyHistogram::new())] {
            assert!(empty.is_empty());
            assert_eq!((empty.min(), empty.max(), empty.mean(), empty.quantile(0.5)), (None, None, None, None));
            assert_eq!(empty.supported_quantile(0.5), None);
        }
    }

    #[test]
    fn bounds_are_kept_and_what_is_clipped_is_counted() {
        let histogram = recorded(&[0, 1, MAX_US, MAX_US + 1, u64::MAX]);
        assert_eq!((histogram.len(), histogram.clipped(), histogram.min()), (5, 2, Some(1)));
        // Three significant digits: within a thousandth of the largest value.
        assert!(histogram.max().is_some_and(|max| (MAX_US..=MAX_US + MAX_US / 1000).contains(&max)));
    }

    #[test]
    fn a_quantile_needs_a_hundred_values_beyond_it() {
        let histogram = recorded(&(1..=1000).collect::<Vec<u64>>());
        assert!(histogram.supported_quantile(0.9).is_some());
        assert_eq!(histogram.supported_quantile(0.91), None);
        assert_eq!(histogram.supported_quantile(0.99), None);
    }

    #[test]
    fn hostile_json_is_refused_with_a_reason() {
        let refused = [
            (r#"{"unit":"ms","buckets":[]}"#, "unit 'ms' is not 'us'"),
            (r#"{"buckets":[]}"#, "unit"),
            (r#"{"unit":"us"}"#, "buckets"),
            (r#"{"unit":"us","buckets":[],"extra":1}"#, "unknown field"),
            (r#"{"unit":"us","buckets":[[60000001000000,1]]}"#, "bucket 60000001000000"),
            (r#"{"unit":"us","buckets":[[18446744073709551615,1]]}"#, "bucket 18446744073709551615"),
            (r#"{"unit":"us","buckets":[[1,18446744073709551615],[2,1]]}"#, "overflow"),
            (r#"{"unit":"us","buckets":[[1,18446744073709551616]]}"#, "invalid"),
            (r#"{"unit":"us","buckets":[[1,-1]]}"#, "invalid"),
            (r#"{"unit":"us","buckets":[[1.5,1]]}"#, "invalid"),
            (r#"{"unit":"us","buckets":[[1,1,1]]}"#, "trailing"),
            (r#"{"unit":"us","buckets":[[1,0]]}"#, "no count"),
            (r#"{"unit":"us","buckets":[[0,1]]}"#, "no value"),
            (r#"{"unit":"us","clipped":2,"buckets":[[60000000,1]]}"#, "2 clipped of 1"),
        ];
        for (json, reason) in refused {
            let error = serde_json::from_str::<LatencyHistogram>(json).expect_err(json).to_string();
            assert!(error.contains(reason), "{json}: {error}");
        }
    }

    #[test]
    fn huge_counts_saturate_instead_of_overflowing() {
        let huge = r#"{"unit":"us","clipped":18446744073709551615,"buckets":[[60000000,18446744073709551615]]}"#;
        let mut histogram: LatencyHistogram = serde_json::from_str(huge).expect("within bounds");
        histogram.merge(&histogram.clone());
        histogram.record(u64::MAX);
        assert_eq!((histogram.len(), histogram.clipped()), (u64::MAX, u64::MAX));
        assert!(histogram.quantile(0.5).is_some() && histogram.mean().is_some() && histogram.buckets().count() == 1);
    }

    proptest! {
        /// Merging is adding counts: it does not matter who recorded what, in which order, nor whether it went through JSON.
        #[test]
        fn merged_equals_recorded_in_one(
            shares in prop::collection::vec(prop::collection::vec(prop_oneof![0u64..3000, 0u64..=MAX_US + 1000, Just(u64::MAX)], 0..60), 1..6),
        ) {
            let together = recorded(&shares.concat());
            let mut merged = LatencyHistogram::new();
            let mut merged_from_json = LatencyHistogram::new();
            for share in shares.iter().rev() {
                merged.merge(&recorded(share));
                merged_from_json.merge(&through_json(&recorded(share)));
            }
            prop_assert_eq!(&merged, &together);
            prop_assert_eq!(&merged_from_json, &together);
            prop_assert_eq!(&through_json(&together), &together);
            prop_assert_eq!(serde_json::to_string(&merged_from_json).ok(), serde_json::to_string(&together).ok());
            prop_assert_eq!(merged_from_json.quantile(0.99), together.quantile(0.99));
            prop_assert_eq!((merged_from_json.min(), merged_from_json.max()), (together.min(), together.max()));
        }

        #[test]
        fn a_quantile_is_off_by_less_than_a_thousandth(mut values in prop::collection::vec(1u64..=MAX_US, 1..200), q in 0.0f64..=1.0) {
            let histogram = recorded(&values);
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let (exact, found) = (values[rank - 1], histogram.quantile(q).unwrap_or(0));
            prop_assert!(found >= exact && found - exact <= exact / 1000 + 1, "{found} is not {exact}");
        }

        #[test]
        fn arbitrary_buckets_never_panic(unit in "us|ms|", clipped: u64, buckets: Vec<(u64, u64)>) {
            let json = serde_json::json!({ "unit": unit, "clipped": clipped, "buckets": buckets }).to_string();
            if let Ok(mut histogram) = serde_json::from_str::<LatencyHistogram>(&json) {
                histogram.merge(&through_json(&histogram));
                let _any = (histogram.quantile(0.5), histogram.mean(), histogram.supported_quantile(0.999));
            }
        }
    }
}
