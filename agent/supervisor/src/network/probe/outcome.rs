//! What a round of probes saw, as it is left in a file for the agent. Fields of a later release are passed over.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProbeOutcome {
    /// When the round ended, RFC 3339.
    pub(crate) when: String,
    /// The trunk that was asked on, so that what is known of another card is not taken for it.
    pub(crate) trunk: String,
    /// How long it took.
    pub(crate) took_ms: u64,
    pub(crate) vlans: Vec<VlanSeen>,
    /// Why nothing was asked; empty when it was.
    pub(crate) sentence: String,
}

/// One VLAN of the trunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VlanSeen {
    pub(crate) vlan: u16,
    pub(crate) interface: String,
    /// Frames with this tag that came in while it was looked at.
    pub(crate) frames: u64,
    /// Those among them that the card itself is named as sender of.
    pub(crate) echoes: u64,
    /// Why questions could not be sent; empty when they could.
    pub(crate) trouble: String,
    pub(crate) addresses: Vec<Probed>,
}

/// One address and who says that it is theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probed {
    pub(crate) address: IpAddr,
    pub(crate) whose: Whose,
    /// Questions that were sent.
    pub(crate) probes: u32,
    /// Hardware addresses of those who answered.
    pub(crate) answers: Vec<String>,
}

/// Whose an address is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Whose {
    /// The box's: nobody may answer.
    Ours,
    /// The device's: one must answer.
    Device,
}
