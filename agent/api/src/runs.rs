//! Runs: ordered, watched, stopped, read.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::preflight::Bypass;

/// Asks for a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    /// Profile that gives what `plan` leaves out.
    pub profile: Profile,
    /// A plan in the words of a plan file; everything left out takes the profile's default.
    #[schema(value_type = Option<Object>)]
    pub plan: Option<serde_json::Value>,
    /// Goes on although a pre-flight check fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preflight_bypass: Option<Bypass>,
}

/// How long a run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Two pairs, half a minute; every cost is indicative.
    Quick,
    /// Six pairs, minutes.
    #[default]
    Short,
    /// RFC 9411 phases, hours.
    Full,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// `20260131T235959Z`, also the folder's name.
    pub id: String,
    /// The plan's name.
    pub name: String,
    /// Where it is.
    pub state: RunState,
    /// Start, RFC 3339.
    pub started: String,
    /// End, RFC 3339.
    pub ended: Option<String>,
    /// Where it is within itself, while it runs.
    pub progress: Option<Progress>,
    /// One sentence: what it found, or why it did not.
    pub sentence: String,
}

/// See [`Run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Brings up what it needs.
    Preparing,
    /// Measures.
    Running,
    /// Ended by itself: measured, every threshold holds.
    Passed,
    /// Ended by itself: measured, a threshold is broken.
    Failed,
    /// Nothing could be measured, or it is not valid; the sentence says why.
    NotMeasured,
    /// Was stopped, or a program died under it; what was measured before is kept.
    Interrupted,
}

impl RunState {
    /// Whether it is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Preparing | Self::Running)
    }
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Blocks done.
    pub blocks_done: u32,
    /// Blocks in all.
    pub blocks: u32,
    /// Seconds since its start.
    pub elapsed_seconds: u64,
    /// Seconds it will still take, as far as one can tell.
    pub remaining_seconds: u64,
    /// What the last finished block showed, in a few words.
    pub last_block: String,
}
