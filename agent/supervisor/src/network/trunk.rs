//! The NIC towards an external device under test: found by its permanent MAC address, shut towards the machine, and cut into VLAN
//! sub-interfaces that live in the namespaces of the bench.
//!
//! The NIC itself stays in the machine's own namespace, up and bare: no address, no IPv6, its MTU as the driver or the operator set
//! it. Sub-interfaces are made straight in their namespace, so that there is no moment at which the machine has them. Unplugged,
//! renamed and missing are answers here, not errors.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use futures_util::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteHeader};
use rtnetlink::{LinkUnspec, LinkVlan, RouteMessageBuilder};
use serde::Serialize;
use tbi_bench::netplan::{Interface, MacAddress, Uplink, trunk_firewall};

use super::NetworkError;
use super::act::{self, failed};
use super::namespace::Room;

/// How the trunk is doing, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TrunkReport {
    pub(crate) state: TrunkState,
    /// What the kernel calls it now; empty when there is none.
    pub(crate) interface: String,
    /// What is wrong and what to do; empty when nothing is.
    pub(crate) sentence: String,
}

/// See [`TrunkReport`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TrunkState {
    /// The plan has no trunk.
    NotUsed,
    /// There and plugged in.
    Up,
    /// There, but nothing answers at the other end of the cable.
    NoCarrier,
    /// No NIC has the address, or more than one has.
    Missing,
}

impl TrunkReport {
    /// Of a plan without one.
    pub(crate) fn not_used() -> Self {
        Self { state: TrunkState::NotUsed, interface: String::new(), sentence: String::new() }
    }
}

/// A NIC of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nic {
    pub(super) mac: MacAddress,
    pub(super) index: u32,
    pub(super) interface: Interface,
    pub(super) started: bool,
    carrier: bool,
}

/// All NICs of the machine that have a MAC address of their own.
pub(super) async fn nics(machine: &Room) -> Result<Vec<Nic>, NetworkError> {
    let mut links = machine.netlink.link().get().execute();
    let mut nics = Vec::new();
    while let Some(link) = links.try_next().await.map_err(failed(machine, "list", "links"))? {
        nics.extend(nic(link));
    }
    Ok(nics)
}

fn nic(link: LinkMessage) -> Option<Nic> {
    let (mut name, mut permanent, mut current, mut borrowed) = (None, None, None, false);
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(found) => name = Some(found),
            LinkAttribute::PermAddress(bytes) => permanent = MacAddress::from_bytes(&bytes),
            LinkAttribute::Address(bytes) => current = MacAddress::from_bytes(&bytes),
            LinkAttribute::LinkInfo(infos) => borrowed = infos.iter().any(borrows_its_address),
            _ => {}
        }
    }
    // Some virtual NICs have no permanent address; then the one they have is theirs, unless it is that of an interface below.
    let mac = permanent.or_else(|| current.filter(|_| !borrowed))?;
    let flags = link.header.flags;
    Some(Nic {
        mac,
        index: link.header.index,
        interface: Interface::observed(name?),
        started: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
    })
}

fn borrows_its_address(info: &LinkInfo) -> bool {
    use InfoKind::{Bond, Bridge, IpVlan, MacVlan, MacVtap, Vlan};
    matches!(info, LinkInfo::Kind(Vlan | MacVlan | MacVtap | IpVlan | Bridge | Bond))
}

/// The trunk among the NICs, or why there is none.
pub(super) fn find(nics: &[Nic], trunk: MacAddress) -> Result<&Nic, String> {
    let mut found = nics.iter().filter(|nic| nic.mac == trunk);
    match (found.next(), found.next()) {
        (Some(nic), None) => Ok(nic),
        (None, _) => Err(format!(
            "the trunk NIC {trunk} is not in this machine; put it back, or choose another trunk or the practice DUT in the settings"
        )),
        (Some(one), Some(other)) => Err(format!(
            "the NICs {} and {} both have the trunk's MAC address {trunk}; remove one, or give one another address",
            one.interface, other.interface
        )),
    }
}

/// How it is doing, once it was started.
pub(super) fn report(nics: &[Nic], trunk: MacAddress) -> TrunkReport {
    match find(nics, trunk) {
        Err(sentence) => TrunkReport { state: TrunkState::Missing, interface: String::new(), sentence },
        Ok(nic) if nic.carrier => {
            TrunkReport { state: TrunkState::Up, interface: nic.interface.to_string(), sentence: String::new() }
        }
        Ok(nic) => TrunkReport {
            state: TrunkState::NoCarrier,
            interface: nic.interface.to_string(),
            sentence: format!(
                "the trunk {} ({trunk}) has no link; plug in its cable and check the port at the other end",
                nic.interface
            ),
        },
    }
}

/// Rules, bareness and state of a trunk that is as it should be; `firewall` is what is known to be in force.
pub(super) async fn is_set(machine: &Room, nic: &Nic, firewall: Option<&String>) -> Result<bool, NetworkError> {
    if !nic.started || firewall != Some(&trunk_firewall(&nic.interface, nic.index)) {
        return Ok(false);
    }
    let file = ipv6_switch(&nic.interface);
    let off = machine.run(move || fs::read_to_string(file).is_ok_and(|found| found.trim() == "1")).await?;
    Ok(off && addresses(machine, nic).await?.is_empty())
}

