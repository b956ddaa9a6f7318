//! From topology and catalogue to the plan, room by room.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{
    Address, End, Fabric, Interface, IspRouter, Link, Namespace, Need, NetworkPlan, NetworkState, Path, Route, Rule,
    Site, Sysctl, Table, Uplink, Via, firewall,
};
use crate::catalogue::{AddressFamily, Catalogue, VlanId};
use crate::topology::{LinkAddresses, Topology};

pub(super) fn plan(fabric: Fabric, topology: &Topology, catalogue: &Catalogue, path: Path) -> NetworkPlan {
    let mut state = NetworkState { namespaces: Namespace::ALL.into(), ..NetworkState::default() };
    if let Site::External { trunk } = fabric.site {
        state.namespaces.remove(&Namespace::Dut);
        state.trunk = Some(trunk);
    }
    inside_links(&mut state, fabric.site, topology);
    edge_link(&mut state, fabric.site, topology);
    match path {
        Path::ThroughDut => agents_through_dut(&mut state, topology),
        Path::Reference => reference_link(&mut state, topology),
    }
    if (fabric.site, path) == (Site::Practice, Path::ThroughDut) {
        routes_of_dut(&mut state, topology);
    }
    countries(&mut state, catalogue);
    let mut expected: BTreeSet<Route> = isp_routes(topology, path).collect();
    if fabric.isp == IspRouter::Static {
        state.routes.append(&mut expected);
    }
    let present = state.namespaces.clone();
    state.sysctls.extend(sysctls().filter(|sysctl| present.contains(&sysctl.namespace)));
    state.firewalls.insert(Namespace::Agents, firewall::agents(topology, catalogue));
    state.firewalls.insert(Namespace::Personas, firewall::personas());
    let of_dut = |interfaces| if fabric.site == Site::Practice { interfaces } else { Vec::new() };
    NetworkPlan {
        path,
        fabric,
        inside_interfaces: of_dut(topology.inside().iter().map(|it| Interface::of_vlan(it.vlan())).collect()),
        outside_interfaces: of_dut(vec![Interface::of_vlan(topology.edge().vlan())]),
        sources: topology.inside().iter().flat_map(|inside| inside.sources()).collect(),
        state,
        expected,
    }
}

/// Links of agents and DUT, and the agents' pools: which are ours (AnyIP), and which way they leave.
fn inside_links(state: &mut NetworkState, site: Site, topology: &Topology) {
    for inside in topology.inside() {
        let vlan = inside.vlan();
        match site {
            Site::Practice => {
                connect(state, Some(vlan), Namespace::Agents, Namespace::Dut, &inside.link_addresses());
            }
            Site::External { trunk } => {
                let own = inside.link_addresses().map(|ends| ends.near);
                uplink(state, Uplink::new(trunk, vlan, Namespace::Agents), own);
            }
        }
        for destination in inside.sources() {
            state.routes.insert(Route {
                namespace: Namespace::Agents,
                table: Table::LOCAL,
                destination,
                via: Via::Local,
            });
        }
        for source in inside.prefixes() {
            state.rules.insert(Rule { namespace: Namespace::Agents, source, table: Table::of_vlan(vlan) });
        }
    }
}

fn edge_link(state: &mut NetworkState, site: Site, topology: &Topology) {
    let edge = topology.edge();
    match site {
        Site::Practice => connect(state, Some(edge.vlan()), Namespace::Dut, Namespace::Isp, &edge.link_addresses()),
        Site::External { trunk } => {
            let own = edge.link_addresses().map(|ends| ends.far);
            uplink(state, Uplink::new(trunk, edge.vlan(), Namespace::Isp), own);
        }
    }
}

/// Agents leave through the gateway of the VLAN their source address belongs to; those that let the kernel choose leave through the
/// first VLAN.
fn agents_through_dut(state: &mut NetworkState, topology: &Topology) {
    for (index, inside) in topology.inside().iter().enumerate() {
        let interface = Interface::of_vlan(inside.vlan());
        for (ends, prefix) in inside.link_addresses().into_iter().zip(inside.prefixes()) {
            let outward = |table| route(Namespace::Agents, table, default_of(prefix), ends.far, &interface);
            state.routes.insert(outward(Table::of_vlan(inside.vlan())));
            if index == 0 {
                state.routes.insert(outward(Table::MAIN));
            }
        }
    }
}

