//! How the box was in the last thirty days: sampled once a minute, given in steps. What was not sampled, because the box was off or the agent
//! down, is absent and never zero.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Seconds between two samples.
pub const EVERY: u64 = 60;
/// Days that are kept.
pub const DAYS: u64 = 30;
/// Steps in an answer at most.
pub const MOST_STEPS: usize = 1500;

/// Which time, in what steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    /// From then on, RFC 3339; a day before `to` when absent.
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Up to then, RFC 3339; now when absent.
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// Seconds of a step; absent: as many as make at most 1500 steps, and a minute at least.
    #[param(minimum = 60, maximum = 2592000)]
    pub step: Option<u64>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// Begin of the first step, Unix seconds.
    pub from: i64,
    /// Seconds of a step.
    pub step: u64,
    /// One for each step, also where nothing was sampled.
    pub steps: Vec<Step>,
    /// Why nothing is kept at present; empty when samples are kept.
    pub sentence: String,
}

/// What was sampled in one step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = HistoryStep)]
pub struct Step {
    /// Samples in it; none is a gap.
    pub samples: u32,
    /// Minutes of it in which a run was under way.
    pub run_minutes: u32,
    /// Processor time used, percent of all processors.
    pub cpu_percent: Option<Spread>,
    /// Memory in use, bytes.
    pub memory_bytes: Option<Spread>,
    /// The warmest sensor, degrees Celsius.
    pub temperature_celsius: Option<Spread>,
    /// Received on the management card, bit/s.
    pub management_rx: Option<Spread>,
    /// Sent on the management card, bit/s.
    pub management_tx: Option<Spread>,
    /// Received on the trunk, bit/s.
    pub trunk_rx: Option<Spread>,
    /// Sent on the trunk, bit/s.
    pub trunk_tx: Option<Spread>,
}

/// Of the samples of a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Largest.
    pub max: f64,
}
