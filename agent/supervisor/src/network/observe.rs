//! What the kernel looks like now, in the words of the plan. Only what is ours is reported; see [`super::PROTOCOL`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, OpenOptions};
use std::net::IpAddr;

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType};
use rtnetlink::packet_route::rule::{RuleAttribute, RuleMessage};
use rtnetlink::{IpVersion, RouteMessageBuilder};
use tbi_bench::catalogue::VlanId;
use tbi_bench::netplan::{
    Address, End, Interface, Link, Namespace, Need, NetworkState, Route, Rule, Sysctl, Table, Uplink, Via,
};

use super::act::sysctl_path;
use super::namespace::Room;
use super::place::Place;
use super::trunk::{self, Nic, Sublayer};
use super::{NetworkError, PROTOCOL};

/// One end of a veth pair that is up.
struct Veth {
    namespace: Namespace,
    index: u32,
    peer: u32,
}

/// Looks at every namespace. Of kernel settings only those of `settings` are looked at; `nics` are the machine's, where it was looked at.
pub(super) async fn state(
    rooms: &BTreeMap<Namespace, Room>,
    firewalls: &BTreeMap<Namespace, String>,
    settings: &BTreeSet<Sysctl>,
    (nics, sublayer): (&[Nic], Sublayer),
) -> Result<NetworkState, NetworkError> {
    let mut state = NetworkState {
        namespaces: rooms.keys().copied().collect(),
        firewalls: firewalls.clone(),
        ..NetworkState::default()
    };
    let mut names = HashMap::new();
    let mut veths: BTreeMap<String, Vec<Veth>> = BTreeMap::new();
    for (&namespace, room) in rooms {
        let uplink = |name: &str, link: &LinkMessage| {
            let (vlan, lower) = trunk::sub_interface(link, sublayer)?;
            // In another namespace than its trunk, an interface names the trunk's index there, and that is the machine's.
            let trunk = nics.iter().find(|nic| nic.index == lower)?.mac;
            let end = End { namespace, interface: Interface::observed(name.to_owned()) };
            Some(Uplink { trunk, vlan: VlanId::try_from(vlan).ok()?, end })
        };
        interfaces(namespace, room, &mut names, &mut veths, |name, link| {
            state.uplinks.extend(uplink(name, link));
        })
        .await?;
    }
    for (name, ends) in veths {
        if let Some(link) = pair(&name, &ends) {
            state.links.insert(link);
        }
    }
    let links = state.links.iter().flat_map(|link| [link.near.clone(), link.far.clone()]);
    let linked: BTreeSet<End> = links.chain(state.uplinks.iter().map(|uplink| uplink.end.clone())).collect();
    for (&namespace, room) in rooms {
        let name = |index: u32| names.get(&(namespace, index)).cloned().map(Interface::observed);
        addresses(namespace, room, &mut state, &linked, name).await?;
        routes(namespace, room, &mut state, &linked, name).await?;
        rules(namespace, room, &mut state).await?;
        sysctls(namespace, room, &mut state, settings).await?;
    }
    Ok(state)
}

fn failed(room: &Room, object: &str) -> impl FnOnce(rtnetlink::Error) -> NetworkError {
    let (place, object) = (room.place, object.to_owned());
    move |error| NetworkError::Netlink { place, doing: "list", object, reason: error.to_string() }
}

async fn interfaces(
    namespace: Namespace,
    room: &Room,
    names: &mut HashMap<(Namespace, u32), String>,
    veths: &mut BTreeMap<String, Vec<Veth>>,
    mut look: impl FnMut(&str, &LinkMessage),
) -> Result<(), NetworkError> {
    let mut links = room.netlink.link().get().execute();
    while let Some(link) = links.try_next().await.map_err(failed(room, "links"))? {
        let index = link.header.index;
        let (mut name, mut peer) = (None, None);
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::IfName(found) => name = Some(found.clone()),
                LinkAttribute::Link(found) => peer = Some(*found),
                _ => {}
            }
        }
        let Some(name) = name else { continue };
        look(&name, &link);
        names.insert((namespace, index), name.clone());
        if let (Some(peer), true) = (peer, link.header.flags.contains(LinkFlags::Up)) {
            veths.entry(name).or_default().push(Veth { namespace, index, peer });
        }
    }
    Ok(())
}

/// Both ends of a link of the plan have one name, in two namespaces, and name each other's index.
fn pair(name: &str, ends: &[Veth]) -> Option<Link> {
    let [a, b] = ends else { return None };
    if a.peer != b.index || b.peer != a.index || a.namespace == b.namespace {
        return None;
    }
    let vlan = name.strip_prefix("vlan").and_then(|number| VlanId::try_from(number.parse::<u16>().ok()?).ok());
    let end = |namespace| End { namespace, interface: Interface::observed(name.to_owned()) };
    // Namespaces are ordered from inside to outside.
    Some(Link { vlan, near: end(a.namespace.min(b.namespace)), far: end(a.namespace.max(b.namespace)) })
}

async fn addresses(
    namespace: Namespace,
    room: &Room,
    state: &mut NetworkState,
    linked: &BTreeSet<End>,
    name: impl Fn(u32) -> Option<Interface>,
) -> Result<(), NetworkError> {
    let mut messages = room.netlink.address().get().execute();
    while let Some(message) = messages.try_next().await.map_err(failed(room, "addresses"))? {
        let Some(interface) = name(message.header.index) else { continue };
        let end = End { namespace, interface };
        if let (Some(address), true) = (address(&message), linked.contains(&end)) {
            state.addresses.insert(Address { end, address });
        }
    }
    Ok(())
}

