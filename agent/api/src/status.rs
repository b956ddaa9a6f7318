//! What a person in front of the box wants to know first.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::DoorCertificate;
use crate::health::State;
use crate::runs::Run;

/// Everything the status screen shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of the image, as in `os-release` (`IMAGE_VERSION`).
    pub version: String,
    /// Commit the programs were built from.
    pub commit: Option<String>,
    /// `release` or `debug`.
    pub variant: String,
    /// What was booted.
    pub slot: Slot,
    /// Host name.
    pub host_name: String,
    /// Addresses on the management network with their prefix lengths (`10.0.2.15/24`); empty without a network.
    pub addresses: Vec<String>,
    /// Management interface, when there is one.
    pub management_interface: Option<String>,
    /// SHA-256 of the certificate of the box's key (DER), lower-case hex in pairs separated by colons. It is not the one a browser sees.
    pub certificate_sha256: String,
    /// The certificate a browser sees; absent until the front door has said which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door_certificate: Option<DoorCertificate>,
    /// The whole box.
    pub health: State,
    /// Every sentence of a part that is not healthy, worst first.
    pub problems: Vec<String>,
    /// Why the box started the last time.
    pub last_boot: BootReason,
    /// Seconds since the kernel started.
    pub uptime_seconds: u64,
    /// Wall clock, RFC 3339, and whether it is synchronised.
    pub time: String,
    /// Whether the clock is synchronised.
    pub time_synchronised: bool,
    /// What the first administrator is made with at the front door; only while there is no account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_code: Option<String>,
    /// The run under way, or the last one.
    pub run: Option<Run>,
}

/// A/B slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Slot {
    /// Label of the root partition that was booted (`tbi_0.1.0`), or `unknown`.
    pub label: String,
    /// Root hash of the verified root file system, lower-case hex.
    pub root_hash: Option<String>,
    /// Name of the boot entry, where the loader tells.
    pub entry: Option<String>,
    /// Whether the firmware enforced Secure Boot.
    pub secure_boot: bool,
}

/// Why the box started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BootReason {
    /// What kind.
    pub kind: BootKind,
    /// One sentence for a person.
    pub sentence: String,
}

/// See [`BootReason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BootKind {
    /// First start of this state partition.
    First,
    /// Somebody or the agent asked for it.
    Ordered,
    /// Ended cleanly, but nobody told the agent why (power button, `systemctl reboot`).
    Clean,
    /// Power was cut, or the machine crashed or was reset by its watchdog.
    Unclean,
}
