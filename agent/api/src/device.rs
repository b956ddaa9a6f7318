//! The device under test as the operator describes it: what it is, where it answers, with which credentials, with which authority it signs.
//! Credentials go in and never come out again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Hidden;
use crate::node::KeyStorage;

/// What the device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DeviceKind)]
pub enum Kind {
    /// The gateway that is part of the box.
    #[default]
    Practice,
    /// Fortinet FortiGate.
    Fortigate,
    /// Cisco Firepower Threat Defense with its local manager.
    FtdFdm,
    /// Cisco Firepower Threat Defense with a management center.
    FtdFmc,
    /// Palo Alto Networks.
    PanOs,
    /// Check Point.
    CheckPoint,
    /// Anything else that decrypts.
    Other,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Practice, Self::Fortigate, Self::FtdFdm, Self::FtdFmc, Self::PanOs, Self::CheckPoint, Self::Other];

    /// The word of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Practice => "practice",
            Self::Fortigate => "fortigate",
            Self::FtdFdm => "ftd_fdm",
            Self::FtdFmc => "ftd_fmc",
            Self::PanOs => "pan_os",
            Self::CheckPoint => "check_point",
            Self::Other => "other",
        }
    }

    /// By the word of the API.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// The device as it was described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DeviceUnderTest)]
pub struct Device {
    /// What it is.
    pub kind: Kind,
    /// Host name or address of its management, with a port where that is not 443; absent for the practice device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Account there; absent where a token suffices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Where the password or token is kept; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<KeyStorage>,
    /// When it was described, RFC 3339; absent when nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// What is documented of its kind.
    pub capabilities: Vec<Fact>,
}

/// One row of the capability table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DeviceFact)]
pub struct Fact {
    /// Stable name: `switching`, `h3`, `apply`, `sessions`, `identity`, `counters`.
    pub name: String,
    /// What it can do, one sentence.
    pub value: String,
    /// Whether this release does it, or only knows that it is possible.
    pub standing: Standing,
    /// Where that is from.
    pub evidence: String,
}

/// See [`Fact`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DeviceFactStanding)]
pub enum Standing {
    /// This release does it.
    Available,
    /// The vendor or others say so; this box has not measured it and does not use it.
    Documented,
    /// Nobody said so in a source that was found.
    Unknown,
    /// It is not possible.
    Absent,
}

/// Describes the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeviceChange)]
pub struct Change {
    /// What it is.
    pub kind: Kind,
    /// Host name or address of its management, with a port where that is not 443. Needed unless it is `practice` or `other`.
    #[serde(default)]
    pub address: Option<String>,
    /// Account there.
    #[serde(default)]
    pub account: Option<String>,
    /// Password or token; absent: the one of before stays. It is never given out again.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub secret: Option<Hidden>,
    /// Forgets the password or token of before.
    #[serde(default)]
    pub forget_secret: bool,
}

/// A certificate with which the device signs what it decrypts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DeviceAuthority)]
pub struct Authority {
    /// SHA-256 of the certificate (DER), 64 hex digits.
    pub sha256: String,
    /// Whom it names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Valid from, RFC 3339.
    pub not_before: String,
    /// Valid until, RFC 3339.
    pub not_after: String,
    /// When it was brought, RFC 3339.
    pub added: String,
    /// The certificate.
    pub pem: String,
}

/// Brings certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeviceAuthorities)]
pub struct Bundle {
    /// One or several CA certificates in PEM, and nothing else.
    pub pem: String,
}
