//! Who a box is and what it can do. A capability is not a permission.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Identity of a node, made on its first boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Identity {
    /// First 32 hex digits of the SHA-256 of the public key (SubjectPublicKeyInfo, DER).
    pub node_id: String,
    /// Self-signed certificate of the key, PEM.
    pub certificate_pem: String,
    /// SHA-256 of the certificate (DER), lower-case hex in pairs separated by colons.
    pub certificate_sha256: String,
    /// Where the private key is.
    pub key_storage: KeyStorage,
}

/// Where a private key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyStorage {
    /// Sealed to the box's TPM 2.0.
    SealedToTpm,
    /// On the state partition, readable to the agent only: not bound to hardware.
    StatePartition,
    /// In memory: the state partition cannot be written, or the TPM does not answer. Another key with the next start.
    ThisStartOnly,
}

/// What this box can be used for, with the reason where it cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Capabilities {
    /// The list, by name.
    pub capabilities: Vec<Capability>,
}

/// One capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Capability {
    /// Stable name: `measure.practice_dut`, `measure.external_dut`, `protocol.h3`, `protocol.h2`, `protocol.h1`, `isp.frr`, `isp.own`,
    /// `identity.tpm`, `boot.verified`, `boot.secure`.
    pub name: String,
    /// Whether it is there.
    pub available: bool,
    /// Why not, or a remark.
    pub sentence: String,
}
