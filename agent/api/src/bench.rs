//! The bench of the box to look at: personas and their certificates, the device, the network cards, and the pre-flight checks made for
//! themselves, without a run. Types only; the agent gathers them from the daemons that know them.

use serde::{Deserialize, Serialize};
use tbi_bench::control::personas::SiteCertificate;
use tbi_bench::control::practice_dut::{Behaviour, Counters, Identity};
use tbi_bench::preflight::Check;
use tbi_bench::record::ProofRow;
use utoipa::ToSchema;

use crate::runs::Profile;

/// Asks for the checks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = PreflightOrder)]
pub struct Order {
    /// Profile of the plan that is checked.
    pub profile: Profile,
}

/// Where the checks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PreflightPhase)]
pub enum Phase {
    /// Nobody has asked for them since the agent started.
    #[default]
    Never,
    /// The bench is brought up for the plan.
    Preparing,
    /// The checks are made, all at once.
    Checking,
    /// All five are made.
    Done,
    /// Somebody had them end before.
    Cancelled,
}

impl Phase {
    /// Whether somebody waits for it.
    #[must_use]
    pub fn is_going(self) -> bool {
        matches!(self, Self::Preparing | Self::Checking)
    }
}

/// The pre-flight checks that were made for themselves, and how far they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Examination {
    /// Where they are.
    pub phase: Phase,
    /// Profile of the plan.
    pub profile: Profile,
    /// When they were asked for, RFC 3339; empty before the first time.
    pub started: String,
    /// Milliseconds they took, or have taken so far.
    pub elapsed_ms: u64,
    /// Milliseconds that are left, if they take as long as the last whole ones with this profile; `None` when they are over, or none were made
    /// to whose end anybody waited.
    #[serde(default)]
    pub remaining_ms: Option<u64>,
    /// Those that are made, in the order in which they ended.
    #[schema(value_type = Vec<Object>)]
    pub checks: Vec<Check>,
    /// Whether a run with this plan would begin; `None` while that is not known.
    pub open: Option<bool>,
}

/// One persona.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Persona {
    /// `br-bank`.
    pub id: String,
    /// ISO 3166-1 alpha-2 in lower case.
    pub country: String,
    /// English name of the country.
    pub country_name: String,
    /// What it pretends to be.
    pub kind: String,
    /// Host name.
    pub server_name: String,
    /// IPv4 first.
    pub addresses: Vec<String>,
    /// VLAN between ISP router and persona.
    pub vlan: u16,
    /// Certificate it shows; `None` while the personas do not say.
    #[schema(value_type = Option<Object>)]
    pub certificate: Option<SiteCertificate>,
}

/// All personas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Personas {
    /// By country and id, as in the catalogue.
    pub personas: Vec<Persona>,
    /// CA that signed their certificates; `None` while the personas do not say.
    pub ca: Option<Ca>,
    /// Why no certificates are known; empty when they are.
    pub sentence: String,
}

/// A certificate authority of the bench.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ca {
    /// SHA-256 of its DER, lower-case hex.
    pub sha256: String,
    /// End of its validity, Unix seconds.
    pub not_after: i64,
}

/// What stands between agents and personas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Dut {
    /// The practice DUT of the box.
    Practice {
        /// What it says of itself; boxed words of its own daemon. `None` while it does not answer.
        #[schema(value_type = Option<Object>)]
        identity: Option<Identity>,
        /// Behaviour in force.
        #[schema(value_type = Option<Object>)]
        behaviour: Option<Behaviour>,
        /// Counts since it started.
        #[schema(value_type = Option<Object>)]
        counters: Option<Counters>,
        /// Why it does not say; empty when it does.
        sentence: String,
    },
    /// A device at the trunk.
    Trunk {
        /// Card that the settings name, by its MAC address.
        mac: String,
        /// What is wrong with the trunk and what to do; empty when nothing is.
        sentence: String,
    },
}

/// A network card with its counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// Kernel's name.
    pub name: String,
    /// `management`, `trunk` or `unused`.
    pub role: String,
    /// MAC address.
    pub mac: String,
    /// Whether there is a carrier.
    pub carrier: bool,
    /// Mbit/s, when there is a link that tells.
    pub speed_mbps: Option<u64>,
    /// Received since the card's driver was loaded.
    pub received: Count,
    /// Sent.
    pub sent: Count,
}

/// Counters of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = LinkCount)]
pub struct Count {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets with errors.
    pub errors: u64,
    /// Packets dropped.
    pub dropped: u64,
}

/// Network cards of the box, and what is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Links {
    /// By position on the bus.
    pub links: Vec<Link>,
    /// What is wrong with the management card and what to do; empty when nothing is.
    pub management_sentence: String,
    /// The same of the trunk; `None` when no trunk is chosen.
    pub trunk_sentence: Option<String>,
}

/// What the newest record says about the bench itself: proof on the wire, and which numbers the bench limited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    /// Run whose record it is; `None` while there is no record.
    pub run: Option<String>,
    /// When it ended, RFC 3339.
    pub ended: String,
    /// Whether any claim may be made from it.
    pub valid: bool,
    /// Proof of decryption, by protocol and arm.
    #[schema(value_type = Vec<Object>)]
    pub proof: Vec<ProofRow>,
    /// Numbers in the record.
    pub numbers: u64,
    /// Those that the bench limited: what they are, and the note beside each.
    pub limited: Vec<String>,
}
