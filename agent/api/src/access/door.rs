//! The certificate that the front door shows to browsers and programs, as the door tells the agent and whoever asks. Nothing in it is secret:
//! everybody who connects sees the same.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Digest;

/// What the door shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DoorCertificate {
    /// SHA-256 of the leaf (DER): what a browser shows as the fingerprint of the page's certificate.
    #[schema(value_type = String)]
    pub leaf_sha256: Digest,
    /// SHA-256 of the box's own CA (DER), which `/ca.pem` gives. It signed the leaf only when that is `own`.
    #[schema(value_type = String)]
    pub ca_sha256: Digest,
    /// Host names and addresses in the leaf.
    pub names: Vec<String>,
    /// When the leaf ends.
    #[schema(value_type = String, format = DateTime)]
    pub not_after: Timestamp,
    /// Whose it is.
    pub origin: Origin,
    /// Why a certificate that was brought is not shown, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Where a certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Made here, under the box's own CA.
    Own,
    /// Brought by the operator.
    Brought,
}

impl Origin {
    /// As it is written everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Brought => "brought",
        }
    }
}