/// Shuts, strips and starts it, in this order. Returns the rules that are in force then.
pub(super) async fn set(machine: &Room, trunk: MacAddress) -> Result<String, NetworkError> {
    let nics = nics(machine).await?;
    let nic = find(&nics, trunk).map_err(|_| NetworkError::TrunkGone { trunk })?;
    if carries_default_route(machine, nic.index).await? {
        return Err(NetworkError::TrunkIsManagement { trunk, interface: nic.interface.to_string() });
    }
    let rules = trunk_firewall(&nic.interface, nic.index);
    act::firewall(machine, &rules).await?;
    let file = ipv6_switch(&nic.interface);
    let written = machine.run(move || fs::write(file, "1")).await?;
    written.map_err(|source| NetworkError::Netlink {
        place: machine.place,
        doing: "switch off",
        object: format!("IPv6 of {}", nic.interface),
        reason: source.to_string(),
    })?;
    for address in addresses(machine, nic).await? {
        let removed = machine.netlink.address().del(address).execute().await;
        removed.map_err(failed(machine, "remove", format!("an address of {}", nic.interface)))?;
    }
    let up = LinkUnspec::new_with_index(nic.index).up().build();
    machine.netlink.link().set(up).execute().await.map_err(failed(
        machine,
        "start",
        format!("trunk {}", nic.interface),
    ))?;
    Ok(rules)
}

/// What a sub-interface is made of. The bench uses VLANs; machines without 802.1Q test the rest of the way with MACVLANs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sublayer {
    #[default]
    Vlan,
    #[cfg(test)]
    MacVlan,
}

/// Makes a sub-interface in its namespace and starts it. The trunk was started before: a VLAN cannot be up on a NIC that is down.
pub(super) async fn add_uplink(
    machine: &Room,
    room: &Room,
    uplink: &Uplink,
    sublayer: Sublayer,
) -> Result<(), NetworkError> {
    let nics = nics(machine).await?;
    let trunk = find(&nics, uplink.trunk).map_err(|_| NetworkError::TrunkGone { trunk: uplink.trunk })?;
    let interface = &uplink.end.interface;
    act::clear_the_way(room, interface).await?;
    let there = room.file().as_raw_fd();
    let message = match sublayer {
        Sublayer::Vlan => {
            LinkVlan::new(interface.as_str(), trunk.index, uplink.vlan.number()).setns_by_fd(there).build()
        }
        #[cfg(test)]
        Sublayer::MacVlan => {
            let mode = rtnetlink::packet_route::link::MacVlanMode::Private;
            rtnetlink::LinkMacVlan::new(interface.as_str(), trunk.index, mode).setns_by_fd(there).build()
        }
    };
    machine.netlink.link().add(message).execute().await.map_err(|error| match error {
        rtnetlink::Error::NetlinkError(message) if message.raw_code() == -(Errno::EOPNOTSUPP as i32) => {
            NetworkError::NoVlan {
                place: room.place,
                interface: interface.to_string(),
                reason: message.to_io().to_string(),
            }
        }
        other => failed(room, "make", format!("{interface} on trunk {}", trunk.interface))(other),
    })?;
    let up = LinkUnspec::new_with_name(interface.as_str()).up().build();
    room.netlink.link().set(up).execute().await.map_err(failed(room, "start", format!("link {interface}")))
}

/// VLAN and lower interface of a sub-interface that is up; the name says the VLAN only where the kernel does not.
pub(super) fn sub_interface(link: &LinkMessage, sublayer: Sublayer) -> Option<(u16, u32)> {
    let mut lower = None;
    let mut vlan = None;
    for attribute in &link.attributes {
        match (attribute, sublayer) {
            (LinkAttribute::Link(found), _) => lower = Some(*found),
            (LinkAttribute::LinkInfo(infos), Sublayer::Vlan) => vlan = infos.iter().find_map(vlan_id),
            #[cfg(test)]
            (LinkAttribute::IfName(name), Sublayer::MacVlan) => {
                vlan = name.strip_prefix("vlan").and_then(|number| number.parse().ok());
            }
            _ => {}
        }
    }
    #[cfg(test)]
    if sublayer == Sublayer::MacVlan
        && !link.attributes.iter().any(
            |it| matches!(it, LinkAttribute::LinkInfo(infos) if infos.contains(&LinkInfo::Kind(InfoKind::MacVlan))),
        )
    {
        return None;
    }
    if link.header.flags.contains(LinkFlags::Up) { vlan.zip(lower) } else { None }
}

fn vlan_id(info: &LinkInfo) -> Option<u16> {
    use rtnetlink::packet_route::link::{InfoData, InfoVlan};
    let LinkInfo::Data(InfoData::Vlan(data)) = info else { return None };
    data.iter().find_map(|item| match item {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })
}

async fn addresses(
    machine: &Room,
    nic: &Nic,
) -> Result<Vec<rtnetlink::packet_route::address::AddressMessage>, NetworkError> {
    let request = machine.netlink.address().get().set_link_index_filter(nic.index).execute();
    request.try_collect().await.map_err(failed(machine, "list", "addresses"))
}

async fn carries_default_route(machine: &Room, index: u32) -> Result<bool, NetworkError> {
    let requests = [
        RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
        RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
    ];
    for request in requests {
        let mut routes = machine.netlink.route().get(request).execute();
        while let Some(route) = routes.try_next().await.map_err(failed(machine, "list", "routes"))? {
            let ours = route.attributes.contains(&RouteAttribute::Oif(index));
            if ours && route.header.destination_prefix_length == 0 && route.header.table == RouteHeader::RT_TABLE_MAIN {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The interface's name may hold dots, so it is not made from a setting's dotted name.
fn ipv6_switch(interface: &Interface) -> PathBuf {
    PathBuf::from("/proc/sys/net/ipv6/conf").join(interface.as_str()).join("disable_ipv6")
}
