//! The topology file: which boxes, which fabric, which device (REQUIREMENTS B3), and the prefixes that are not the personas'.
//!
//! [`Topology::parse`] takes the catalogue along, so a `Topology` never shares an address with a persona's country, nor do its own
//! prefixes with one another. It decides nothing about interfaces or routes; that is [`crate::netplan`].

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::catalogue::{Catalogue, VlanId, overlap};

/// A topology file is about 2 kB; what is much larger is not one.
const MAX_TEXT: usize = 64 * 1024;
/// Inside networks a topology may name: their VLANs are made by hand on a switch.
const MAX_INSIDE: usize = 8;

/// How many boxes make up the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentNodes {
    /// Everything on one box.
    Single,
    /// Agents on one box, personas on another.
    Dual,
    /// Agents, personas and control on a box each.
    Tri,
    /// Several boxes of a kind.
    Multi,
}

impl fmt::Display for DeploymentNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::Dual => "dual",
            Self::Tri => "tri",
            Self::Multi => "multi",
        })
    }
}

/// What connects box and device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum L2Fabric {
    /// Nexus switches.
    Nexus,
    /// Cables, or nothing but this box.
    None,
}

impl fmt::Display for L2Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nexus => "nexus",
            Self::None => "none",
        })
    }
}

/// Which device is under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DutType {
    /// The built-in decrypting gateway.
    Practice,
    /// Fortinet FortiGate.
    FortiGate,
    /// Cisco Firepower Threat Defense.
    CiscoFtd,
    /// Palo Alto Networks.
    PaloAlto,
}

impl fmt::Display for DutType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Practice => "practice",
            Self::FortiGate => "forti_gate",
            Self::CiscoFtd => "cisco_ftd",
            Self::PaloAlto => "palo_alto",
        })
    }
}

/// The two ends of a point-to-point link, each with the length of the link's subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkAddresses {
    /// End nearer to the agents.
    pub near: IpNet,
    /// End nearer to the personas.
    pub far: IpNet,
}

/// One VLAN of load agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inside {
    name: String,
    vlan: VlanId,
    ipv4: Ipv4Net,
    ipv6: Ipv6Net,
}

impl Inside {
    /// What runs there, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// VLAN between agents and DUT.
    #[must_use]
    pub fn vlan(&self) -> VlanId {
        self.vlan
    }

    /// The whole /16 and /48: what the DUT routes towards the agents.
    #[must_use]
    pub fn prefixes(&self) -> [IpNet; 2] {
        [self.ipv4.into(), self.ipv6.into()]
    }

    /// Agents (near) and DUT (far, the agents' gateway), IPv4 and IPv6. The link's subnet is the first /24 of the /16 and the first /64
    /// of the /48: smaller than the prefix, so that the DUT routes the pools to one next hop instead of resolving 65,000 addresses.
    #[must_use]
    pub fn link_addresses(&self) -> [LinkAddresses; 2] {
        let ipv4 = |host: u32| IpNet::new_assert(Ipv4Addr::from(u32::from(self.ipv4.network()) | host).into(), 24);
        let ipv6 = |host: u128| IpNet::new_assert(Ipv6Addr::from(u128::from(self.ipv6.network()) | host).into(), 64);
        [LinkAddresses { near: ipv4(2), far: ipv4(1) }, LinkAddresses { near: ipv6(2), far: ipv6(1) }]
    }

    /// Every address here may be a source of load: the upper half of the /16, the second /64 of the /48.
    #[must_use]
    pub fn sources(&self) -> [IpNet; 2] {
        let upper_half = Ipv4Addr::from(u32::from(self.ipv4.network()) | 1 << 15);
        let second = Ipv6Addr::from(u128::from(self.ipv6.network()) | 1 << 64);
        [IpNet::new_assert(upper_half.into(), 17), IpNet::new_assert(second.into(), 64)]
    }

    fn owner(&self) -> String {
        format!("inside network '{}'", self.name)
    }
}

/// Between DUT and ISP router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    vlan: VlanId,
    ipv4: EdgeEnds,
    ipv6: EdgeEnds,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EdgeEnds {
    prefix: IpNet,
    dut: IpAddr,
    isp: IpAddr,
}

impl Edge {
    /// VLAN of the outside edge.
    #[must_use]
    pub fn vlan(&self) -> VlanId {
        self.vlan
    }

    /// DUT (near) and ISP router (far, the DUT's default route), IPv4 and IPv6.
    #[must_use]
    pub fn link_addresses(&self) -> [LinkAddresses; 2] {
        [&self.ipv4, &self.ipv6].map(|ends| link_addresses(ends.prefix, ends.dut, ends.isp))
    }
}

