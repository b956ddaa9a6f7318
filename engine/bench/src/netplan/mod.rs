//! The network plan: topology and catalogue in, namespaces, links, addresses, routes and rules out (REQUIREMENTS B2, B5).
//!
//! ```text
//!  agents ──vlan20, vlan30──▶ dut ──vlan2001──▶ isp ──vlan101 … vlan120──▶ personas
//!     └──────────────reference (only in the reference plan)──▶┘
//! ```
//!
//! With a trunk NIC ([`Site::External`]) the DUT is a device of its own at the trunk's other end:
//!
//! ```text
//!  agents ──vlan20, vlan30──▶ trunk ══▶ DUT ══▶ trunk ──vlan2001──▶ isp ──vlan101 … vlan120──▶ personas
//! ```
//!
//! A plan is a value: building one and comparing two needs no kernel. Whoever applies it makes each link a veth pair and each uplink a
//! VLAN sub-interface of the trunk. Invariants: in [`Path::ThroughDut`] nothing connects agents and ISP router but the DUT;
//! in [`Path::Reference`] nothing routes through the DUT; nothing of a plan is in the machine's own namespace but the bare trunk; the
//! same input gives the same plan byte for byte.

mod build;
mod diff;
mod fabric;
mod firewall;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use diff::{Action, diff};
pub use fabric::{Fabric, IspRouter, MacAddress, MacAddressError, Site, Uplink};
pub use firewall::{RELEASE_TRUNK, trunk as trunk_firewall};

use crate::catalogue::{AddressFamily, Catalogue, VlanId};
use crate::topology::Topology;

/// Which way traffic takes from agents to personas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Through the device under test.
    ThroughDut,
    /// Around it, to learn what the bench itself can do (RFC 9411 §5).
    Reference,
}

/// A network namespace of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// Load agents.
    Agents,
    /// The practice device under test.
    Dut,
    /// The ISP router.
    Isp,
    /// The hundred web servers.
    Personas,
}

impl Namespace {
    /// All of them, from inside to outside.
    pub const ALL: [Self; 4] = [Self::Agents, Self::Dut, Self::Isp, Self::Personas];

    /// Name as in `ip netns`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Dut => "dut",
            Self::Isp => "isp",
            Self::Personas => "personas",
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Name of a network interface, 15 bytes at most as the kernel has it (`IFNAMSIZ`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Interface(String);

impl Interface {
    /// End of the link that is, or stands for, this VLAN.
    #[must_use]
    pub fn of_vlan(vlan: VlanId) -> Self {
        Self(format!("vlan{vlan}"))
    }

    /// End of the reference link.
    #[must_use]
    pub fn reference() -> Self {
        Self("reference".to_owned())
    }

    /// A name read from the kernel, which has checked it.
    #[must_use]
    pub fn observed(name: String) -> Self {
        Self(name)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One end of a link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct End {
    /// Where.
    pub namespace: Namespace,
    /// Called what.
    pub interface: Interface,
}

/// A cable with two ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Link {
    /// The VLAN it stands for; the reference link has none.
    pub vlan: Option<VlanId>,
    /// End nearer to the agents.
    pub near: End,
    /// End nearer to the personas.
    pub far: End,
}

/// An address of an interface with the length of its on-link subnet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Address {
    /// Of which interface.
    pub end: End,
    /// Address and subnet length.
    pub address: IpNet,
}

/// A routing table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Table(u32);

impl Table {
    /// Looked up when no rule says otherwise (`RT_TABLE_MAIN`).
    pub const MAIN: Self = Self(254);
    /// Looked up first; holds what is delivered to this host (`RT_TABLE_LOCAL`).
    pub const LOCAL: Self = Self(255);

    /// For traffic that must leave through this VLAN. Above 10,000, away from the kernel's tables and those of a DUT program.
    #[must_use]
    pub fn of_vlan(vlan: VlanId) -> Self {
        Self(10_000 + u32::from(vlan.number()))
    }

    /// A number read from the kernel.
    #[must_use]
    pub const fn observed(number: u32) -> Self {
        Self(number)
    }

    /// The kernel's number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// To a neighbour.
    Gateway {
        /// Its address.
        gateway: IpAddr,
        /// Out of this interface.
        interface: Interface,
    },
    /// To this host: every address of the destination is ours without being on an interface (AnyIP).
    Local,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Route {
    /// Where.
    pub namespace: Namespace,
    /// In which table.
    pub table: Table,
    /// For what.
    pub destination: IpNet,
    /// To whom.
    pub via: Via,
}

impl Route {
    /// The interface it hangs on; `None` when it leads to this host.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        match &self.via {
            Via::Local => None,
            Via::Gateway { interface, .. } => Some(End { namespace: self.namespace, interface: interface.clone() }),
        }
    }
}

/// A policy rule: packets from `source` use `table`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Rule {
    /// Where.
    pub namespace: Namespace,
    /// Source prefix.
    pub source: IpNet,
    /// Table to look up.
    pub table: Table,
}

