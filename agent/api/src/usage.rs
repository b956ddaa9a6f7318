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
    /// Ticks whose lines were damaged on this box, and of which the endpoint does not know yet; they are reported as [`LOST`].
    #[serde(default)]
    pub lost: u64,
    /// Damaged lines that were ever set aside, in `spool/damaged.log` of the state directory.
    #[serde(default)]
    pub set_aside: u64,
}

/// Kind of a tick that was damaged on the box before it could be reported. It takes its number, so that numbers have no gap, and counts
/// nothing. An endpoint that has another tick of this number keeps that one; one that has this keeps this.
pub const LOST: &str = "lost";

/// A tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tick {
    /// Grows by one, from 1. The endpoint takes each number of a box once.
    pub client_seq: u64,
    /// When the unit was finished.
    #[schema(value_type = String)]
    pub when: Timestamp,
    /// Kind of unit: `run`, or [`LOST`] (`lost`) with an empty run and unit and the quantity 0.
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
    /// Ticks, in the order of their numbers, without a gap.
    pub ticks: Vec<Tick>,
}

/// What the endpoint answers to a report that it took, wholly or from its beginning on.
///
/// The rule on `through`: the endpoint has stored every tick of this box up to and with this number, and the number lies within the report,
/// from its first to its last, also when the endpoint had more before. The box forgets what is acknowledged, so it believes nothing else:
///
/// * the last number of the report: all of it is acknowledged;
/// * less, but not less than the first: the ticks through it are acknowledged, the others are sent again with the next report, at once;
/// * less than the first: nothing was taken, so the report ends as refused, and everything is sent again the next time;
/// * less than was acknowledged before: the endpoint lost what this box has forgotten; refused, until the endpoint is restored;
/// * more than the last: the endpoint speaks of ticks that it was not sent; refused, nothing is acknowledged, and all is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// It has every tick of this box up to and with this number, as far as the report went.
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

/// A report was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = UsageReportStarted)]
pub struct Started {
    /// Where its outcome is seen.
    pub look_at: String,
    /// The same in words.
    pub sentence: String,
}