/// The interface's own address; link-local ones are the kernel's.
fn address(message: &AddressMessage) -> Option<IpNet> {
    let found = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    let local = found(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let ip = local.or_else(|| {
        found(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })?;
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    if link_local { None } else { IpNet::new(ip, message.header.prefix_len).ok() }
}

async fn routes(
    namespace: Namespace,
    room: &Room,
    state: &mut NetworkState,
    linked: &BTreeSet<End>,
    name: impl Fn(u32) -> Option<Interface>,
) -> Result<(), NetworkError> {
    let ours = |message: &RouteMessage| message.header.protocol == RouteProtocol::Other(PROTOCOL);
    let found = route_dump(namespace, room, ours, name).await?;
    state.routes.extend(found.into_iter().filter(|route| route.end().is_none_or(|end| linked.contains(&end))));
    Ok(())
}

/// All routes of the main table that lead to a neighbour, whoever put them there.
pub(super) async fn main_routes(room: &Room) -> Result<Vec<Route>, NetworkError> {
    let Place::Bench(namespace) = room.place else { return Ok(Vec::new()) };
    let mut names = HashMap::new();
    interfaces(namespace, room, &mut names, &mut BTreeMap::new(), |_, _| {}).await?;
    let name = |index: u32| names.get(&(namespace, index)).cloned().map(Interface::observed);
    let unicast = |message: &RouteMessage| message.header.kind == RouteType::Unicast;
    let mut found = route_dump(namespace, room, unicast, name).await?;
    found.retain(|route| route.table == Table::MAIN);
    Ok(found)
}

async fn route_dump(
    namespace: Namespace,
    room: &Room,
    wanted: impl Fn(&RouteMessage) -> bool,
    name: impl Fn(u32) -> Option<Interface>,
) -> Result<Vec<Route>, NetworkError> {
    let mut found = Vec::new();
    let requests = [
        RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
        RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
    ];
    for request in requests {
        let ipv4 = request.header.address_family == rtnetlink::packet_route::AddressFamily::Inet;
        let mut messages = room.netlink.route().get(request).execute();
        while let Some(message) = messages.try_next().await.map_err(failed(room, "routes"))? {
            if wanted(&message) {
                found.extend(route(namespace, ipv4, &message, &name));
            }
        }
    }
    Ok(found)
}

fn route(
    namespace: Namespace,
    ipv4: bool,
    message: &RouteMessage,
    name: impl Fn(u32) -> Option<Interface>,
) -> Option<Route> {
    let mut table = u32::from(message.header.table);
    let (mut destination, mut gateway, mut interface) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(found) => table = *found,
            RouteAttribute::Destination(found) => destination = ip(found),
            RouteAttribute::Gateway(found) => gateway = ip(found),
            RouteAttribute::Oif(index) => interface = name(*index),
            _ => {}
        }
    }
    let any = if ipv4 { IpAddr::V4([0; 4].into()) } else { IpAddr::V6([0; 16].into()) };
    let destination = IpNet::new(destination.unwrap_or(any), message.header.destination_prefix_length).ok()?;
    let via = match message.header.kind {
        RouteType::Local => Via::Local,
        _ => Via::Gateway { gateway: gateway?, interface: interface? },
    };
    Some(Route { namespace, table: Table::observed(table), destination, via })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

async fn rules(namespace: Namespace, room: &Room, state: &mut NetworkState) -> Result<(), NetworkError> {
    for version in [IpVersion::V4, IpVersion::V6] {
        let mut messages = room.netlink.rule().get(version).execute();
        while let Some(message) = messages.try_next().await.map_err(failed(room, "rules"))? {
            state.rules.extend(rule(namespace, &message));
        }
    }
    Ok(())
}

fn rule(namespace: Namespace, message: &RuleMessage) -> Option<Rule> {
    let (mut source, mut ours, mut table) = (None, false, u32::from(message.header.table));
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Source(found) => source = Some(*found),
            RuleAttribute::Table(found) => table = *found,
            RuleAttribute::Protocol(found) => ours = *found == RouteProtocol::Other(PROTOCOL),
            _ => {}
        }
    }
    let source = IpNet::new(source?, message.header.src_len).ok()?;
    ours.then_some(Rule { namespace, source, table: Table::observed(table) })
}

async fn sysctls(
    namespace: Namespace,
    room: &Room,
    state: &mut NetworkState,
    wanted: &BTreeSet<Sysctl>,
) -> Result<(), NetworkError> {
    let wanted: Vec<Sysctl> = wanted.iter().filter(|sysctl| sysctl.namespace == namespace).cloned().collect();
    let in_force = room.run(move || wanted.into_iter().filter(in_force).collect::<Vec<_>>()).await?;
    state.sysctls.extend(in_force);
    Ok(())
}

/// A setting that this kernel does not offer here, and that the plan can do without, needs no further attempt.
fn in_force(sysctl: &Sysctl) -> bool {
    let path = sysctl_path(sysctl.key);
    // The kernel separates several numbers with tabs.
    let same = |found: String| found.split_whitespace().eq(sysctl.value.split_whitespace());
    fs::read_to_string(&path).is_ok_and(same)
        || (sysctl.need == Need::WherePossible && OpenOptions::new().write(true).open(&path).is_err())
}
