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
            self.clipped += 1;
        }
        self.counts.saturating_record(us.clamp(1, MAX_US));
    }

    /// Adds every count of `other`; exact.
    pub fn merge(&mut self, other: &Self) {
        // Cannot fail: both have the same constant bounds.
        let _same_bounds = self.counts.add(&other.counts);
        self.clipped += other.clipped;
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
        ((1.0 - q) * self.len() as f64 >= 100.0).then(|| self.counts.value_at_quantile(q))
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
            total = total.checked_add(count).ok_or_else(|| de::Error::custom("histogram counts overflow"))?;
            histogram
                .counts
                .record_n(value, count)
                .map_err(|error| de::Error::custom(format!("histogram bucket {value}: {error}")))?;
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
