//! The audit chain: what was done, by whom, from where, sealed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// Counts from 1, without a gap.
    pub seq: u64,
    /// When, by the box's clock then.
    #[schema(value_type = String)]
    pub when: Timestamp,
    /// Account, or `local`.
    pub actor: String,
    /// Role the actor had; `none` without one.
    pub role: String,
    /// Address, or `local`.
    pub source: String,
    /// What was done, for example `settings.change`.
    pub action: String,
    /// What it was done to.
    pub target: String,
    /// `done`, `refused` or `failed`.
    pub outcome: String,
    /// More, as JSON text, exactly as it was sealed: usually with before and after.
    pub detail: String,
    /// Ties the entry to a request.
    pub correlation: String,
    /// SHA-256 of this entry, which holds that of the one before.
    pub hash: String,
}

/// Which entries a list is to have, newest first; what is absent leaves nothing out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Only entries with a smaller number: the next page is before the last one's.
    #[param(minimum = 1)]
    pub before: Option<u64>,
    /// Only of this actor.
    pub actor: Option<String>,
    /// Only actions that begin like this.
    pub action: Option<String>,
    /// Only with this correlation id.
    pub correlation: Option<String>,
    /// How many at most, 1 to 1000; 100 when absent.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
}

/// What looking through the whole chain showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// Whether every entry follows from the one before and every signature is good.
    pub intact: bool,
    /// Entries looked at.
    pub entries: u64,
    /// What is wrong; empty when nothing is.
    pub sentence: String,
}
