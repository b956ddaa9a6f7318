//! Usage: each finished block is a tick, numbered once, and reported to a configured endpoint.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How the meter stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Number of the last tick.
    pub last: u64,
    /// Number of the last tick that the endpoint has.
    pub acknowledged: u64,
    /// Where reports go; `None`: nowhere, ticks are kept.
    pub url: Option<String>,
    /// What is wrong with the meter; empty when nothing is. A broken meter never breaks a run.
    pub sentence: String,
}

/// A tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tick {
    /// Grows by one, from 1. The endpoint takes each number of a box once.
    pub client_seq: u64,
    /// When the unit was finished.
    #[schema(value_type = String)]
    pub when: Timestamp,
    /// Kind of unit: `run`.
    pub kind: String,
    /// The run.
    pub run: String,
    /// Names the unit within the run.
    pub unit: String,
    /// How much: blocks measured.
    pub quantity: u64,
}

/// What goes to the endpoint: `POST <url>/api/usage/report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The box (`Identity::node_id`).
    pub node_id: String,
    /// Ticks, in the order of their numbers.
    pub ticks: Vec<Tick>,
}

/// What the endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// It has every tick of this box up to and with this number.
    pub through: u64,
}

/// How many ticks to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// At most, 1 to 1000; 500 when absent.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
}
