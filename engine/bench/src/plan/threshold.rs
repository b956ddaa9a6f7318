//! Thresholds: sentences over results that decide the exit code, e.g. `h3 1KB handshake_time cost <= 3.0`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::object::Object;
use crate::protocol::Protocol;
use crate::record::{Kpi, ResultRow, ThresholdResult};

/// Which number of a result is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    Cost,
    CostHigh,
    CostLow,
    On,
    Bypass,
    Headroom,
}

impl Quantity {
    const ALL: [(&'static str, Quantity); 6] = [
        ("cost", Quantity::Cost),
        ("cost_high", Quantity::CostHigh),
        ("cost_low", Quantity::CostLow),
        ("on", Quantity::On),
        ("bypass", Quantity::Bypass),
        ("headroom", Quantity::Headroom),
    ];

    fn of(self, row: &ResultRow) -> Option<f64> {
        match self {
            Quantity::Cost => row.cost.map(|cost| cost.ratio),
            Quantity::CostHigh => row.cost.and_then(|cost| cost.high),
            Quantity::CostLow => row.cost.and_then(|cost| cost.low),
            Quantity::On => row.on,
            Quantity::Bypass => row.bypass,
            Quantity::Headroom => row.headroom,
        }
    }
}

/// One threshold; written as text, six words: protocol, object, KPI, quantity, `<=` or `>=`, bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    protocol: Protocol,
    object: Object,
    kpi: Kpi,
    quantity: Quantity,
    at_most: bool,
    bound: f64,
}

/// A text is not a threshold.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{text}' is not a threshold: {why}; write protocol, object, KPI, quantity and bound, for example \
     \"h3 1KB handshake_time cost <= 3.0\""
)]
pub struct ThresholdError {
    text: String,
    why: &'static str,
}

impl Threshold {
    /// Compares with the results of a run. A threshold on something that was not measured does not hold.
    #[must_use]
    pub fn check(&self, results: &[ResultRow]) -> ThresholdResult {
        let value = results
            .iter()
            .find(|row| row.protocol == self.protocol && row.object == self.object && row.kpi == self.kpi)
            .and_then(|row| self.quantity.of(row));
        let holds = value.is_some_and(|value| if self.at_most { value <= self.bound } else { value >= self.bound });
        ThresholdResult { threshold: self.to_string(), value, holds }
    }

    /// Cell and KPI it speaks of, so that a plan can refuse one that it never measures.
    #[must_use]
    pub fn subject(&self) -> (Protocol, Object, Kpi) {
        (self.protocol, self.object, self.kpi)
    }

    /// Whether its number needs the ON arm.
    pub(super) fn looks_at_on(&self) -> bool {
        !matches!(self.quantity, Quantity::Bypass | Quantity::Headroom)
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantity =
            Quantity::ALL.iter().find(|(_, quantity)| *quantity == self.quantity).map_or("", |(name, _)| name);
        let comparison = if self.at_most { "<=" } else { ">=" };
        write!(f, "{} {} {} {quantity} {comparison} {}", self.protocol, self.object, self.kpi.name(), self.bound)
    }
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    /// ```
    /// use tbi_bench::plan::Threshold;
    /// let text = "h3 1KB handshake_time cost <= 3";
    /// assert_eq!(text.parse::<Threshold>().unwrap().to_string(), text);
    /// for bad in ["", "h3 1KB handshake_time cost < 3", "h9 1KB handshake_time cost <= 3", "h3 1KB handshake_time cost <= NaN"] {
    ///     assert!(bad.parse::<Threshold>().is_err(), "{bad}");
    /// }
    /// ```
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |why| ThresholdError { text: text.chars().take(80).collect(), why };
        let words: Vec<&str> = text.split_whitespace().collect();
        let &[protocol, object, kpi, quantity, comparison, bound] = words.as_slice() else {
            return Err(error("it has not six words"));
        };
        let protocol = Protocol::ALL
            .into_iter()
            .find(|known| known.as_str() == protocol)
            .ok_or_else(|| error("the protocol is none of h3, h2, h1"))?;
        let object =
            object.parse().map_err(|_| error("the object is none of 1KB, 2KB, 4KB, 16KB, 64KB, 256KB, mix"))?;
        let kpi = Kpi::ALL.into_iter().find(|known| known.name() == kpi).ok_or_else(|| {
            error(
                "the KPI is none of handshake_time, time_to_first_byte, time_to_last_byte, dut_added_time, \
                 connections_per_second, transactions_per_second, throughput",
            )
        })?;
        let quantity = Quantity::ALL
            .into_iter()
            .find_map(|(name, known)| (name == quantity).then_some(known))
            .ok_or_else(|| error("the quantity is none of cost, cost_high, cost_low, on, bypass, headroom"))?;
        let at_most = match comparison {
            "<=" => true,
            ">=" => false,
            _ => return Err(error("the comparison is neither <= nor >=")),
        };
        let bound: f64 = bound.parse().map_err(|_| error("the bound is not a number"))?;
        if !bound.is_finite() || bound < 0.0 {
            return Err(error("the bound is not a finite number of at least 0"));
        }
        Ok(Self { protocol, object, kpi, quantity, at_most, bound })
    }
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Threshold {
    fn schema_name() -> Cow<'static, str> {
        "Threshold".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["h3 1KB handshake_time cost <= 3.0"] })
    }
}
