//! The network plan against its committed form, and what must hold of it whatever the numbers are.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use tbi_bench::catalogue::{AddressFamily, Catalogue};
use tbi_bench::netplan::{Action, Namespace, NetworkPlan, NetworkState, Path, Via, diff};
use tbi_bench::topology::Topology;

fn plan(path: Path) -> NetworkPlan {
    NetworkPlan::new(&Topology::builtin(), &Catalogue::builtin(), path)
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
        assert_eq!(diff(&plan(path).state, &plan(path).state), []);
    }
}

/// The actions of a diff, carried out on a model of the kernel, lead to the wanted state.
#[test]
fn actions_lead_where_they_should() {
    let states = [NetworkState::default(), plan(Path::ThroughDut).state, plan(Path::Reference).state];
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
        Action::AddAddress(address) => model.addresses.insert(address),
        Action::AddRoute(route) => model.routes.insert(route),
        Action::AddRule(rule) => model.rules.insert(rule),
    };
    assert!(fresh, "an action changed nothing");
}
