//! What a supporter is given: how the box is, what it is, what it is told to be and what it did last, in one file and without secrets.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Name of the format, with its version.
pub const FORMAT: &str = "tlsstress-support-1";
/// What stands in place of a secret.
pub const REMOVED: &str = "[removed]";

/// See the module. The parts are those of the paths they are named after; a part that could not be read is a sentence in `missing`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bundle {
    /// [`FORMAT`].
    pub format: String,
    /// When it was made.
    #[schema(value_type = String)]
    pub made: Timestamp,
    /// `GET /v1/status`, without the claim code.
    pub status: Value,
    /// `GET /v1/health`.
    pub health: Value,
    /// `GET /v1/hardware`.
    pub hardware: Value,
    /// `GET /v1/identity`: what is public of it.
    pub identity: Value,
    /// `GET /v1/capabilities`.
    pub capabilities: Value,
    /// `GET /v1/settings`, without secrets.
    pub settings: Value,
    /// `GET /v1/licences`.
    pub licences: Value,
    /// `GET /v1/usage`.
    pub usage: Value,
    /// The last runs, newest first, each with its outline where it has a record.
    pub runs: Vec<Value>,
    /// `GET /v1/audit/verification`.
    pub audit: Value,
    /// What could not be read, and why.
    pub missing: Vec<String>,
}
