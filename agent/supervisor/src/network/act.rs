//! One action, one netlink request (or one write below /proc/sys, or one run of nft).

use std::fmt::Display;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Stdio;

use futures_util::TryStreamExt;
use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags};
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::packet_route::route::{RouteMessage, RouteProtocol, RouteScope, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{AddressMessageBuilder, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tbi_bench::netplan::{Address, Interface, Link, Need, Route, Rule, Sysctl, Via};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::namespace::Room;
use super::place::Place;
use super::{NetworkError, PROTOCOL};

/// The kernel makes `lo` first in every namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

pub(super) fn failed(
    room: &Room,
    doing: &'static str,
    object: impl Display,
) -> impl FnOnce(rtnetlink::Error) -> NetworkError {
    let (place, object) = (room.place, object.to_string());
    move |error| NetworkError::Netlink { place, doing, object, reason: reason(error) }
}

/// What the kernel said, without the bytes of the request.
fn reason(error: rtnetlink::Error) -> String {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().to_string(),
        other => other.to_string(),
    }
}

pub(super) async fn loopback_up(room: &Room) -> Result<(), NetworkError> {
    let message = LinkUnspec::new_with_index(LOOPBACK).up().build();
    room.netlink.link().set(message).execute().await.map_err(failed(room, "start", "lo"))
}

async fn index(room: &Room, interface: &Interface) -> Result<u32, NetworkError> {
    let name = interface.as_str().to_owned();
    let mut links = room.netlink.link().get().match_name(name.clone()).execute();
    match links.try_next().await {
        Ok(Some(link)) => Ok(link.header.index),
        _ => Err(NetworkError::NoInterface { place: room.place, interface: name }),
    }
}

/// Both ends are made in their namespaces at once. What is in the way (one end down, or of another pair) is removed.
pub(super) async fn add_link(near: &Room, far: &Room, link: &Link) -> Result<(), NetworkError> {
    for (room, end) in [(near, &link.near), (far, &link.far)] {
        clear_the_way(room, &end.interface).await?;
    }
    let peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(link.far.interface.as_str())
        .setns_by_fd(far.file().as_raw_fd())
        .build();
    let message = LinkVeth::new(link.near.interface.as_str(), link.far.interface.as_str())
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .build();
    let object = format!("link {} to '{}'", link.near.interface, far.place);
    near.netlink.link().add(message).execute().await.map_err(failed(near, "make", object))?;
    // Not part of the request above: a veth cannot be opened before it knows its peer.
    for (room, end) in [(near, &link.near), (far, &link.far)] {
        let up = LinkUnspec::new_with_name(end.interface.as_str()).up().build();
        let started = room.netlink.link().set(up).execute().await;
        started.map_err(failed(room, "start", format!("link {}", end.interface)))?;
    }
    Ok(())
}

/// Removes an interface that has the name of one to be made. It may go by itself meanwhile: a namespace that was removed takes the
/// other ends of its links along some time later.
pub(super) async fn clear_the_way(room: &Room, interface: &Interface) -> Result<(), NetworkError> {
    let Ok(index) = index(room, interface).await else { return Ok(()) };
    match room.netlink.link().del(index).execute().await {
        Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -(Errno::ENODEV as i32) => Ok(()),
        deleted => deleted.map_err(failed(room, "remove", format!("link {interface}"))),
    }
}

pub(super) async fn delete_link(room: &Room, interface: &Interface) -> Result<(), NetworkError> {
    let index = index(room, interface).await?;
    let deleted = room.netlink.link().del(index).execute().await;
    deleted.map_err(failed(room, "remove", format!("link {interface}")))
}

pub(super) async fn add_address(room: &Room, address: &Address) -> Result<(), NetworkError> {
    let index = index(room, &address.end.interface).await?;
    let net = address.address;
    let mut request = room.netlink.address().add(index, net.addr(), net.prefix_len());
    if net.addr().is_ipv6() {
        // Usable at once: nobody else is on the link.
        let message = request.message_mut();
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    request.execute().await.map_err(failed(room, "add", format!("address {net}")))
}

pub(super) async fn remove_address(room: &Room, address: &Address) -> Result<(), NetworkError> {
    let index = index(room, &address.end.interface).await?;
    let length = address.address.prefix_len();
    let message = match address.address.addr() {
        IpAddr::V4(ip) => AddressMessageBuilder::<std::net::Ipv4Addr>::new().index(index).address(ip, length).build(),
        IpAddr::V6(ip) => AddressMessageBuilder::<std::net::Ipv6Addr>::new().index(index).address(ip, length).build(),
    };
    let removed = room.netlink.address().del(message).execute().await;
    removed.map_err(failed(room, "remove", format!("address {}", address.address)))
}

pub(super) async fn add_route(room: &Room, route: &Route) -> Result<(), NetworkError> {
    let message = route_message(room, route).await?;
    let added = room.netlink.route().add(message).execute().await;
    added.map_err(failed(room, "add", format!("route to {}", route.destination)))
}

pub(super) async fn remove_route(room: &Room, route: &Route) -> Result<(), NetworkError> {
    let message = route_message(room, route).await?;
    let removed = room.netlink.route().del(message).execute().await;
    removed.map_err(failed(room, "remove", format!("route to {}", route.destination)))
}

async fn route_message(room: &Room, route: &Route) -> Result<RouteMessage, NetworkError> {
    let builder =
        RouteMessageBuilder::<IpAddr>::new().table_id(route.table.number()).protocol(RouteProtocol::Other(PROTOCOL));
    let object = || format!("route to {}", route.destination);
    let refused =
        |reason: String| NetworkError::Netlink { place: room.place, doing: "describe", object: object(), reason };
    let builder = builder
        .destination_prefix(route.destination.addr(), route.destination.prefix_len())
        .map_err(|error| refused(error.to_string()))?;
    let builder = match &route.via {
        Via::Local => builder.kind(RouteType::Local).scope(RouteScope::Host).output_interface(LOOPBACK),
        Via::Gateway { gateway, interface } => builder
            .gateway(*gateway)
            .map_err(|error| refused(error.to_string()))?
            .output_interface(index(room, interface).await?),
    };
    Ok(builder.build())
}

pub(super) async fn add_rule(room: &Room, rule: &Rule) -> Result<(), NetworkError> {
    let mut request = room.netlink.rule().add();
    *request.message_mut() = rule_message(rule);
    request.execute().await.map_err(failed(room, "add", format!("rule for {}", rule.source)))
}

pub(super) async fn remove_rule(room: &Room, rule: &Rule) -> Result<(), NetworkError> {
    let removed = room.netlink.rule().del(rule_message(rule)).execute().await;
    removed.map_err(failed(room, "remove", format!("rule for {}", rule.source)))
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = match rule.source {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    message.header.src_len = rule.source.prefix_len();
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Source(rule.source.addr()),
        RuleAttribute::Priority(Rule::PRIORITY),
        RuleAttribute::Table(rule.table.number()),
        RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)),
    ];
    message
}

