//! The configuration a VyOS router needs to be the bench's Internet provider.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::super::{HOST_NAME, interfaces, static_routes};
use super::read::{Node, Tree, block, leaf};
use crate::catalogue::Catalogue;
use crate::topology::Topology;

/// Component versions of VyOS 1.4 for the parts written here; without them it would run its migrations on the file.
const VERSION: &str = "interfaces@32:quagga@11:system@27";

/// What the router calls its interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceNames {
    /// The one that carries the VLANs of edge and countries.
    pub trunk: String,
    /// The one towards the agents that exists while a reference path is laid.
    pub reference: String,
}

impl Default for InterfaceNames {
    fn default() -> Self {
        Self { trunk: "eth0".to_owned(), reference: "eth1".to_owned() }
    }
}

/// The file for a router that stands by itself, as a tree; its `Display` is the text.
#[must_use]
pub fn write(topology: &Topology, catalogue: &Catalogue, names: &InterfaceNames) -> Tree {
    let mut trunk = block("ethernet", Some(names.trunk.clone()));
    let mut reference = block("ethernet", Some(names.reference.clone()));
    for interface in interfaces(topology, catalogue) {
        let mut lines: Vec<Node> = interface.addresses.iter().map(|address| leaf("address", address)).collect();
        lines.push(leaf("description", &interface.name));
        match interface.vlan {
            Some(vlan) => {
                let mut vif = block("vif", Some(vlan.to_string()));
                vif.children = Some(lines);
                trunk.children.get_or_insert_default().push(vif);
            }
            None => reference.children = Some(lines),
        }
    }
    let mut sections = vec![with(block("interfaces", None), [trunk, reference])];
    sections.extend(without_interfaces(topology));
    Tree::new(sections, VERSION)
}

/// The file for a router in the box's own slot. Links and addresses of its namespace are the network plan's, laid before the router starts
/// and changed with the path under its feet; a router that was told of them would take them down or rename them.
#[must_use]
pub fn write_for_the_slot(topology: &Topology) -> Tree {
    Tree::new(without_interfaces(topology).into(), VERSION)
}

fn without_interfaces(topology: &Topology) -> [Node; 2] {
    [
        with(block("protocols", None), [with(block("static", None), routes(topology))]),
        with(block("system", None), [leaf("host-name", HOST_NAME)]),
    ]
}

fn routes(topology: &Topology) -> Vec<Node> {
    let mut by_prefix: BTreeMap<IpNet, Node> = BTreeMap::new();
    for route in static_routes(topology) {
        let kind = if route.prefix.addr().is_ipv4() { "route" } else { "route6" };
        let hop = block("next-hop", Some(route.next_hop.to_string()));
        let hop = with(hop, [leaf("distance", route.distance)]);
        let of_prefix = by_prefix.entry(route.prefix);
        let node = of_prefix.or_insert_with(|| block(kind, Some(route.prefix.to_string())));
        node.children.get_or_insert_default().push(hop);
    }
    by_prefix.into_values().collect()
}

fn with(mut parent: Node, children: impl IntoIterator<Item = Node>) -> Node {
    parent.children.get_or_insert_default().extend(children);
    parent
}
