//! Addresses and routes of the network namespace the agent is in: the machine's own on an appliance, the sandbox's in the lab.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use tbi_bench::preflight::subnets::Machine;

/// Lists them; an error is the system's words.
pub(super) async fn look() -> Result<Machine, String> {
    let addresses = addresses().map_err(|errno| errno.to_string())?;
    let routes = routes().await?;
    Ok(Machine { addresses, routes })
}

fn addresses() -> nix::Result<Vec<(String, IpNet)>> {
    let found = nix::ifaddrs::getifaddrs()?.filter_map(|found| {
        let (address, mask) = (found.address?, found.netmask?);
        let (ip, mask): (IpAddr, IpAddr) = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => (v4.ip().into(), mask.as_sockaddr_in()?.ip().into()),
            (None, Some(v6)) => (v6.ip().into(), mask.as_sockaddr_in6()?.ip().into()),
            (None, None) => return None,
        };
        Some((found.interface_name, IpNet::with_netmask(ip, mask).ok()?))
    });
    Ok(found.collect())
}

/// Unicast routes of the main table.
async fn routes() -> Result<Vec<(String, IpNet)>, String> {
    let (carrier, netlink, _) = rtnetlink::new_connection().map_err(|error| error.to_string())?;
    let carrier = AbortOnDrop(tokio::spawn(carrier).abort_handle());
    let mut routes = Vec::new();
    let requests = [
        RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
        RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
    ];
    for request in requests {
        let ipv4 = request.header.address_family == rtnetlink::packet_route::AddressFamily::Inet;
        let mut messages = netlink.route().get(request).execute();
        while let Some(message) = messages.try_next().await.map_err(|error| error.to_string())? {
            routes.extend(route(&message, ipv4));
        }
    }
    drop(carrier);
    let names: std::collections::HashMap<u32, String> = nix::net::if_::if_nameindex()
        .map_err(|errno| errno.to_string())?
        .iter()
        .map(|interface| (interface.index(), interface.name().to_string_lossy().into_owned()))
        .collect();
    let named = |index| names.get(&index).cloned().unwrap_or_else(|| format!("interface {index}"));
    Ok(routes.into_iter().map(|(index, prefix)| (named(index), prefix)).collect())
}

fn route(message: &RouteMessage, ipv4: bool) -> Option<(u32, IpNet)> {
    if message.header.kind != RouteType::Unicast || message.header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let (mut interface, mut destination) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => destination = Some(IpAddr::from(*ip)),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => destination = Some(IpAddr::from(*ip)),
            _ => {}
        }
    }
    let any = if ipv4 { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let prefix = IpNet::new(destination.unwrap_or(any), message.header.destination_prefix_length).ok()?;
    Some((interface.unwrap_or(0), prefix))
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