impl Rule {
    /// All rules of a plan have one priority, between the kernel's local table (0) and main (32766); their sources are disjoint.
    pub const PRIORITY: u32 = 1000;

    /// Family the rule belongs to.
    #[must_use]
    pub fn family(&self) -> AddressFamily {
        if self.source.addr().is_ipv4() { AddressFamily::Ipv4 } else { AddressFamily::Ipv6 }
    }
}

/// Whether the bench can do without a kernel setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Without it the plan does not do what it says.
    Required,
    /// Older kernels have it for the whole machine only; then the machine's own value stands.
    WherePossible,
}

/// A kernel setting of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Sysctl {
    /// Where.
    pub namespace: Namespace,
    /// Name with dots, as `sysctl` prints it.
    pub key: &'static str,
    /// Value; several numbers are separated by one space.
    pub value: &'static str,
    /// Whether it must take effect.
    pub need: Need,
}

/// What a kernel is asked to look like, or was found to look like.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct NetworkState {
    /// Namespaces.
    pub namespaces: BTreeSet<Namespace>,
    /// The NIC towards the device under test: up and bare in the machine's own namespace, which neither hears nor speaks on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trunk: Option<MacAddress>,
    /// Links.
    pub links: BTreeSet<Link>,
    /// VLAN sub-interfaces of the trunk.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub uplinks: BTreeSet<Uplink>,
    /// Addresses on ends of links and uplinks.
    pub addresses: BTreeSet<Address>,
    /// Routes other than those the kernel makes for addresses.
    pub routes: BTreeSet<Route>,
    /// Policy rules other than the kernel's three.
    pub rules: BTreeSet<Rule>,
    /// Kernel settings.
    pub sysctls: BTreeSet<Sysctl>,
    /// nftables scripts, each replacing the whole table `inet tbi`; a namespace without one has no such table.
    pub firewalls: BTreeMap<Namespace, String>,
}

impl NetworkState {
    /// What of this state can be had while the trunk NIC is missing: everything but the uplinks and what hangs on them.
    #[must_use]
    pub fn without_trunk(&self) -> Self {
        let lost: BTreeSet<&End> = self.uplinks.iter().map(|uplink| &uplink.end).collect();
        let stays = |end: &End| !lost.contains(end);
        let mut state = Self { trunk: None, uplinks: BTreeSet::new(), ..self.clone() };
        state.addresses.retain(|address| stays(&address.end));
        state.routes.retain(|route| route.end().is_none_or(|end| stays(&end)));
        state
    }
}

/// The plan for one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkPlan {
    /// Which way traffic goes.
    pub path: Path,
    /// What it stands on.
    pub fabric: Fabric,
    /// The practice DUT's interfaces towards the agents; none of an external DUT are ours.
    pub inside_interfaces: Vec<Interface>,
    /// The practice DUT's interfaces towards the ISP router.
    pub outside_interfaces: Vec<Interface>,
    /// Agents may bind to every address in these prefixes; answers come back.
    pub sources: Vec<IpNet>,
    /// What the kernel has to look like.
    pub state: NetworkState,
    /// Routes the ISP router has to show by itself. Whoever lays the path waits for them; they are nobody's to add or remove.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub expected: BTreeSet<Route>,
}

impl NetworkPlan {
    /// The lab's plan ([`Fabric::LAB`]) for a topology, a catalogue and a way through them.
    #[must_use]
    pub fn new(topology: &Topology, catalogue: &Catalogue, path: Path) -> Self {
        Self::on(Fabric::LAB, topology, catalogue, path)
    }

    /// The plan on a given fabric. Cannot fail: topology and catalogue were checked against each other when parsed.
    #[must_use]
    pub fn on(fabric: Fabric, topology: &Topology, catalogue: &Catalogue, path: Path) -> Self {
        build::plan(fabric, topology, catalogue, path)
    }

    /// Source prefixes of one family.
    #[must_use]
    pub fn sources_of(&self, family: AddressFamily) -> Vec<IpNet> {
        let wanted = family == AddressFamily::Ipv4;
        self.sources.iter().copied().filter(|net| net.addr().is_ipv4() == wanted).collect()
    }
}
