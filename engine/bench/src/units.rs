//! Quantities that carry their unit, so that no naked number crosses a border: time spans and rates.
//!
//! In plans they are strings (`"250ms"`, `"200/s"`); inside, integers of one unit each. Parsing is strict: a number without a unit
//! is refused with a sentence that names the units.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time, stored in microseconds, written as `"5us"`, `"250ms"`, `"1.5s"`, `"5min"` or `"1h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// Span of `us` microseconds.
    #[must_use]
    pub const fn from_micros(us: u64) -> Self {
        Self(us)
    }

    /// Span of `ms` milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1000)
    }

    /// Span of `s` seconds.
    #[must_use]
    pub const fn from_secs(s: u64) -> Self {
        Self(s * 1_000_000)
    }

    /// Length in microseconds.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Length in seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// As the standard library's duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_micros(self.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0s"),
            us if us % 3_600_000_000 == 0 => write!(f, "{}h", us / 3_600_000_000),
            us if us % 60_000_000 == 0 => write!(f, "{}min", us / 60_000_000),
            us if us % 1_000_000 == 0 => write!(f, "{}s", us / 1_000_000),
            us if us % 1000 == 0 => write!(f, "{}ms", us / 1000),
            us => write!(f, "{us}us"),
        }
    }
}

/// A text is not a quantity of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a time span.
    #[error("'{0}' is not a time span; write a number with a unit: us, ms, s, min or h, for example \"250ms\"")]
    Span(String),
    /// Not a rate.
    #[error("'{0}' is not a rate; write a number per second or minute, for example \"200/s\" or \"90/min\"")]
    Rate(String),
}

impl FromStr for Span {
    type Err = QuantityError;

    /// ```
    /// use tbi_bench::units::Span;
    /// assert_eq!("1.5s".parse(), Ok(Span::from_millis(1500)));
    /// assert_eq!("5min".parse(), Ok(Span::from_secs(300)));
    /// for bad in ["5", "-1s", "1 parsec", "", "NaNs", "1e300s", "s"] {
    ///     assert!(bad.parse::<Span>().is_err(), "{bad}");
    /// }
    /// ```
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || QuantityError::Span(clip(text));
        let (number, unit) = split_unit(text).ok_or_else(error)?;
        let factor = match unit {
            "us" | "µs" => 1.0,
            "ms" => 1e3,
            "s" => 1e6,
            "min" => 60e6,
            "h" => 3600e6,
            _ => return Err(error()),
        };
        const LONGEST_US: f64 = 366.0 * 86_400e6;
        let us = (number * factor).round();
        if us > LONGEST_US { Err(error()) } else { Ok(Self(us as u64)) }
    }
}

/// Events per second, stored in thousandths, written as `"200/s"`, `"0.5/s"` or `"90/min"`. Zero is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    per_1000_s: u64,
}

impl Rate {
    /// Highest rate that can be written; far above what one box can send, low enough for integer arithmetic.
    pub const MAX_PER_SECOND: u64 = 100_000_000;

    /// Rate of `events` per second; `None` for zero or above [`Self::MAX_PER_SECOND`].
    #[must_use]
    pub fn per_second(events: u64) -> Option<Self> {
        (1..=Self::MAX_PER_SECOND).contains(&events).then(|| Self { per_1000_s: events * 1000 })
    }

    /// Events per second.
    #[must_use]
    pub fn as_per_second(self) -> f64 {
        self.per_1000_s as f64 / 1000.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.as_per_second())
    }
}

impl FromStr for Rate {
    type Err = QuantityError;

    /// ```
    /// use tbi_bench::units::Rate;
    /// assert_eq!("90/min".parse::<Rate>().unwrap().as_per_second(), 1.5);
    /// for bad in ["200", "0/s", "-1/s", "inf/s", "1e30/s", "1/h"] {
    ///     assert!(bad.parse::<Rate>().is_err(), "{bad}");
    /// }
    /// ```
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || QuantityError::Rate(clip(text));
        let (number, unit) = split_unit(text).ok_or_else(error)?;
        let per_second = match unit {
            "/s" => number,
            "/min" => number / 60.0,
            _ => return Err(error()),
        };
        let per_1000_s = (per_second * 1000.0).round();
        if (1.0..=Self::MAX_PER_SECOND as f64 * 1000.0).contains(&per_1000_s) {
            Ok(Self { per_1000_s: per_1000_s as u64 })
        } else {
            Err(error())
        }
    }
}

/// Splits `"1.5ms"` into a finite non-negative number and its unit.
fn split_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text[..end].parse().ok()?;
    number.is_finite().then_some((number, text[end..].trim_start()))
}

/// What an error message may repeat of a user's text.
fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

macro_rules! quantity_as_text {
    ($type:ident, $example:literal, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "examples": [$example] })
            }
        }

        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some($pattern))
                    .examples([$example])
                    .into()
            }
        }

        impl utoipa::ToSchema for $type {}
    };
}

quantity_as_text!(Span, "250ms", r"^[0-9.]+ *(us|µs|ms|s|min|h)$");
quantity_as_text!(Rate, "200/s", r"^[0-9.]+ */(s|min)$");
