//! The ISP router's own configuration (REQUIREMENTS B4): what it has to know, written for FRR ([`frr`]) and for VyOS ([`vyos`]), and
//! an operator's VyOS configuration read and judged.
//!
//! The router is connected to every country, to the DUT's edge and, while a reference path is laid, to the agents. What it cannot know
//! from its own links is where the agents are: each of their prefixes has two static routes, over the reference link with distance
//! [`REFERENCE_DISTANCE`] and over the edge with distance [`EDGE_DISTANCE`]. So a change of path is a link that comes or goes, and no
//! configuration changes with it (docs/decisions/0008). Pure text in and out; nothing here speaks to a router.

pub mod frr;
#[cfg(test)]
mod tests;
pub mod vyos;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::catalogue::{Catalogue, VlanId};
use crate::netplan::Interface;
use crate::topology::{LinkAddresses, Topology};

/// The router's host name.
pub const HOST_NAME: &str = "isp";
/// Administrative distance of the way around the DUT: wins whenever the link is there.
pub const REFERENCE_DISTANCE: u8 = 1;
/// Administrative distance of the way through the DUT.
pub const EDGE_DISTANCE: u8 = 10;

/// One interface of the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterInterface {
    /// For people: `edge`, `reference`, or the country's code.
    pub name: String,
    /// VLAN it is, or stands for; the reference link has none.
    pub vlan: Option<VlanId>,
    /// IPv4 and IPv6, with the length of the link's subnet.
    pub addresses: [IpNet; 2],
}

/// One static route of the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticRoute {
    /// For what.
    pub prefix: IpNet,
    /// To whom.
    pub next_hop: IpAddr,
    /// Out of which interface of the namespace `isp`.
    pub interface: Interface,
    /// Administrative distance; the smallest of those whose interface is there wins.
    pub distance: u8,
}

/// Every interface the router has: the edge first, then the reference link, then the countries.
#[must_use]
pub fn interfaces(topology: &Topology, catalogue: &Catalogue) -> Vec<RouterInterface> {
    let far = |ends: [LinkAddresses; 2]| ends.map(|ends| ends.far);
    let edge = topology.edge();
    let edge =
        RouterInterface { name: "edge".to_owned(), vlan: Some(edge.vlan()), addresses: far(edge.link_addresses()) };
    let reference = RouterInterface {
        name: "reference".to_owned(),
        vlan: None,
        addresses: far(topology.reference().link_addresses()),
    };
    let countries = catalogue.countries().iter().map(|country| RouterInterface {
        name: country.code().to_owned(),
        vlan: Some(country.vlan()),
        addresses: country
            .gateways()
            .map(|(prefix, gateway)| IpNet::new(gateway, prefix.prefix_len()).unwrap_or(prefix)),
    });
    [edge, reference].into_iter().chain(countries).collect()
}

/// Every static route the router needs, grouped by prefix, the preferred next hop first.
#[must_use]
pub fn static_routes(topology: &Topology) -> Vec<StaticRoute> {
    let around = topology.reference().link_addresses().map(|ends| ends.near.addr());
    let through = topology.edge().link_addresses().map(|ends| ends.near.addr());
    let edge = Interface::of_vlan(topology.edge().vlan());
    let mut routes = Vec::new();
    for inside in topology.inside() {
        for ((prefix, around), through) in inside.prefixes().into_iter().zip(around).zip(through) {
            let route = |next_hop, interface: &Interface, distance| StaticRoute {
                prefix,
                next_hop,
                interface: interface.clone(),
                distance,
            };
            routes.push(route(around, &Interface::reference(), REFERENCE_DISTANCE));
            routes.push(route(through, &edge, EDGE_DISTANCE));
        }
    }
    routes
}