/// The DUT routes each pool to its agents, and everything else to the ISP router.
fn routes_of_dut(state: &mut NetworkState, topology: &Topology) {
    for inside in topology.inside() {
        let interface = Interface::of_vlan(inside.vlan());
        for (ends, prefix) in inside.link_addresses().into_iter().zip(inside.prefixes()) {
            state.routes.insert(route(Namespace::Dut, Table::MAIN, prefix, ends.near, &interface));
        }
    }
    let interface = Interface::of_vlan(topology.edge().vlan());
    for ends in topology.edge().link_addresses() {
        state.routes.insert(route(Namespace::Dut, Table::MAIN, default_of(ends.far), ends.far, &interface));
    }
}

/// The link around the DUT takes all routes; the DUT keeps its links and addresses, so that its program need not be told.
fn reference_link(state: &mut NetworkState, topology: &Topology) {
    let interface = Interface::reference();
    let addresses = topology.reference().link_addresses();
    connect(state, None, Namespace::Agents, Namespace::Isp, &addresses);
    for ends in addresses {
        state.routes.insert(route(Namespace::Agents, Table::MAIN, default_of(ends.far), ends.far, &interface));
    }
    for inside in topology.inside() {
        let table = Table::of_vlan(inside.vlan());
        for (ends, prefix) in addresses.into_iter().zip(inside.prefixes()) {
            state.routes.insert(route(Namespace::Agents, table, default_of(prefix), ends.far, &interface));
        }
    }
}

/// What the ISP router knows besides its own links: the agents, behind the DUT or at the end of the link around it.
fn isp_routes(topology: &Topology, path: Path) -> impl Iterator<Item = Route> {
    let (interface, ends) = match path {
        Path::ThroughDut => (Interface::of_vlan(topology.edge().vlan()), topology.edge().link_addresses()),
        Path::Reference => (Interface::reference(), topology.reference().link_addresses()),
    };
    topology.inside().iter().flat_map(move |inside| {
        let interface = interface.clone();
        let towards = ends.into_iter().zip(inside.prefixes());
        towards.map(move |(ends, prefix)| route(Namespace::Isp, Table::MAIN, prefix, ends.near, &interface))
    })
}

/// One link per country; personas answer out of the interface their address belongs to.
fn countries(state: &mut NetworkState, catalogue: &Catalogue) {
    for country in catalogue.countries() {
        let interface = Interface::of_vlan(country.vlan());
        let table = Table::of_vlan(country.vlan());
        let near = End { namespace: Namespace::Isp, interface: interface.clone() };
        let far = End { namespace: Namespace::Personas, interface: interface.clone() };
        for (prefix, gateway) in country.gateways() {
            let gateway = with_length(gateway, prefix);
            state.addresses.insert(Address { end: near.clone(), address: gateway });
            state.routes.insert(route(Namespace::Personas, table, default_of(prefix), gateway, &interface));
            state.rules.insert(Rule { namespace: Namespace::Personas, source: prefix, table });
        }
        for persona in catalogue.personas_of(country) {
            for (family, prefix) in [AddressFamily::Ipv4, AddressFamily::Ipv6].into_iter().zip(country.prefixes()) {
                let address = with_length(persona.address(family), prefix);
                state.addresses.insert(Address { end: far.clone(), address });
            }
        }
        state.links.insert(Link { vlan: Some(country.vlan()), near, far });
    }
}

fn connect(
    state: &mut NetworkState,
    vlan: Option<VlanId>,
    near: Namespace,
    far: Namespace,
    addresses: &[LinkAddresses],
) {
    let interface = vlan.map_or_else(Interface::reference, Interface::of_vlan);
    let end = |namespace| End { namespace, interface: interface.clone() };
    for ends in addresses {
        state.addresses.insert(Address { end: end(near), address: ends.near });
        state.addresses.insert(Address { end: end(far), address: ends.far });
    }
    state.links.insert(Link { vlan, near: end(near), far: end(far) });
}

