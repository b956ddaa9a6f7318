//! One test per fault, named after it: the built-in file with one place spoilt.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn spoilt(from: &str, to: &str) -> TopologyError {
    assert!(BUILTIN.contains(from), "{from}");
    Topology::parse(&BUILTIN.replacen(from, to, 1), &Catalogue::builtin()).unwrap_err()
}

#[test]
fn the_topology_that_ships_runs_in_the_lab() {
    let topology = Topology::builtin();
    assert_eq!(topology.check_lab(), Ok(()));
    let inside = &topology.inside()[0];
    assert_eq!(inside.sources().map(|net| net.to_string()), ["172.16.128.0/17", "fd00:172:16:1::/64"]);
    let [ipv4, ipv6] = inside.link_addresses();
    let shown = [ipv4.near, ipv4.far, ipv6.far].map(|net| net.to_string());
    assert_eq!(shown, ["172.16.0.2/24", "172.16.0.1/24", "fd00:172:16::1/64"]);
    assert_eq!(topology.edge().link_addresses()[0].far.to_string(), "200.130.0.2/30");
}

#[test]
fn topologies_that_need_an_appliance_parse_and_say_so() {
    for (axis, from, to) in [
        ("deployment_nodes", "single", "dual"),
        ("deployment_nodes", "single", "tri"),
        ("deployment_nodes", "single", "multi"),
        ("l2_fabric", "none", "nexus"),
        ("dut_type", "practice", "forti_gate"),
        ("dut_type", "practice", "cisco_ftd"),
        ("dut_type", "practice", "palo_alto"),
    ] {
        let text = BUILTIN.replacen(&format!("{axis}: {from}"), &format!("{axis}: {to}"), 1);
        let error = Topology::parse(&text, &Catalogue::builtin()).unwrap().check_lab().unwrap_err();
        assert_eq!(error, TopologyError::NotInTheLab { axis, value: to.to_owned() });
    }
}

#[test]
fn unknown_field() {
    let error = spoilt("vlan: 2001", "vlan: 2001\n  colour: blue");
    assert!(matches!(&error, TopologyError::Yaml { detail } if detail.contains("colour")), "{error}");
    let error = spoilt("vlan: 2001", "vlan: 5000");
    assert!(matches!(&error, TopologyError::Yaml { detail } if detail.contains("4094")), "{error}");
}

#[test]
fn overlapping_subnets() {
    let error = spoilt(
        "{ prefix: 200.130.0.0/30, dut: 200.130.0.1, isp: 200.130.0.2 }",
        "{ prefix: 200.160.4.8/30, dut: 200.160.4.9, isp: 200.160.4.10 }",
    );
    assert!(matches!(&error, TopologyError::Overlap { first, .. } if first == "country 'br'"), "{error}");
    let error = spoilt("172.17.0.0/16", "172.16.0.0/16");
    let expected = "inside network 'synthetic'";
    assert!(matches!(&error, TopologyError::Overlap { second, .. } if second == expected), "{error}");
}

#[test]
fn duplicate_vlan() {
    assert!(matches!(spoilt("vlan: 30", "vlan: 20"), TopologyError::DuplicateVlan { .. }));
    assert!(matches!(spoilt("vlan: 2001", "vlan: 120"), TopologyError::DuplicateVlan { .. }));
}

#[test]
fn wrong_shapes() {
    assert!(matches!(spoilt("172.17.0.0/16", "172.17.0.0/17"), TopologyError::PrefixShape { wanted: 16, .. }));
    assert!(matches!(spoilt("172.17.0.0/16", "172.17.0.1/16"), TopologyError::PrefixShape { .. }));
    assert!(matches!(spoilt("prefix: 200.130.0.0/30", "prefix: 200.130.0.1/30"), TopologyError::HostBits { .. }));
    assert!(matches!(spoilt("dut: 200.130.0.1", "dut: 200.130.0.2"), TopologyError::Ends { .. }));
    assert!(matches!(spoilt("dut: 200.130.0.1", "dut: 200.130.0.3"), TopologyError::Ends { .. }));
    let other_family = spoilt(
        "{ prefix: 200.130.0.0/30, dut: 200.130.0.1, isp: 200.130.0.2 }",
        "{ prefix: \"2001:5::/64\", dut: \"2001:5::1\", isp: \"2001:5::2\" }",
    );
    assert!(matches!(other_family, TopologyError::Family { .. }));
}

#[test]
fn too_large_and_no_inside_network() {
    let catalogue = Catalogue::builtin();
    assert_eq!(Topology::parse(&"#".repeat(MAX_TEXT + 1), &catalogue).unwrap_err(), TopologyError::TooLarge);
    let start = BUILTIN.find("  - { name").unwrap();
    let end = BUILTIN.find("\n\n# Between").unwrap();
    let text = BUILTIN.replacen(&BUILTIN[start..end], "  []", 1);
    assert_eq!(Topology::parse(&text, &catalogue).unwrap_err(), TopologyError::InsideCount { found: 0 });
}
