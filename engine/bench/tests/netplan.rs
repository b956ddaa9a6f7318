//! The network plan against its committed form, and what must hold of it whatever the numbers are.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use tbi_bench::catalogue::{AddressFamily, Catalogue};
use tbi_bench::netplan::{
    Action, Fabric, IspRouter, MacAddress, Namespace, NetworkPlan, NetworkState, Path, Site, Table, Via, diff,
    trunk_firewall,
};
use tbi_bench::topology::Topology;

fn plan(path: Path) -> NetworkPlan {
    NetworkPlan::new(&Topology::builtin(), &Catalogue::builtin(), path)
}

fn mac() -> MacAddress {
    "52:54:00:12:34:56".parse().unwrap()
}

/// A real device behind a trunk, and FRR.
fn external(path: Path) -> NetworkPlan {
    let fabric = Fabric { site: Site::External { trunk: mac() }, isp: IspRouter::Frr };
    NetworkPlan::on(fabric, &Topology::builtin(), &Catalogue::builtin(), path)
}

/// The practice DUT, and FRR.
fn practice_frr(path: Path) -> NetworkPlan {
    let fabric = Fabric { site: Site::Practice, isp: IspRouter::Frr };
    NetworkPlan::on(fabric, &Topology::builtin(), &Catalogue::builtin(), path)
}

/// `TBI_UPDATE_SNAPSHOTS=1 cargo test` writes the files anew; the difference is then reviewed like code.
fn compare(name: &str, plan: &NetworkPlan) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/netplan").join(name);
    let text = serde_json::to_string_pretty(plan).unwrap() + "\n";
    if std::env::var_os("TBI_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap();
    assert!(
        committed == text,
        "{name} is not what the code makes; run with TBI_UPDATE_SNAPSHOTS=1 and review the difference"
    );
}

#[test]
fn plans_are_the_committed_ones() {
    compare("through-dut.json", &plan(Path::ThroughDut));
    compare("reference.json", &plan(Path::Reference));
    compare("external-through-dut.json", &external(Path::ThroughDut));
    compare("external-reference.json", &external(Path::Reference));
}

#[test]
fn with_a_trunk_nothing_connects_agents_and_isp_but_the_trunk() {
    let state = external(Path::ThroughDut).state;
    assert!(!state.namespaces.contains(&Namespace::Dut));
    let pairs: BTreeSet<_> = state.links.iter().map(|link| (link.near.namespace, link.far.namespace)).collect();
    assert_eq!(pairs, BTreeSet::from([(Namespace::Isp, Namespace::Personas)]));
    let uplinks: Vec<_> = state
        .uplinks
        .iter()
        .map(|it| (it.trunk, it.vlan.number(), it.end.namespace, it.end.interface.to_string()))
        .collect();
    let expected = [
        (mac(), 20, Namespace::Agents, "vlan20".to_owned()),
        (mac(), 30, Namespace::Agents, "vlan30".to_owned()),
        (mac(), 2001, Namespace::Isp, "vlan2001".to_owned()),
    ];
    assert_eq!(uplinks, expected);
    // On the way around there is one link more, and it is the reference link.
    let around = external(Path::Reference).state;
    let more: Vec<_> = around.links.difference(&state.links).map(|link| link.near.interface.to_string()).collect();
    assert_eq!(more, ["reference"]);
    assert_eq!(around.uplinks, state.uplinks);
}

/// Whatever the path, what is named lies in a namespace of the plan, so nothing lies in the machine's own; and nobody has the
/// addresses of the real device.
#[test]
fn with_a_trunk_nothing_of_the_plan_is_the_machines_or_the_devices() {
    for path in [Path::ThroughDut, Path::Reference] {
        let (state, lab) = (external(path).state, plan(path).state);
        let all = &state.namespaces;
        assert!(state.links.iter().all(|it| all.contains(&it.near.namespace) && all.contains(&it.far.namespace)));
        assert!(state.uplinks.iter().all(|it| all.contains(&it.end.namespace)));
        assert!(state.addresses.iter().all(|it| all.contains(&it.end.namespace)));
        assert!(state.routes.iter().all(|it| all.contains(&it.namespace)));
        assert!(state.sysctls.iter().all(|it| all.contains(&it.namespace)));
        let devices = lab.addresses.iter().filter(|it| it.end.namespace == Namespace::Dut);
        for device in devices {
            assert!(!state.addresses.iter().any(|it| it.address.addr() == device.address.addr()), "{device:?}");
        }
        // The ends that stay look as in the lab.
        let rest: BTreeSet<_> = lab.addresses.iter().filter(|it| it.end.namespace != Namespace::Dut).cloned().collect();
        assert_eq!(state.addresses, rest);
    }
}

