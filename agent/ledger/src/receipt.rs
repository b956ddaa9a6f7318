//! The receipt of a run: what it was allowed, what it burned, and which audit entry seals it; signed by the node key. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bytes::{Bytes, Encoding, Hash};
use crate::sign::{SignError, Signer, is_signed_by, key_id};

/// A receipt; it goes into the run record as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The run.
    pub run: String,
    /// SHA-256 of the plan.
    pub plan_sha256: Hash,
    /// Id of the envelope, or `developer`.
    pub licence: String,
    /// Units that were spent.
    pub tsu: u64,
    /// Serials of the notes that were burned.
    pub burned: Vec<String>,
    /// Serial of the note of change.
    pub change: Option<String>,
    /// What was unspent right after it.
    pub balance_after: u64,
    /// Number of the audit entry.
    pub audit_seq: u64,
    /// Hash of that entry.
    pub sealed_hash: Hash,
    /// The caller's clock.
    pub when: Timestamp,
    /// Name of the key that signs.
    pub key_id: String,
    /// Over all of this.
    pub signature: Bytes,
}

/// A receipt is not one of this key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Another key.
    #[error(
        "the receipt of run {run} is signed by key {found}, not by {expected}; compare it with the key of the appliance that ran it"
    )]
    OtherKey {
        /// The run.
        run: String,
        /// Key it names.
        found: String,
        /// Key it was compared with.
        expected: String,
    },
    /// Edited.
    #[error(
        "the receipt of run {run} was edited: its signature does not hold; take the record from the appliance again"
    )]
    Forged {
        /// The run.
        run: String,
    },
}

impl Receipt {
    fn message(&self) -> Vec<u8> {
        Encoding::of("tbi-receipt-v1")
            .text(&self.run)
            .bytes(&self.plan_sha256.0)
            .text(&self.licence)
            .number(self.tsu)
            .list(self.burned.iter().map(String::as_str))
            .list(self.change.as_deref().as_slice().iter().copied())
            .number(self.balance_after)
            .number(self.audit_seq)
            .bytes(&self.sealed_hash.0)
            .text(&self.when.to_string())
            .text(&self.key_id)
            .done()
    }

    pub(crate) fn sign(mut self, signer: &dyn Signer) -> Result<Self, SignError> {
        self.key_id = signer.key_id();
        self.signature = Bytes(signer.sign(&self.message())?);
        Ok(self)
    }

    /// Proves the receipt with the node's public key (SubjectPublicKeyInfo).
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn verify(&self, public_key: &[u8]) -> Result<(), ReceiptError> {
        let expected = key_id(public_key);
        if self.key_id != expected {
            return Err(ReceiptError::OtherKey { run: self.run.clone(), found: self.key_id.clone(), expected });
        }
        if is_signed_by(public_key, &self.message(), &self.signature.0) {
            return Ok(());
        }
        Err(ReceiptError::Forged { run: self.run.clone() })
    }
}
