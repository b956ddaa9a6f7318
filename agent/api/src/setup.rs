//! The first-boot wizard as its steps are spoken of, by pages and console alike. The steps only say what was done and what comes next; what
//! each of them sets has operations of its own (settings, their trial, the device, its certificates), which exist without the wizard, too.

mod client;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asking the trunk takes seven seconds at most, and starting the programs that ask some more.
pub const PROBE_WITHIN: Duration = Duration::from_secs(30);

/// How far the setup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Setup {
    /// All steps, in their order.
    pub steps: Vec<Step>,
    /// Name of the first step that is neither done nor skipped; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// When it was finished, RFC 3339; a finished setup takes no steps any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SetupStep)]
pub struct Step {
    /// Stable name: `account`, `language`, `name`, `management`, `time`, `certificate`, `topology`, `trunk`, `device`, `authorities`, `preflight`,
    /// `summary`. Later releases have more.
    pub name: String,
    /// How it is.
    pub state: StepState,
    /// When it came to be so, RFC 3339; absent for what was never said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Who said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why it counts as done although what it stands for is not as it should be; absent where nobody had to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it may be skipped.
    pub optional: bool,
    /// What it is for, one sentence.
    pub sentence: String,
}

/// See [`Step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Still to be done.
    Todo,
    /// Done; it may be done again until the setup is finished.
    Done,
    /// Left out on purpose.
    Skipped,
}

/// Says that a step is done, or left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// `done` or `skipped`; `todo` takes it back.
    pub state: StepState,
    /// For `certificate` only: the fingerprint that was seen (SHA-256 of the certificate, 64 hex digits, colons and case do not matter).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_sha256: Option<String>,
    /// For `preflight` only: why the setup goes on although the checks did not pass, on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 10, max_length = 500)]
    pub reason: Option<String>,
}

impl Mark {
    /// The state and nothing else.
    #[must_use]
    pub fn of(state: StepState) -> Self {
        Self { state, certificate_sha256: None, reason: None }
    }
}

/// Language and time zone of the box: what pages and console use where a person has not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Locale {
    /// BCP 47: `en` or `pt-BR`.
    pub language: String,
    /// IANA name of the zone, such as `America/Sao_Paulo`.
    pub zone: String,
}

impl Default for Locale {
    fn default() -> Self {
        Self { language: "en".to_owned(), zone: "UTC".to_owned() }
    }
}

/// What a look at one thing found, in the manner of the pre-flight checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SetupFinding)]
pub struct Finding {
    /// Stable name of what was looked at.
    pub name: String,
    /// How it is.
    pub verdict: FindingVerdict,
    /// What was seen.
    pub evidence: String,
    /// What to do; empty where nothing is to be done.
    pub remedy: String,
}

/// See [`Finding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingVerdict {
    /// As it should be.
    Passed,
    /// Works, and somebody should look at it.
    Warning,
    /// Not as it should be.
    Failed,
    /// Not looked at; the evidence says why.
    NotChecked,
}

/// The clock, and what it is set by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimeReport {
    /// The clock now, RFC 3339.
    pub now: String,
    /// Time servers of the settings.
    pub servers: Vec<String>,
    /// Whether a time server has set the clock.
    pub synchronised: bool,
    /// System clock less the machine's own clock (RTC), seconds; absent where there is none.
    pub rtc_skew_seconds: Option<i64>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// The card towards the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrunkCheck {
    /// The card that the settings choose, by its permanent MAC address; absent when the box measures through its practice device.
    pub mac: Option<String>,
    /// What the kernel calls it now, when it is there.
    pub interface: Option<String>,
    /// What was found.
    pub findings: Vec<Finding>,
}
