//! FRR's configuration files, whole and ready to be put into `/etc/frr`.
//!
//! The interfaces and their addresses are the network plan's (netlink), not FRR's: the files hold routes only. Only zebra and staticd
//! run, with mgmtd where the release has it; none listens on TCP.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::{HOST_NAME, static_routes};
use crate::topology::Topology;

/// The three files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrrFiles {
    /// `frr.conf`.
    pub frr_conf: String,
    /// `daemons`: which daemons the start script runs, and how.
    pub daemons: String,
    /// `vtysh.conf`.
    pub vtysh_conf: String,
}

impl FrrFiles {
    /// For a topology.
    #[must_use]
    pub fn new(topology: &Topology) -> Self {
        Self { frr_conf: frr_conf(topology), daemons: DAEMONS.to_owned(), vtysh_conf: VTYSH.to_owned() }
    }
}

fn frr_conf(topology: &Topology) -> String {
    let mut text = format!(
        "! Made from the topology; changed there, not here.
frr defaults traditional
hostname {HOST_NAME}
log syslog informational
service integrated-vtysh-config
!
! The agents: around the DUT while the reference link is there, else through it.
"
    );
    for route in static_routes(topology) {
        let command = match route.prefix {
            IpNet::V4(_) => "ip route",
            IpNet::V6(_) => "ipv6 route",
        };
        let _ = writeln!(text, "{command} {} {} {} {}", route.prefix, route.next_hop, route.interface, route.distance);
    }
    text.push_str("!\nend\n");
    text
}

/// `-P 0`: no TCP terminal; vtysh speaks over unix sockets. `-s`: 8 MiB of netlink buffer are plenty for a few dozen routes (the
/// packaged 90 MB are for full tables).
const DAEMONS: &str = "\
# zebra, staticd, mgmtd and watchfrr always run; nothing else is needed.
bgpd=no
ospfd=no
ospf6d=no
ripd=no
ripngd=no
isisd=no
pimd=no
pim6d=no
ldpd=no
nhrpd=no
eigrpd=no
babeld=no
sharpd=no
pbrd=no
bfdd=no
fabricd=no
vrrpd=no
pathd=no
vtysh_enable=yes
zebra_options=\"-P 0 -s 8388608\"
mgmtd_options=\"-P 0\"
staticd_options=\"-P 0\"
";

/// One file for all daemons, and the container's root needs no password towards its own router.
const VTYSH: &str = "service integrated-vtysh-config\nusername root nopassword\n";