#[test]
fn without_the_trunk_everything_else_stands() {
    for path in [Path::ThroughDut, Path::Reference] {
        let whole = external(path).state;
        let rest = whole.without_trunk();
        assert_eq!((rest.trunk, rest.uplinks.len()), (None, 0));
        assert_eq!((&rest.namespaces, &rest.links, &rest.rules), (&whole.namespaces, &whole.links, &whole.rules));
        let ends: BTreeSet<_> = whole.uplinks.iter().map(|uplink| uplink.end.clone()).collect();
        assert!(rest.addresses.iter().all(|address| !ends.contains(&address.end)));
        assert!(rest.routes.iter().all(|route| route.end().is_none_or(|end| !ends.contains(&end))));
        // What comes back with the trunk is only what hangs on it.
        let back = diff(&rest, &whole);
        assert!(back.iter().all(|action| matches!(
            action,
            Action::SetTrunk(_) | Action::AddUplink(_) | Action::AddAddress(_) | Action::AddRoute(_)
        )));
        assert!(matches!(
            &back[..4],
            [Action::SetTrunk(_), Action::AddUplink(_), Action::AddUplink(_), Action::AddUplink(_)]
        ));
        let practice = plan(path).state;
        assert_eq!(practice.without_trunk(), practice);
    }
}

#[test]
fn with_frr_the_isp_has_no_route_of_ours_and_must_show_those_we_had() {
    for path in [Path::ThroughDut, Path::Reference] {
        let of_isp = |state: &NetworkState| -> BTreeSet<_> {
            state.routes.iter().filter(|route| route.namespace == Namespace::Isp).cloned().collect()
        };
        for frr in [practice_frr(path), external(path)] {
            assert!(of_isp(&frr.state).is_empty());
            assert_eq!(frr.expected, of_isp(&plan(path).state));
            assert_eq!(frr.expected.len(), 4);
            assert!(frr.expected.iter().all(|route| route.table == Table::MAIN));
        }
        assert!(plan(path).expected.is_empty());
    }
    let change: Vec<_> = diff(&practice_frr(Path::ThroughDut).state, &practice_frr(Path::Reference).state);
    assert!(
        !change.iter().any(|action| matches!(action, Action::AddRoute(route) if route.namespace == Namespace::Isp))
    );
}

#[test]
fn the_machine_is_deaf_and_dumb_on_the_trunk() {
    let interface = external(Path::ThroughDut).state.uplinks.first().unwrap().end.interface.clone();
    let rules = trunk_firewall(&interface, 7);
    for rule in ["iif 7 drop", "oif 7 drop", "iifname \"vlan20\" drop", "oifname \"vlan20\" drop"] {
        // Both families: input, output and forward of inet, input and output of arp.
        let (inet, arp) = rules.split_once("}\ntable arp tbi_trunk {").unwrap();
        assert_eq!((inet.matches(rule).count(), arp.matches(rule).count()), (2, 1), "{rule} in {rules}");
    }
}

#[test]
fn through_the_dut_no_link_goes_around_it() {
    let state = plan(Path::ThroughDut).state;
    let pairs: BTreeSet<_> = state.links.iter().map(|link| (link.near.namespace, link.far.namespace)).collect();
    let expected =
        [(Namespace::Agents, Namespace::Dut), (Namespace::Dut, Namespace::Isp), (Namespace::Isp, Namespace::Personas)];
    assert_eq!(pairs, BTreeSet::from(expected));
    assert_eq!((state.links.len(), state.addresses.len()), (23, 252));
}

#[test]
fn on_the_reference_path_nothing_is_routed_through_the_dut() {
    let plan = plan(Path::Reference);
    assert!(!plan.state.routes.iter().any(|route| route.namespace == Namespace::Dut));
    let dut_links = plan.inside_interfaces.iter().chain(&plan.outside_interfaces);
    for interface in dut_links {
        let used = plan.state.routes.iter().any(|route| {
            route.namespace != Namespace::Personas
                && matches!(&route.via, Via::Gateway { interface: used, .. } if used == interface)
        });
        assert!(!used, "{interface}");
    }
}

#[test]
fn sources_are_ours_and_come_back_and_are_not_the_gateway() {
    let plan = plan(Path::ThroughDut);
    assert_eq!((plan.sources.len(), plan.sources_of(AddressFamily::Ipv4).len()), (4, 2));
    for source in &plan.sources {
        let ours = plan.state.routes.iter().any(|route| route.via == Via::Local && route.destination == *source);
        assert!(ours, "{source}");
        for namespace in [Namespace::Dut, Namespace::Isp] {
            let back = plan.state.routes.iter().any(|route| {
                route.namespace == namespace && route.destination.prefix_len() > 0 && route.destination.contains(source)
            });
            assert!(back, "{namespace} has no way back to {source}");
        }
        assert!(!plan.state.addresses.iter().any(|address| source.contains(&address.address.addr())), "{source}");
    }
}

