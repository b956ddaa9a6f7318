//! What an operator decides about the box. Typed; rendered into the system's files at every boot, so that nothing edited by hand survives
//! and an update cannot be broken by local edits.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::isp::Router;

/// All settings. The default is what a box does before anybody told it anything: DHCP on the first NIC, practice DUT.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Host name (RFC 1123 label); empty: `tbi-` and the first six hex digits of the SHA-256 of the machine id.
    pub host_name: String,
    /// Management network.
    pub management: Management,
    /// NIC towards the device under test; `None`: the box measures through its own practice DUT.
    pub trunk: Option<NicChoice>,
    /// Time servers; empty: those that DHCP names.
    pub ntp_servers: Vec<String>,
    /// Router between device and personas; `own` needs a root file system in its slot (`PUT /v1/isp/root`).
    pub isp_router: Router,
    /// Whether runs need a licence.
    pub licence: Licence,
    /// Where usage is reported to.
    pub usage: Usage,
}

/// Licences.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Licence {
    /// Runs need an installed envelope and spend its units. Without, the developer envelope allows every run.
    pub enforce: bool,
}

/// Usage report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = UsageSettings)]
pub struct Usage {
    /// `https://HOST[:PORT]`, to which `/api/usage/report` is added; `None`: ticks are kept and go nowhere.
    pub url: Option<String>,
    /// Certificate authorities (PEM) that the endpoint's certificate comes from. Needed with `url`: trust comes from here, never from the
    /// system's store.
    pub ca_pem: Option<String>,
}

/// Management network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Management {
    /// Which NIC; `None`: the first that is not the trunk, by bus position.
    pub nic: Option<NicChoice>,
    /// How it gets its addresses.
    pub addressing: Addressing,
}

/// How an interface gets its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "method")]
pub enum Addressing {
    /// DHCPv4, and router advertisements for IPv6.
    #[default]
    Dhcp,
    /// Fixed.
    Static {
        /// Address with prefix length.
        #[schema(value_type = String)]
        address: IpNet,
        /// Default gateway; `None` when there is none.
        #[schema(value_type = Option<String>)]
        gateway: Option<IpAddr>,
        /// Name servers.
        #[schema(value_type = Vec<String>)]
        dns: Vec<IpAddr>,
    },
}

/// A NIC by its permanent MAC address, which survives another slot, another kernel and another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NicChoice {
    /// `52:54:00:12:34:56`, lower case.
    pub mac: String,
}

/// Settings as they are in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// Grows with each change.
    pub version: u64,
    /// When it was made, RFC 3339.
    pub changed: String,
    /// The settings.
    pub settings: Settings,
}

/// Asks for other settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SettingsChange)]
pub struct Change {
    /// Version the change is based on; refused with 409 when there is a newer one.
    pub based_on: u64,
    /// All settings, also those that stay.
    pub settings: Settings,
}

/// The topology file, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopologyText {
    /// `topology.yaml`.
    pub yaml: String,
}
