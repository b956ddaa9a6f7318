//! What is written is what the topology says; what an operator's file lacks has a sentence, each fault its test.
#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::frr::FrrFiles;
use super::vyos::{InterfaceNames, Node, ReadError, Tree, missing, missing_routes, write, write_for_the_slot};
use super::*;

fn tree() -> Tree {
    write(&Topology::builtin(), &Catalogue::builtin(), &InterfaceNames::default())
}

fn lacks(text: &str) -> Vec<String> {
    missing(&Tree::parse(text).unwrap(), &Topology::builtin(), &Catalogue::builtin())
}

/// Our own file with one place spoilt: exactly one sentence, which says this.
fn spoilt(from: &str, to: &str) -> String {
    let text = tree().to_string();
    assert!(text.contains(from), "{from} is not in {text}");
    let mut sentences = lacks(&text.replacen(from, to, 1));
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    sentences.remove(0)
}

#[test]
fn frr_routes_every_agent_prefix_over_both_ways() {
    let files = FrrFiles::new(&Topology::builtin());
    let routes: Vec<&str> = files.frr_conf.lines().filter(|line| line.contains(" route ")).collect();
    let expected = [
        "ip route 172.16.0.0/16 198.18.255.1 reference 1",
        "ip route 172.16.0.0/16 200.130.0.1 vlan2001 10",
        "ipv6 route fd00:172:16::/48 2001:2:0:ffff::1 reference 1",
        "ipv6 route fd00:172:16::/48 2001:12f0:0:2001::1 vlan2001 10",
        "ip route 172.17.0.0/16 198.18.255.1 reference 1",
        "ip route 172.17.0.0/16 200.130.0.1 vlan2001 10",
        "ipv6 route fd00:172:17::/48 2001:2:0:ffff::1 reference 1",
        "ipv6 route fd00:172:17::/48 2001:12f0:0:2001::1 vlan2001 10",
    ];
    assert_eq!(routes, expected);
    assert!(files.frr_conf.contains("frr defaults traditional\nhostname isp\n"));
    assert!(files.vtysh_conf.contains("service integrated-vtysh-config"));
    let options = files.daemons.lines().filter(|line| line.contains("_options=")).collect::<Vec<_>>();
    assert!(options.len() == 3 && options.iter().all(|line| line.contains("-P 0")), "{options:?}");
    assert!(!files.daemons.contains("bgpd=yes"));
}

#[test]
fn the_vyos_file_has_what_the_topology_wants() {
    let text = tree().to_string();
    assert_eq!(Tree::parse(&text), Ok(tree()));
    assert_eq!(lacks(&text), Vec::<String>::new());
    let trunk = tree().find(&["interfaces"]).unwrap().named("ethernet").next().unwrap().clone();
    assert_eq!(trunk.named("vif").count(), 21, "the edge and twenty countries");
    assert!(text.ends_with("// vyos-config-version: \"interfaces@32:quagga@11:system@27\"\n"), "{text}");
}

#[test]
fn in_the_slot_there_are_routes_and_no_interfaces() {
    let text = write_for_the_slot(&Topology::builtin()).to_string();
    let read = Tree::parse(&text).unwrap();
    assert_eq!(missing_routes(&read, &Topology::builtin()), Vec::<String>::new());
    assert!(read.find(&["interfaces"]).is_none(), "{text}");
    assert_eq!(lacks(&text).len(), 44, "by itself it would lack every address");
}

#[test]
fn address_missing() {
    let sentence = spoilt("address \"200.130.0.2/30\"", "address \"200.130.0.6/30\"");
    assert_eq!(sentence, "no interface has the address 200.130.0.2/30 of 'edge'; add it on VLAN 2001.");
    let sentence = spoilt("address \"198.18.255.2/30\"", "address \"dhcp\"");
    assert_eq!(sentence, "no interface has the address 198.18.255.2/30 of 'reference'; add it.");
}

#[test]
fn address_on_another_vlan() {
    let text = tree().to_string().replacen("vif 2001 {", "vif 2002 {", 1);
    let sentences = lacks(&text);
    assert_eq!(sentences.len(), 2, "{sentences:?}");
    assert!(sentences[0].contains("200.130.0.2/30") && sentences[0].contains("VLAN 2001"), "{sentences:?}");
}

