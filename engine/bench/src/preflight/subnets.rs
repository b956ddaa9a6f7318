//! Pre-flight check 1: no range of the bench is also the machine's, none is there twice, and personas look public.
//!
//! A range of the bench that is also on the management network makes answers go the wrong way, or nowhere. A persona with a private
//! address is one that devices often exempt from decryption, so what is measured is not the Internet's case.

use ipnet::IpNet;

use super::Finding;
use crate::catalogue::{Catalogue, overlap, special_use};
use crate::topology::Topology;

/// Conflicts named in a sentence at most.
const NAMED: usize = 3;

/// Addresses that belong to the bench.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Whose, for sentences.
    pub owner: String,
    /// Addresses.
    pub prefix: IpNet,
    /// Whether servers live there that must look public.
    pub public: bool,
}

/// Everything that the bench uses.
#[must_use]
pub fn ranges(topology: &Topology, catalogue: &Catalogue) -> Vec<Range> {
    let range = |owner: String, prefix: IpNet, public| Range { owner, prefix: prefix.trunc(), public };
    let countries = catalogue.countries().iter().flat_map(|country| {
        country.prefixes().map(|prefix| range(format!("the personas of country '{}'", country.code()), prefix, true))
    });
    let insides = topology.inside().iter().flat_map(|inside| {
        inside.prefixes().map(|prefix| range(format!("inside network '{}'", inside.name()), prefix, false))
    });
    let edge = topology.edge().link_addresses().map(|link| range("the edge".to_owned(), link.near, false));
    let reference = topology.reference().link_addresses();
    let reference = reference.map(|link| range("the reference path".to_owned(), link.near, false));
    countries.chain(insides).chain(edge).chain(reference).collect()
}

/// What the machine itself has: in its own network namespace, not in those of the bench.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    /// Addresses with the length of their subnet, by interface.
    pub addresses: Vec<(String, IpNet)>,
    /// Destinations of routes that lead to a neighbour, and the interface.
    pub routes: Vec<(String, IpNet)>,
}

/// Judges.
#[must_use]
pub fn judge(ranges: &[Range], machine: &Machine) -> Finding {
    let mut conflicts = Vec::new();
    for (index, second) in ranges.iter().enumerate() {
        for first in ranges.iter().take(index).filter(|first| overlap(first.prefix, second.prefix)) {
            conflicts
                .push(format!("{} of {} overlaps {} of {}", second.prefix, second.owner, first.prefix, first.owner));
        }
        if let Some(what) = special_use(second.prefix).filter(|_| second.public) {
            conflicts.push(format!("{} of {} is {what}", second.prefix, second.owner));
        }
        let clashes = |(_, prefix): &&(String, IpNet)| counts(*prefix) && overlap(*prefix, second.prefix);
        for (interface, address) in machine.addresses.iter().filter(clashes) {
            conflicts.push(format!(
                "{} of {} is also on this machine's interface {interface} ({address})",
                second.prefix, second.owner
            ));
        }
        for (interface, route) in machine.routes.iter().filter(clashes) {
            conflicts.push(format!(
                "{} of {} is also routed by this machine, to {route} out of {interface}",
                second.prefix, second.owner
            ));
        }
    }
    // An address brings a route to its own subnet, which says nothing new.
    conflicts.dedup();
    if conflicts.is_empty() {
        return Finding::passed(format!(
            "{} ranges of the bench share no address with one another or with {}",
            ranges.len(),
            seen(machine)
        ));
    }
    let more = conflicts.len().saturating_sub(NAMED);
    conflicts.truncate(NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Finding::failed(
        conflicts.join("; ") + &more,
        "choose other prefixes in topology.yaml, or another address or route for the management interface, then run again",
    )
}

/// Whether a prefix of the machine says anything: the loopback and link-local ones are everybody's, and a default route, also one that is
/// written as its two halves, gives way to every other.
fn counts(prefix: IpNet) -> bool {
    let local = match prefix.addr() {
        std::net::IpAddr::V4(address) => address.is_loopback() || address.is_link_local() || address.is_multicast(),
        std::net::IpAddr::V6(address) => {
            address.is_loopback() || address.is_unicast_link_local() || address.is_multicast()
        }
    };
    !local && prefix.prefix_len() > 1
}

fn seen(machine: &Machine) -> String {
    let addresses: Vec<String> = machine
        .addresses
        .iter()
        .filter(|(_, prefix)| counts(*prefix))
        .map(|(interface, address)| format!("{interface} {address}"))
        .collect();
    let routes = machine.routes.iter().filter(|(_, prefix)| counts(*prefix)).count();
    if addresses.is_empty() && routes == 0 {
        return "this machine, which has no address of its own in the network namespace of the bench".to_owned();
    }
    format!("the {} addresses ({}) and {routes} routes of this machine", addresses.len(), addresses.join(", "))
}
