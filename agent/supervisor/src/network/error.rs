//! What can go wrong when a plan meets a kernel.

use std::io;

use tbi_bench::netplan::Namespace;

/// A step of the network plan failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    /// A namespace could not be made, entered or removed.
    #[error(
        "cannot {doing} network namespace '{namespace}' ({source}); run inside the lab's private namespace or as root"
    )]
    Namespace { namespace: Namespace, doing: &'static str, source: io::Error },
    /// The kernel refused a link, address, route or rule.
    #[error(
        "cannot {doing} {object} in network namespace '{namespace}' ({reason}); apply the network plan again, or start with fresh namespaces"
    )]
    Netlink { namespace: Namespace, doing: &'static str, object: String, reason: String },
    /// An action names a namespace that is not there.
    #[error("network namespace '{namespace}' does not exist; apply the network plan first")]
    Absent { namespace: Namespace },
    /// An action names an interface that is not there.
    #[error("interface '{interface}' does not exist in network namespace '{namespace}'; apply the network plan again")]
    NoInterface { namespace: Namespace, interface: String },
    /// A kernel setting was refused.
    #[error(
        "cannot set {key} to '{value}' in network namespace '{namespace}' ({source}); use a Linux kernel of 5.10 or newer with IPv4 and IPv6"
    )]
    Sysctl { namespace: Namespace, key: &'static str, value: &'static str, source: io::Error },
    /// nftables is not installed.
    #[error("the program nft is not installed; install the Debian package nftables")]
    NoNft,
    /// nftables refused the rules.
    #[error(
        "nft refused the rules of network namespace '{namespace}' ({reason}); check that the kernel has nf_tables with the inet family"
    )]
    Firewall { namespace: Namespace, reason: String },
    /// A program could not be started.
    #[error(
        "cannot start {program} in network namespace '{namespace}' ({source}); check that the file exists and may be executed"
    )]
    Spawn { namespace: Namespace, program: String, source: io::Error },
}