#[test]
fn address_on_an_interface_that_is_no_vlan_counts() {
    let text = tree().to_string();
    let disabled = text.replacen("vif 2001 {", "vif 2001 {\n disable", 1);
    assert_eq!(lacks(&disabled).len(), 2, "a disabled interface has no address");
    let whole = "    ethernet eth7 {\n        address 200.130.0.2/30\n        address 2001:12f0:0:2001::2/64\n    }\n";
    let moved = disabled.replacen("interfaces {\n", &format!("interfaces {{\n{whole}"), 1);
    assert_eq!(lacks(&moved), Vec::<String>::new());
}

#[test]
fn route_missing() {
    let text = tree().to_string().replacen("route 172.17.0.0/16 {", "route 172.18.0.0/16 {", 1);
    let sentences = lacks(&text);
    assert_eq!(sentences.len(), 2, "one for each next hop: {sentences:?}");
    assert!(sentences.iter().all(|sentence| sentence.starts_with("no route to 172.17.0.0/16 over ")), "{sentences:?}");
}

#[test]
fn route_next_hop_missing() {
    let sentence = spoilt("next-hop 200.130.0.1 {", "next-hop 200.130.0.9 {");
    assert!(
        sentence.starts_with("no route to 172.16.0.0/16 over 200.130.0.1; add `set protocols static route"),
        "{sentence}"
    );
    let sentence = spoilt("next-hop 2001:2:0:ffff::1 {", "next-hop 2001:2:0:ffff::1 {\n disable");
    assert!(
        sentence.contains("set protocols static route6 fd00:172:16::/48 next-hop 2001:2:0:ffff::1 distance 1"),
        "{sentence}"
    );
}

#[test]
fn reference_path_would_not_win() {
    let sentence = spoilt("distance \"10\"", "distance \"1\"");
    assert!(sentence.contains("has distance 1, not less than the 1 over 200.130.0.1"), "{sentence}");
}

#[test]
fn version_footer_missing() {
    let sentence = spoilt("// vyos-config-version:", "// once:");
    assert!(sentence.contains("no version footer"), "{sentence}");
}

#[test]
fn an_empty_file_lacks_everything() {
    // Twice twenty-two addresses, eight next hops, the footer.
    assert_eq!(lacks("").len(), 44 + 8 + 1);
}

#[test]
fn faults_name_their_line() {
    let cases = [
        ("a {\n}\n}\n", 3),
        ("a\n\n/* b */ c\n", 3),
        ("a {\n// vyos-config-version: \"x\"\n}\n", 2),
        ("a \"b\\c\"\n", 1),
        ("a b c\n", 1),
        ("a b\u{7}\n", 1),
    ];
    for (text, line) in cases {
        assert!(matches!(Tree::parse(text), Err(ReadError::Line { line: found, .. }) if found == line), "{text}");
    }
    for cut in ["a {\n", "/* a\n"] {
        assert_eq!(Tree::parse(cut), Err(ReadError::Cut));
    }
}

#[test]
fn bounds_hold() {
    assert_eq!(Tree::parse(&" ".repeat(3 << 20)), Err(ReadError::TooLarge));
    assert_eq!(Tree::parse(&"a\n".repeat(100_001)), Err(ReadError::TooMany));
    let deep = |levels: usize| "a {\n".repeat(levels) + &"}\n".repeat(levels);
    assert!(Tree::parse(&deep(32)).is_ok());
    assert!(matches!(Tree::parse(&deep(33)), Err(ReadError::Line { line: 33, .. })));
    assert!(Tree::parse(&format!("a {}\n", "b".repeat(70_000))).is_err());
}

fn node() -> impl Strategy<Value = Node> {
    let name = "[a-z][a-z0-9-]{0,8}";
    let value = proptest::option::of("[ -~é]{0,12}");
    let leaf = (name, value.clone()).prop_map(|(name, value)| Node { name, value, children: None });
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let children = proptest::collection::vec(inner, 0..4);
        (name, value.clone(), children).prop_map(|(name, value, children)| Node {
            name,
            value,
            children: Some(children),
        })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(nodes in proptest::collection::vec(node(), 0..6)) {
        let tree = Tree::new(nodes, "a@1");
        prop_assert_eq!(Tree::parse(&tree.to_string()), Ok(tree));
    }

    #[test]
    fn no_text_is_a_panic(text in "([a-z{}\"/* \\\\\n]|\\PC){0,200}") {
        if let Ok(tree) = Tree::parse(&text) {
            prop_assert_eq!(Tree::parse(&tree.to_string()), Ok(tree));
        }
    }
}
