//! The pre-flight gate as a run order speaks of it. What the checks found is in the run record, in the words of the record.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Measures although a pre-flight check fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bypass {
    /// Why, in one line of plain text; printed on the report's cover and kept in the audit chain.
    #[schema(min_length = 10, max_length = 500)]
    pub reason: String,
}