/// File of a setting. Names of the plan have no dots inside their parts.
pub(super) fn sysctl_path(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(key.replace('.', "/"))
}

pub(super) async fn set_sysctl(room: &Room, sysctl: Sysctl) -> Result<(), NetworkError> {
    let Sysctl { namespace, key, value, need } = sysctl;
    let written = room.run(move || fs::write(sysctl_path(key), value)).await?;
    match (written, need) {
        (Ok(()), _) => Ok(()),
        (Err(error), Need::WherePossible) => {
            tracing::debug!(%namespace, key, %error, "setting left as the machine has it");
            Ok(())
        }
        (Err(source), Need::Required) => {
            Err(NetworkError::Sysctl { place: Place::Bench(namespace), key, value, source })
        }
    }
}

/// Hands a script to nft inside the namespace; nft applies it whole or not at all.
pub(super) async fn firewall(room: &Room, script: &str) -> Result<(), NetworkError> {
    let place = room.place;
    let refused = |reason: String| NetworkError::Firewall { place, reason };
    let nft = nft().ok_or(NetworkError::NoNft)?;
    let mut command = Command::new(&nft);
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let spawned = room.run(move || command.spawn()).await?;
    let mut child = spawned.map_err(|source| NetworkError::Spawn { place, program: "nft".to_owned(), source })?;
    let mut input = child.stdin.take().ok_or_else(|| refused("it takes no input".to_owned()))?;
    let written: io::Result<()> = input.write_all(script.as_bytes()).await;
    drop(input);
    let output = child.wait_with_output().await.map_err(|error| refused(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(refused(said.lines().next().unwrap_or("it gave no reason").to_owned()));
    }
    written.map_err(|error| refused(error.to_string()))
}

/// Debian keeps nft in /usr/sbin, which is not on an ordinary user's path.
fn nft() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|directory| directory.join("nft")).find(|nft| nft.is_file())
}
