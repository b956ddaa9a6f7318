//! What has to be done to get from one state to another, in an order that never opens a way that neither state has.
//!
//! First everything that goes, from rules down to namespaces; then everything that comes, namespaces first, settings and firewall
//! before the first link.

use super::{Address, End, Link, MacAddress, Namespace, NetworkState, Route, Rule, Sysctl, Uplink};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant says what it does")]
pub enum Action {
    RemoveRule(Rule),
    RemoveRoute(Route),
    RemoveAddress(Address),
    /// Takes addresses and routes of both ends along.
    RemoveLink(Link),
    /// Takes its addresses and routes along.
    RemoveUplink(Uplink),
    /// Gives the NIC back to the machine.
    ReleaseTrunk(MacAddress),
    RemoveFirewall(Namespace),
    /// Takes everything in it along.
    RemoveNamespace(Namespace),
    AddNamespace(Namespace),
    SetSysctl(Sysctl),
    SetFirewall(Namespace, String),
    AddLink(Link),
    /// Shuts the NIC towards the machine, strips it of addresses and starts it.
    SetTrunk(MacAddress),
    AddUplink(Uplink),
    AddAddress(Address),
    AddRoute(Route),
    AddRule(Rule),
}

/// Steps from `from` to `to`; none when they are the same. Settings that `to` does not mention stay as they are.
#[must_use]
pub fn diff(from: &NetworkState, to: &NetworkState) -> Vec<Action> {
    let gone = |namespace: Namespace| from.namespaces.contains(&namespace) && !to.namespaces.contains(&namespace);
    let lost_links: Vec<&Link> = from.links.difference(&to.links).collect();
    // What hangs on a removed link disappears with it, so it is not removed, and is added again if `to` has it on a new link.
    let lost_uplinks: Vec<&Uplink> = from.uplinks.difference(&to.uplinks).collect();
    let lost_end = |end: &End| {
        gone(end.namespace)
            || lost_links.iter().any(|link| link.near == *end || link.far == *end)
            || lost_uplinks.iter().any(|uplink| uplink.end == *end)
    };
    let lost_route = |route: &Route| route.end().map_or_else(|| gone(route.namespace), |end| lost_end(&end));

    let mut actions = Vec::new();
    let rules = from.rules.difference(&to.rules).filter(|rule| !gone(rule.namespace));
    actions.extend(rules.cloned().map(Action::RemoveRule));
    let routes = from.routes.difference(&to.routes).filter(|route| !lost_route(route));
    actions.extend(routes.cloned().map(Action::RemoveRoute));
    let addresses = from.addresses.difference(&to.addresses).filter(|address| !lost_end(&address.end));
    actions.extend(addresses.cloned().map(Action::RemoveAddress));
    // A namespace that goes takes its links along, but in its own time; an end in one that stays must not linger.
    let links = lost_links.iter().filter(|link| !(gone(link.near.namespace) && gone(link.far.namespace)));
    actions.extend(links.map(|&link| Action::RemoveLink(link.clone())));
    let uplinks = lost_uplinks.iter().filter(|uplink| !gone(uplink.end.namespace));
    actions.extend(uplinks.map(|&uplink| Action::RemoveUplink(uplink.clone())));
    let released = from.trunk.filter(|trunk| to.trunk != Some(*trunk));
    actions.extend(released.map(Action::ReleaseTrunk));
    let firewalls =
        from.firewalls.keys().filter(|&namespace| !to.firewalls.contains_key(namespace) && !gone(*namespace));
    actions.extend(firewalls.copied().map(Action::RemoveFirewall));
    actions.extend(from.namespaces.difference(&to.namespaces).copied().map(Action::RemoveNamespace));

    actions.extend(to.namespaces.difference(&from.namespaces).copied().map(Action::AddNamespace));
    actions.extend(to.sysctls.difference(&from.sysctls).cloned().map(Action::SetSysctl));
    let firewalls = to.firewalls.iter().filter(|(namespace, script)| from.firewalls.get(namespace) != Some(script));
    actions.extend(firewalls.map(|(namespace, script)| Action::SetFirewall(*namespace, script.clone())));
    actions.extend(to.links.difference(&from.links).cloned().map(Action::AddLink));
    let taken = to.trunk.filter(|trunk| from.trunk != Some(*trunk));
    actions.extend(taken.map(Action::SetTrunk));
    actions.extend(to.uplinks.difference(&from.uplinks).cloned().map(Action::AddUplink));
    let addresses = to.addresses.iter().filter(|address| !from.addresses.contains(address) || lost_end(&address.end));
    actions.extend(addresses.cloned().map(Action::AddAddress));
    let routes = to.routes.iter().filter(|route| !from.routes.contains(route) || lost_route(route));
    actions.extend(routes.cloned().map(Action::AddRoute));
    actions.extend(to.rules.difference(&from.rules).cloned().map(Action::AddRule));
    actions
}
