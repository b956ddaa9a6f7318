//! What allowed the run: the receipt of the appliance's ledger, in plain words and numbers, so that a record can be read without it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The receipt under which a run was made. Hashes are SHA-256 in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Authorization {
    /// Id of the run.
    pub run: String,
    /// SHA-256 of the plan.
    pub plan_sha256: String,
    /// Licence under which it was made; `developer` where none is enforced.
    pub licence: String,
    /// TSU spent.
    pub tsu: u64,
    /// Serials of the notes that were burned for it.
    pub burned: Vec<String>,
    /// Serial of the note that was given as change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// TSU left.
    pub balance_after: u64,
    /// Number of its entry in the audit chain.
    pub audit_seq: u64,
    /// Hash with which that entry seals the chain.
    pub sealed_hash: String,
    /// When, RFC 3339, UTC.
    pub when: String,
    /// Key with which the receipt is signed.
    pub key_id: String,
    /// Signature over the receipt, as the ledger writes it.
    pub signature: String,
}
