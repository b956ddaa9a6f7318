//! The topology file: which boxes, which fabric, which device (REQUIREMENTS B3), and the prefixes that are not the personas'.
//!
//! [`Topology::parse`] takes the catalogue along, so a `Topology` never shares an address with a persona's country, nor do its own
//! prefixes with one another. It decides nothing about interfaces or routes; that is [`crate::netplan`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net, Ipv6Subnets};
use serde::{Deserialize, Serialize};

use crate::catalogue::{Catalogue, VlanId, overlap};

/// A topology file is about 2 kB; what is much larger is not one.
const MAX_TEXT: usize = 64 * 1024;
/// Inside prefixes a topology may name: their VLANs and interfaces are made by hand on a switch.
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

/// What connects box and device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum L2Fabric {
    /// Nexus switches.
    Nexus,
    /// Cables, or nothing but this box.
    None,
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

    /// Address of the DUT (the agents' gateway) and of the agents' end, each with the length of the link's own subnet: the first /24 of
    /// the /16 and the first /64 of the /48. The link is smaller than the prefix so that the DUT routes the pools to one next hop
    /// instead of resolving each of 65,000 addresses.
    #[must_use]
    pub fn link_addresses(&self) -> [LinkAddresses; 2] {
        let ipv4 = |host: u32| IpNet::new_assert(Ipv4Addr::from(u32::from(self.ipv4.network()) | host).into(), 24);
        let ipv6 = |host: u128| IpNet::new_assert(Ipv6Addr::from(u128::from(self.ipv6.network()) | host).into(), 64);
        [LinkAddresses { dut: ipv4(1), other: ipv4(2) }, LinkAddresses { dut: ipv6(1), other: ipv6(2) }]
    }

    /// Every address here may be a source of load: the upper half of the /16, the second /64 of the /48.
    #[must_use]
    pub fn sources(&self) -> [IpNet; 2] {
        let upper = Ipv4Addr::from(u32::from(self.ipv4.network()) | 0x8000);
        let second = Ipv6Subnets::new(self.ipv6.network(), self.ipv6.broadcast(), 64).nth(1).unwrap_or(self.ipv6);
        [IpNet::new_assert(upper.into(), 17), second.into()]
    }
}

/// The two ends of a link of the DUT or around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkAddresses {
    /// End of the DUT; on the reference path, which goes around it, end of the agents.
    pub dut: IpNet,
    /// The other end.
    pub other: IpNet,
}

/// Between DUT and ISP router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    vlan: VlanId,
    ipv4: EdgeEnds<Ipv4Net, Ipv4Addr>,
    ipv6: EdgeEnds<Ipv6Net, Ipv6Addr>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EdgeEnds<N, A> {
    prefix: N,
    dut: A,
    isp: A,
}

impl Edge {
    /// VLAN of the outside edge.
    #[must_use]
    pub fn vlan(&self) -> VlanId {
        self.vlan
    }

    /// IPv4 and IPv6; `other` is the ISP router, the DUT's default route.
    #[must_use]
    pub fn link_addresses(&self) -> [LinkAddresses; 2] {
        [
            ends(self.ipv4.prefix.into(), self.ipv4.dut.into(), self.ipv4.isp.into()),
            ends(self.ipv6.prefix.into(), self.ipv6.dut.into(), self.ipv6.isp.into()),
        ]
    }
}

/// The way around the DUT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferencePath {
    ipv4: ReferenceEnds<Ipv4Net, Ipv4Addr>,
    ipv6: ReferenceEnds<Ipv6Net, Ipv6Addr>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceEnds<N, A> {
    prefix: N,
    agents: A,
    isp: A,
}

impl ReferencePath {
    /// IPv4 and IPv6; `other` is the ISP router.
    #[must_use]
    pub fn link_addresses(&self) -> [LinkAddresses; 2] {
        [
            ends(self.ipv4.prefix.into(), self.ipv4.agents.into(), self.ipv4.isp.into()),
            ends(self.ipv6.prefix.into(), self.ipv6.agents.into(), self.ipv6.isp.into()),
        ]
    }
}

fn ends(prefix: IpNet, dut: IpAddr, other: IpAddr) -> LinkAddresses {
    let with_length = |address| IpNet::new_assert(address, prefix.prefix_len());
    LinkAddresses { dut: with_length(dut), other: with_length(other) }
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
    #[error("the two ends {first} and {second} of {owner} are not two different hosts of {prefix}; choose two host addresses in it")]
    Ends { owner: String, first: IpAddr, second: IpAddr, prefix: IpNet },
    #[error("{first} and {second} both use VLAN {vlan}; give each its own")]
    DuplicateVlan { first: String, second: String, vlan: VlanId },
    #[error("prefix {second_prefix} of {second} overlaps {first_prefix} of {first}; choose prefixes that share no address")]
    Overlap { first: String, first_prefix: IpNet, second: String, second_prefix: IpNet },
    #[error("{axis} '{value}' cannot be built on one machine; set deployment_nodes: single, l2_fabric: none and dut_type: practice, or use an appliance")]
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
        let file: TopologyFile = serde_yaml_ng::from_str(text).map_err(|error| TopologyError::Yaml { detail: error.to_string() })?;
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
        let word = |value: &dyn erased::Debug| value.word();
        if self.deployment_nodes != DeploymentNodes::Single {
            return Err(TopologyError::NotInTheLab { axis: "deployment_nodes", value: word(&self.deployment_nodes) });
        }
        if self.l2_fabric != L2Fabric::None {
            return Err(TopologyError::NotInTheLab { axis: "l2_fabric", value: word(&self.l2_fabric) });
        }
        if self.dut_type != DutType::Practice {
            return Err(TopologyError::NotInTheLab { axis: "dut_type", value: word(&self.dut_type) });
        }
        Ok(())
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
}
