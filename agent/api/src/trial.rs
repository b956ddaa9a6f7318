//! A management network on trial: applied at once, kept only when somebody who still reaches the box says so, and taken back by itself
//! otherwise, also when the agent is killed or the machine restarts meanwhile.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::settings::Management;

/// Seconds after which a trial that nobody confirmed is taken back, unless asked for otherwise.
pub const DEFAULT_SECONDS: u32 = 60;

/// Tries a management network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SettingsTrialOrder)]
pub struct Order {
    /// Version of the settings it is based on; refused with 409 when there is a newer one.
    pub based_on: u64,
    /// The network.
    pub management: Management,
    /// Seconds until it is taken back, 10 to 600; absent: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 10, maximum = 600)]
    pub seconds: Option<u32>,
}

/// How trials stand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = SettingsTrials)]
pub struct Trials {
    /// The one that is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Trial>,
    /// How the last one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Ended>,
}

/// A trial that is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SettingsTrial)]
pub struct Trial {
    /// Version of the settings on trial.
    pub version: u64,
    /// The network on trial.
    pub management: Management,
    /// The network that comes back.
    pub before: Management,
    /// When it began, RFC 3339.
    pub begun: String,
    /// When it is taken back, RFC 3339.
    pub until: String,
    /// Seconds left.
    pub seconds_left: u64,
    /// Who began it.
    pub by: String,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SettingsTrialEnd)]
pub struct Ended {
    /// What came of it.
    pub outcome: Outcome,
    /// When, RFC 3339.
    pub when: String,
    /// One sentence.
    pub sentence: String,
}

/// See [`Ended`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SettingsTrialOutcome)]
pub enum Outcome {
    /// Kept.
    Confirmed,
    /// Taken back by somebody.
    Withdrawn,
    /// Taken back because nobody confirmed it in time.
    TimedOut,
    /// Taken back because the agent or the machine started again meanwhile.
    Restarted,
}
