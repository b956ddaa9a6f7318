//! What can go wrong when a plan meets a kernel.

use std::io;

use tbi_bench::netplan::MacAddress;

use super::place::Place;

/// A step of the network plan failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    /// A namespace could not be made, entered or removed.
    #[error("cannot {doing} network namespace '{place}' ({source}); run inside the lab's private namespace or as root")]
    Namespace { place: Place, doing: &'static str, source: io::Error },
    /// The kernel refused a link, address, route or rule.
    #[error(
        "cannot {doing} {object} in network namespace '{place}' ({reason}); apply the network plan again, or start with fresh namespaces"
    )]
    Netlink { place: Place, doing: &'static str, object: String, reason: String },
    /// An action names a namespace that is not there.
    #[error("network namespace '{place}' does not exist; apply the network plan first")]
    Absent { place: Place },
    /// An action names an interface that is not there.
    #[error("interface '{interface}' does not exist in network namespace '{place}'; apply the network plan again")]
    NoInterface { place: Place, interface: String },
    /// A kernel setting was refused.
    #[error(
        "cannot set {key} to '{value}' in network namespace '{place}' ({source}); use a Linux kernel of 5.10 or newer with IPv4 and IPv6"
    )]
    Sysctl { place: Place, key: &'static str, value: &'static str, source: io::Error },
    /// nftables is not installed.
    #[error("the program nft is not installed; install the Debian package nftables")]
    NoNft,
    /// nftables refused the rules.
    #[error(
        "nft refused the rules of network namespace '{place}' ({reason}); check that the kernel has nf_tables with the inet family"
    )]
    Firewall { place: Place, reason: String },
    /// A program could not be started.
    #[error(
        "cannot start {program} in network namespace '{place}' ({source}); check that the file exists and may be executed"
    )]
    Spawn { place: Place, program: String, source: io::Error },
    /// The kernel makes no VLAN sub-interfaces.
    #[error(
        "cannot make {interface} on the trunk in network namespace '{place}' ({reason}); load the kernel module 8021q, or measure through the practice DUT"
    )]
    NoVlan { place: Place, interface: String, reason: String },
    /// The chosen trunk carries the way to the operator.
    #[error(
        "the NIC {interface} ({trunk}) that is to be the trunk carries the machine's default route; choose another NIC as trunk, or another for management"
    )]
    TrunkIsManagement { trunk: MacAddress, interface: String },
    /// The trunk went away between looking and acting.
    #[error("the trunk NIC {trunk} went away while the plan was applied; apply the network plan again")]
    TrunkGone { trunk: MacAddress },
}
