//! nftables scripts of a plan (REQUIREMENTS B5). Stateless on purpose: connection tracking would cost CPU on every packet of the bench
//! and bound the connections it can hold.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::Interface;
use crate::catalogue::Catalogue;
use crate::topology::Topology;
use crate::wire::PORT;

/// Declares the table so that deleting it cannot fail, then deletes it: with what follows, one atomic replacement.
const REPLACE: &str = "table inet tbi\ndelete table inet tbi\n";

/// Agents reach the countries and their own side of the DUT, and nothing else: whatever a program does, it stays on the bench.
pub(super) fn agents(topology: &Topology, catalogue: &Catalogue) -> String {
    let countries = catalogue.countries().iter().flat_map(|country| country.prefixes());
    let inside = topology.inside().iter().flat_map(|inside| inside.prefixes());
    let allowed: Vec<IpNet> = countries.chain(inside).collect();
    let list = |ipv4: bool| {
        let nets = allowed.iter().filter(|net| net.addr().is_ipv4() == ipv4);
        nets.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let mut script = String::from(REPLACE);
    let _ = write!(
        script,
        "table inet tbi {{
    set test_ipv4 {{
        type ipv4_addr
        flags interval
        elements = {{ {} }}
    }}
    set test_ipv6 {{
        type ipv6_addr
        flags interval
        elements = {{ {} }}
    }}
    chain output {{
        type filter hook output priority filter; policy drop;
        oifname \"lo\" accept
        ip daddr @test_ipv4 accept
        ip6 daddr @test_ipv6 accept
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
        counter comment \"refused: not a test range\"
    }}
}}
",
        list(true),
        list(false)
    );
    script
}

/// Personas are web servers: port 443, what IP needs to work, and nothing else.
pub(super) fn personas() -> String {
    format!(
        "{REPLACE}table inet tbi {{
    chain input {{
        type filter hook input priority filter; policy drop;
        iifname \"lo\" accept
        tcp dport {PORT} accept
        udp dport {PORT} accept
        icmp type {{ echo-request, destination-unreachable, time-exceeded, parameter-problem }} accept
        icmpv6 type {{ echo-request, destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} accept
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
        counter comment \"refused: not port {PORT}\"
    }}
}}
"
    )
}

/// The machine's own namespace neither hears nor speaks on the trunk, and forwards nothing between it and anything else: management
/// and bench stay apart even if an address or a route appears there. Frames with a VLAN tag never come here: they belong to the
/// sub-interface, in its namespace. ARP is shut too, because Linux answers for every address it has, on whatever interface.
///
/// By name and by index: a rename keeps the index, a NIC that was out keeps its name.
#[must_use]
pub fn trunk(interface: &Interface, index: u32) -> String {
    let chain = |name: &str, hook: &str, rules: &[&str]| {
        let lines: String = rules
            .iter()
            .map(|rule| {
                let by_index = rule.replace("NAME", &index.to_string());
                let by_name = rule.replace("if NAME", &format!("ifname \"{interface}\""));
                format!("        {by_index} drop\n        {by_name} drop\n")
            })
            .collect();
        format!("    chain {name} {{\n        type filter {hook}; policy accept;\n{lines}    }}\n")
    };
    format!(
        "{RELEASE_TRUNK}table inet tbi_trunk {{\n{}{}{}}}\ntable arp tbi_trunk {{\n{}{}}}\n",
        chain("input", "hook input priority -300", &["iif NAME"]),
        chain("output", "hook output priority -300", &["oif NAME"]),
        chain("forward", "hook forward priority -300", &["iif NAME", "oif NAME"]),
        chain("input", "hook input priority -300", &["iif NAME"]),
        chain("output", "hook output priority -300", &["oif NAME"]),
    )
}

/// Takes the rules of [`trunk`] away, whether they are there or not.
pub const RELEASE_TRUNK: &str =
    "table inet tbi_trunk\ndelete table inet tbi_trunk\ntable arp tbi_trunk\ndelete table arp tbi_trunk\n";