#[test]
fn the_same_state_needs_no_action() {
    for path in [Path::ThroughDut, Path::Reference] {
        for plan in [plan, external, practice_frr] {
            assert_eq!(diff(&plan(path).state, &plan(path).state), []);
        }
    }
}

/// The actions of a diff, carried out on a model of the kernel, lead to the wanted state.
#[test]
fn actions_lead_where_they_should() {
    let plans = [plan, external, practice_frr].into_iter();
    let plans = plans.flat_map(|plan| [Path::ThroughDut, Path::Reference].map(|path| plan(path).state));
    let mut states: Vec<NetworkState> = plans.collect();
    states.extend([NetworkState::default(), external(Path::ThroughDut).state.without_trunk()]);
    for from in &states {
        for to in &states {
            let mut model = from.clone();
            for action in diff(from, to) {
                carry_out(&mut model, action);
            }
            assert_eq!(model, *to);
        }
    }
}

/// A pulled cable (its link is gone, with addresses and routes) is put back.
#[test]
fn a_pulled_cable_is_restored() {
    let wanted = plan(Path::ThroughDut).state;
    let mut found = wanted.clone();
    let edge = wanted.links.iter().find(|link| link.far.namespace == Namespace::Isp).unwrap().clone();
    carry_out(&mut found, Action::RemoveLink(edge));
    assert_ne!(found, wanted);
    for action in diff(&found.clone(), &wanted) {
        carry_out(&mut found, action);
    }
    assert_eq!(found, wanted);
}

/// Changing paths removes the old way before the new one is built.
#[test]
fn the_way_around_goes_before_the_way_through_comes() {
    let actions = diff(&plan(Path::Reference).state, &plan(Path::ThroughDut).state);
    let removed = actions.iter().position(|action| matches!(action, Action::RemoveLink(_))).unwrap();
    let added = actions.iter().position(|action| matches!(action, Action::AddRoute(_))).unwrap();
    assert!(removed < added);
}

fn carry_out(model: &mut NetworkState, action: Action) {
    let fresh = match action {
        Action::RemoveRule(rule) => model.rules.remove(&rule),
        Action::RemoveRoute(route) => model.routes.remove(&route),
        Action::RemoveAddress(address) => model.addresses.remove(&address),
        Action::RemoveLink(link) => {
            let ends = [link.near.clone(), link.far.clone()];
            model.addresses.retain(|address| !ends.contains(&address.end));
            model.routes.retain(|route| match &route.via {
                Via::Gateway { interface, .. } => {
                    !ends.iter().any(|end| end.namespace == route.namespace && end.interface == *interface)
                }
                Via::Local => true,
            });
            model.links.remove(&link)
        }
        Action::RemoveFirewall(namespace) => model.firewalls.remove(&namespace).is_some(),
        Action::RemoveNamespace(namespace) => {
            model.links.retain(|link| link.near.namespace != namespace && link.far.namespace != namespace);
            // Virtual interfaces end with their namespace (`default_device_exit_batch` in the kernel's net/core/dev.c).
            model.uplinks.retain(|uplink| uplink.end.namespace != namespace);
            model.addresses.retain(|address| address.end.namespace != namespace);
            model.routes.retain(|route| route.namespace != namespace);
            model.rules.retain(|rule| rule.namespace != namespace);
            model.sysctls.retain(|sysctl| sysctl.namespace != namespace);
            model.firewalls.remove(&namespace);
            model.namespaces.remove(&namespace)
        }
        Action::AddNamespace(namespace) => model.namespaces.insert(namespace),
        Action::SetSysctl(sysctl) => model.sysctls.insert(sysctl),
        Action::SetFirewall(namespace, script) => {
            model.firewalls.insert(namespace, script);
            true
        }
        Action::AddLink(link) => model.links.insert(link),
        Action::SetTrunk(trunk) => model.trunk.replace(trunk) != Some(trunk),
        Action::ReleaseTrunk(trunk) => model.trunk.take() == Some(trunk),
        Action::AddUplink(uplink) => model.trunk == Some(uplink.trunk) && model.uplinks.insert(uplink),
        Action::RemoveUplink(uplink) => {
            model.addresses.retain(|address| address.end != uplink.end);
            model.routes.retain(|route| route.end().as_ref() != Some(&uplink.end));
            model.uplinks.remove(&uplink)
        }
        Action::AddAddress(address) => model.addresses.insert(address),
        Action::AddRoute(route) => model.routes.insert(route),
        Action::AddRule(rule) => model.rules.insert(rule),
    };
    assert!(fresh, "an action changed nothing");
}
