//! Whether an operator's configuration makes a router that the topology can use.
//!
//! Interface names are the operator's: an address counts wherever it is, as long as a VLAN's address is on that VLAN or on an
//! interface that is not a VLAN's. What is there besides is the operator's business.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::{interfaces, static_routes};
use super::read::{Node, Tree};
use crate::catalogue::Catalogue;
use crate::topology::Topology;

/// An address of the operator's router, and the VLAN it is on.
struct Found {
    address: IpNet,
    vlan: Option<String>,
}

/// A route of the operator's router.
struct Hop {
    prefix: IpNet,
    next_hop: IpAddr,
    distance: u8,
}

/// What the file of a router that stands by itself lacks, a sentence each; empty when it has everything.
#[must_use]
pub fn missing(tree: &Tree, topology: &Topology, catalogue: &Catalogue) -> Vec<String> {
    let mut sentences = missing_addresses(tree, topology, catalogue);
    sentences.extend(missing_routes(tree, topology));
    sentences
}

/// The interfaces' half of [`missing`]. A router in the box's own slot finds its links laid and needs none of it.
#[must_use]
pub fn missing_addresses(tree: &Tree, topology: &Topology, catalogue: &Catalogue) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut found = Vec::new();
    if let Some(section) = tree.find(&["interfaces"]) {
        addresses(section, None, &mut found);
    }
    for interface in interfaces(topology, catalogue) {
        let vlan = interface.vlan.map(|vlan| vlan.to_string());
        for wanted in interface.addresses {
            let mut same = found.iter().filter(|it| it.address == wanted).peekable();
            let place = vlan.as_ref().map_or_else(String::new, |vlan| format!(" on VLAN {vlan}"));
            if same.peek().is_none() {
                sentences
                    .push(format!("no interface has the address {wanted} of '{}'; add it{place}.", interface.name));
            } else if !same.any(|it| it.vlan.is_none() || it.vlan == vlan) {
                sentences.push(format!(
                    "the address {wanted} of '{}' is on another VLAN; move it to where the bench expects it{place}.",
                    interface.name
                ));
            }
        }
    }
    sentences
}

/// The other half of [`missing`], which every router needs: static routes and the footer.
#[must_use]
pub fn missing_routes(tree: &Tree, topology: &Topology) -> Vec<String> {
    let mut sentences = Vec::new();
    let hops = hops(tree);
    let distance_of = |prefix, next_hop| {
        hops.iter().filter(|hop| hop.prefix == prefix && hop.next_hop == next_hop).map(|hop| hop.distance).min()
    };
    for pair in static_routes(topology).chunks_exact(2) {
        let [around, through] = pair else { continue };
        let distances = [around, through].map(|route| distance_of(route.prefix, route.next_hop));
        for (route, distance) in [around, through].into_iter().zip(distances) {
            if distance.is_none() {
                let kind = if route.prefix.addr().is_ipv4() { "route" } else { "route6" };
                sentences.push(format!(
                    "no route to {} over {}; add `set protocols static {kind} {} next-hop {} distance {}`.",
                    route.prefix, route.next_hop, route.prefix, route.next_hop, route.distance
                ));
            }
        }
        if let [Some(first), Some(second)] = distances
            && first >= second
        {
            sentences.push(format!(
                "the route to {} over {} has distance {first}, not less than the {second} over {}; give it a smaller one, so that the reference path wins while it is there.",
                around.prefix, around.next_hop, through.next_hop
            ));
        }
    }
    if tree.version().is_none() {
        sentences.push(
            "the file has no version footer, and the router would take it for an old one; export it with `save`."
                .to_owned(),
        );
    }
    sentences
}

/// As deep as the tree, which was read with a bound.
fn addresses(node: &Node, vlan: Option<&str>, found: &mut Vec<Found>) {
    for child in node.inner() {
        match (child.name.as_str(), &child.value, &child.children) {
            ("address", Some(value), None) => {
                if let Ok(address) = value.parse() {
                    found.push(Found { address, vlan: vlan.map(str::to_owned) });
                }
            }
            // A disabled interface has no addresses, whatever is written in it.
            (_, _, Some(_)) if child.named("disable").next().is_some() => {}
            ("vif" | "vif-s" | "vif-c", Some(number), Some(_)) => addresses(child, Some(number), found),
            (_, _, Some(_)) => addresses(child, vlan, found),
            _ => {}
        }
    }
}

fn hops(tree: &Tree) -> Vec<Hop> {
    let Some(section) = tree.find(&["protocols", "static"]) else { return Vec::new() };
    let mut hops = Vec::new();
    for route in section.inner().filter(|node| node.name == "route" || node.name == "route6") {
        let Some(prefix) = route.value.as_deref().and_then(|text| text.parse::<IpNet>().ok()) else { continue };
        for hop in route.named("next-hop").filter(|hop| hop.named("disable").next().is_none()) {
            let Some(next_hop) = hop.value.as_deref().and_then(|text| text.parse().ok()) else { continue };
            // Without the word it is 1; a word that is no distance makes no usable route.
            if let Ok(distance) = hop.leaf("distance").unwrap_or("1").parse() {
                hops.push(Hop { prefix, next_hop, distance });
            }
        }
    }
    hops
}