fn uplink(state: &mut NetworkState, uplink: Uplink, addresses: [IpNet; 2]) {
    for address in addresses {
        state.addresses.insert(Address { end: uplink.end.clone(), address });
    }
    state.uplinks.insert(uplink);
}

fn route(namespace: Namespace, table: Table, destination: IpNet, gateway: IpNet, interface: &Interface) -> Route {
    let via = Via::Gateway { gateway: gateway.addr(), interface: interface.clone() };
    Route { namespace, table, destination, via }
}

/// The default route of the family of `net`.
fn default_of(net: IpNet) -> IpNet {
    let unspecified = match net {
        IpNet::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpNet::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    IpNet::new(unspecified, 0).unwrap_or(net)
}

/// Both come from one country, so the length fits the address.
fn with_length(address: IpAddr, prefix: IpNet) -> IpNet {
    IpNet::new(address, prefix.prefix_len()).unwrap_or(prefix)
}

fn sysctls() -> impl Iterator<Item = Sysctl> {
    use Namespace::{Agents, Dut, Isp, Personas};
    use Need::{Required, WherePossible};
    const ALL: &[Namespace] = &Namespace::ALL;
    const ENDS: &[Namespace] = &[Agents, Dut, Personas];
    const ROUTERS: &[Namespace] = &[Dut, Isp];
    const SETTINGS: &[(&[Namespace], Need, &str, &str)] = &[
        // Sources are routed by policy, so the way back is not the one reverse-path filtering expects.
        (ALL, Required, "net.ipv4.conf.all.rp_filter", "0"),
        (ALL, Required, "net.ipv4.conf.default.rp_filter", "0"),
        // Some hosts switch IPv6 off for new interfaces.
        (ALL, Required, "net.ipv6.conf.default.disable_ipv6", "0"),
        // No second of waiting before a new address may be used: nobody else is on these links.
        (ALL, Required, "net.ipv6.conf.default.accept_dad", "0"),
        (ALL, Required, "net.ipv6.conf.default.accept_ra", "0"),
        (ROUTERS, Required, "net.ipv4.ip_forward", "1"),
        (ROUTERS, Required, "net.ipv6.conf.all.forwarding", "1"),
        (ROUTERS, Required, "net.ipv4.conf.all.send_redirects", "0"),
        (ROUTERS, Required, "net.ipv4.conf.default.send_redirects", "0"),
        // An active block says so to every connection, not to one a second.
        (&[Dut], Required, "net.ipv4.icmp_ratelimit", "0"),
        (&[Dut], Required, "net.ipv6.icmp.ratelimit", "0"),
        (&[Dut], WherePossible, "net.ipv4.icmp_msgs_per_sec", "1000000"),
        (&[Dut], WherePossible, "net.ipv4.icmp_msgs_burst", "100000"),
        // RFC 9411 §4.3.1.1: source ports 1024-65535.
        (&[Agents, Dut], Required, "net.ipv4.ip_local_port_range", "1024 65535"),
        // IPv4 lets a socket bind to any address routed to this host; IPv6 only to those on an interface, unless told otherwise.
        (&[Agents], Required, "net.ipv6.ip_nonlocal_bind", "1"),
        // Port 443 without a capability.
        (&[Dut, Personas], Required, "net.ipv4.ip_unprivileged_port_start", "0"),
        // Room for bulk transfers to grow into. The middle value stays the kernel's: it gives the initial window of RFC 9411 §4.3.1.1.
        (ENDS, Required, "net.ipv4.tcp_rmem", "4096 131072 33554432"),
        (ENDS, Required, "net.ipv4.tcp_wmem", "4096 65536 33554432"),
        // What one block taught TCP about a path must not help or hurt the next.
        (ENDS, Required, "net.ipv4.tcp_no_metrics_save", "1"),
        // A burst of connections is not answered with SYN cookies, which lose TCP options.
        (&[Dut, Personas], Required, "net.core.somaxconn", "65535"),
        (&[Dut, Personas], Required, "net.ipv4.tcp_max_syn_backlog", "65535"),
    ];
    SETTINGS.iter().flat_map(|&(namespaces, need, key, value)| {
        namespaces.iter().map(move |&namespace| Sysctl { namespace, key, value, need })
    })
}