/// The way around the DUT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferencePath {
    ipv4: ReferenceEnds,
    ipv6: ReferenceEnds,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceEnds {
    prefix: IpNet,
    agents: IpAddr,
    isp: IpAddr,
}

impl ReferencePath {
    /// Agents (near) and ISP router (far), IPv4 and IPv6.
    #[must_use]
    pub fn link_addresses(&self) -> [LinkAddresses; 2] {
        [&self.ipv4, &self.ipv6].map(|ends| link_addresses(ends.prefix, ends.agents, ends.isp))
    }
}

/// The ends were checked to be of the prefix's family, so its length fits them.
fn link_addresses(prefix: IpNet, near: IpAddr, far: IpAddr) -> LinkAddresses {
    let with_length = |address| IpNet::new(address, prefix.prefix_len()).unwrap_or(prefix);
    LinkAddresses { near: with_length(near), far: with_length(far) }
}

/// Where everything but the personas is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topology {
    deployment_nodes: DeploymentNodes,
    l2_fabric: L2Fabric,
    dut_type: DutType,
    inside: Vec<Inside>,
    edge: Edge,
    reference: ReferencePath,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopologyFile {
    deployment_nodes: DeploymentNodes,
    l2_fabric: L2Fabric,
    dut_type: DutType,
    inside: Vec<Inside>,
    edge: Edge,
    reference: ReferencePath,
}

/// A fault in `topology.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence of each variant explains its fields")]
pub enum TopologyError {
    #[error("topology.yaml is larger than {MAX_TEXT} bytes; check that it is the right file")]
    TooLarge,
    #[error("topology.yaml cannot be read: {detail}; correct that place and try again")]
    Yaml { detail: String },
    #[error("topology.yaml names {found} inside networks; name between 1 and {MAX_INSIDE}")]
    InsideCount { found: usize },
    #[error("prefix {prefix} of {owner} is not a /{wanted} network; write a /{wanted} without host bits")]
    PrefixShape { owner: String, prefix: IpNet, wanted: u8 },
    #[error("prefix {prefix} of {owner} has bits set in its host part; write {network} instead")]
    HostBits { owner: String, prefix: IpNet, network: IpNet },
    #[error("prefix {prefix} of {owner} is of the other address family; write IPv4 under ipv4 and IPv6 under ipv6")]
    Family { owner: String, prefix: IpNet },
    #[error(
        "the two ends {first} and {second} of {owner} are not two different hosts of {prefix}; choose two host addresses in it"
    )]
    Ends { owner: String, first: IpAddr, second: IpAddr, prefix: IpNet },
    #[error("{first} and {second} both use VLAN {vlan}; give each its own")]
    DuplicateVlan { first: String, second: String, vlan: VlanId },
    #[error(
        "prefix {second_prefix} of {second} overlaps {first_prefix} of {first}; choose prefixes that share no address"
    )]
    Overlap { first: String, first_prefix: IpNet, second: String, second_prefix: IpNet },
    #[error(
        "{axis} '{value}' cannot be built on one machine; set deployment_nodes: single, l2_fabric: none and dut_type: practice, or use an appliance"
    )]
    NotInTheLab { axis: &'static str, value: String },
}

impl Topology {
    /// Reads a topology file that goes with `catalogue`.
    ///
    /// # Errors
    /// The first fault found, with the thing's name and the remedy.
    pub fn parse(text: &str, catalogue: &Catalogue) -> Result<Self, TopologyError> {
        if text.len() > MAX_TEXT {
            return Err(TopologyError::TooLarge);
        }
        let file: TopologyFile =
            serde_yaml_ng::from_str(text).map_err(|error| TopologyError::Yaml { detail: error.to_string() })?;
        let TopologyFile { deployment_nodes, l2_fabric, dut_type, inside, edge, reference } = file;
        let topology = Self { deployment_nodes, l2_fabric, dut_type, inside, edge, reference };
        topology.check_shapes()?;
        topology.check_overlaps(catalogue)?;
        Ok(topology)
    }

    /// The topology that ships (`topology.yaml`), for the catalogue that ships.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the text is compiled in and a test of this crate parses the same text")]
    pub fn builtin() -> Self {
        Self::parse(BUILTIN, &Catalogue::builtin()).expect("the topology compiled in is sound")
    }

    /// Whether one machine can be this topology.
    ///
    /// # Errors
    /// Names the axis that needs an appliance.
    pub fn check_lab(&self) -> Result<(), TopologyError> {
        let (axis, value) = if self.deployment_nodes != DeploymentNodes::Single {
            ("deployment_nodes", self.deployment_nodes.to_string())
        } else if self.l2_fabric != L2Fabric::None {
            ("l2_fabric", self.l2_fabric.to_string())
        } else if self.dut_type != DutType::Practice {
            ("dut_type", self.dut_type.to_string())
        } else {
            return Ok(());
        };
        Err(TopologyError::NotInTheLab { axis, value })
    }

    /// Number of boxes.
    #[must_use]
    pub fn deployment_nodes(&self) -> DeploymentNodes {
        self.deployment_nodes
    }

    /// Switch fabric.
    #[must_use]
    pub fn l2_fabric(&self) -> L2Fabric {
        self.l2_fabric
    }

    /// Device under test.
    #[must_use]
    pub fn dut_type(&self) -> DutType {
        self.dut_type
    }

    /// Networks of load agents.
    #[must_use]
    pub fn inside(&self) -> &[Inside] {
        &self.inside
    }

    /// Between DUT and ISP router.
    #[must_use]
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// Around the DUT.
    #[must_use]
    pub fn reference(&self) -> &ReferencePath {
        &self.reference
    }

    fn check_shapes(&self) -> Result<(), TopologyError> {
        if self.inside.is_empty() || self.inside.len() > MAX_INSIDE {
            return Err(TopologyError::InsideCount { found: self.inside.len() });
        }
        for inside in &self.inside {
            for (prefix, wanted) in inside.prefixes().into_iter().zip([16, 48]) {
                if prefix.prefix_len() != wanted || prefix.addr() != prefix.network() {
                    return Err(TopologyError::PrefixShape { owner: inside.owner(), prefix, wanted });
                }
            }
        }
        let edge = [&self.edge.ipv4, &self.edge.ipv6].map(|ends| (EDGE, ends.prefix, ends.dut, ends.isp));
        let reference =
            [&self.reference.ipv4, &self.reference.ipv6].map(|ends| (REFERENCE, ends.prefix, ends.agents, ends.isp));
        for pair in [edge, reference] {
            for ((owner, prefix, first, second), ipv4) in pair.into_iter().zip([true, false]) {
                check_ends(owner, prefix, first, second)?;
                if prefix.addr().is_ipv4() != ipv4 {
                    return Err(TopologyError::Family { owner: owner.to_owned(), prefix });
                }
            }
        }
        Ok(())
    }

    fn check_overlaps(&self, catalogue: &Catalogue) -> Result<(), TopologyError> {
        let countries = catalogue.countries().iter();
        let countries = countries.map(|it| (format!("country '{}'", it.code()), Some(it.vlan()), it.prefixes()));
        let insides = self.inside.iter().map(|inside| (inside.owner(), Some(inside.vlan), inside.prefixes()));
        let edge = (EDGE.to_owned(), Some(self.edge.vlan), [self.edge.ipv4.prefix, self.edge.ipv6.prefix]);
        let reference = (REFERENCE.to_owned(), None, [self.reference.ipv4.prefix, self.reference.ipv6.prefix]);
        let mut seen: Vec<(String, Option<VlanId>, [IpNet; 2])> = Vec::new();
        for (second, vlan, prefixes) in countries.chain(insides).chain([edge, reference]) {
            for (first, first_vlan, first_prefixes) in &seen {
                if let Some(vlan) = vlan.filter(|vlan| Some(*vlan) == *first_vlan) {
                    return Err(TopologyError::DuplicateVlan { first: first.clone(), second, vlan });
                }
                for (first_prefix, second_prefix) in first_prefixes.iter().copied().zip(prefixes) {
                    if overlap(first_prefix, second_prefix) {
                        return Err(TopologyError::Overlap {
                            first: first.clone(),
                            first_prefix,
                            second,
                            second_prefix,
                        });
                    }
                }
            }
            seen.push((second, vlan, prefixes));
        }
        Ok(())
    }
}

const EDGE: &str = "the edge";
const REFERENCE: &str = "the reference path";

fn check_ends(owner: &str, prefix: IpNet, first: IpAddr, second: IpAddr) -> Result<(), TopologyError> {
    let owner = owner.to_owned();
    if prefix.addr() != prefix.network() {
        return Err(TopologyError::HostBits { owner, prefix, network: prefix.trunc() });
    }
    let is_host = |address: IpAddr| {
        prefix.contains(&address)
            && address != prefix.network()
            && !(address.is_ipv4() && address == prefix.broadcast())
    };
    if first == second || !is_host(first) || !is_host(second) {
        return Err(TopologyError::Ends { owner, first, second, prefix });
    }
    Ok(())
}

const BUILTIN: &str = include_str!("../../topology.yaml");
