//! Probes on a real kernel: the trunk is one end of a veth pair, the device and its neighbour are at the other.
#![expect(clippy::unwrap_used, reason = "tests")]

use tbi_bench::catalogue::Catalogue;
use tbi_bench::netplan::{Fabric, IspRouter, Path, Site};
use tbi_bench::topology::Topology;

use super::super::tests::in_namespaces;
use super::super::trunk_tests::{MAC, host, plug_in_device, sh};
use super::*;

fn plan(isp: IspRouter) -> NetworkPlan {
    let fabric = Fabric { site: Site::External { trunk: MAC.parse().unwrap() }, isp };
    NetworkPlan::on(fabric, &Topology::builtin(), &Catalogue::builtin(), Path::ThroughDut)
}

/// Asks in both namespaces, as the two units do.
async fn ask_everywhere(plan: &NetworkPlan) -> Vec<VlanSeen> {
    let mut host = host();
    host.lay(plan).await.unwrap();
    let mut seen = Vec::new();
    for namespace in [Namespace::Agents, Namespace::Isp] {
        let targets = targets(plan, namespace);
        seen.extend(host.room(namespace).unwrap().run(move || ask(targets, || 0.0)).await.unwrap().unwrap());
    }
    seen
}

fn of(seen: &[VlanSeen], whose: Whose) -> Vec<&Probed> {
    seen.iter().flat_map(|vlan| &vlan.addresses).filter(|probed| probed.whose == whose).collect()
}

#[test]
fn what_is_asked_is_what_the_topology_puts_on_the_trunk() {
    for isp in [IspRouter::Static, IspRouter::Frr] {
        let plan = plan(isp);
        let asked: Vec<(u16, String)> = [Namespace::Agents, Namespace::Isp]
            .into_iter()
            .flat_map(|namespace| targets(&plan, namespace))
            .flat_map(|target| {
                target.addresses.into_iter().map(move |(address, whose)| (target.vlan, format!("{address} {whose:?}")))
            })
            .collect();
        let expected = [
            (20, "172.16.0.2 Ours"),
            (20, "fd00:172:16::2 Ours"),
            (20, "172.16.0.1 Device"),
            (20, "fd00:172:16::1 Device"),
            (30, "172.17.0.2 Ours"),
            (30, "fd00:172:17::2 Ours"),
            (30, "172.17.0.1 Device"),
            (30, "fd00:172:17::1 Device"),
            (2001, "200.130.0.2 Ours"),
            (2001, "2001:12f0:0:2001::2 Ours"),
            (2001, "200.130.0.1 Device"),
            (2001, "2001:12f0:0:2001::1 Device"),
        ]
        .map(|(vlan, text)| (vlan, text.to_owned()));
        assert_eq!(asked, expected, "{isp:?}");
    }
    let practice = NetworkPlan::new(&Topology::builtin(), &Catalogue::builtin(), Path::ThroughDut);
    assert_eq!(targets(&practice, Namespace::Agents), []);
}

#[test]
fn no_neighbour_has_our_addresses_and_the_device_has_its_own() {
    in_namespaces("network::probe::tests::no_neighbour_has_our_addresses_and_the_device_has_its_own", || async {
        plug_in_device();
        let port = sh("ip netns exec device cat /sys/class/net/port/address");
        let seen = ask_everywhere(&plan(IspRouter::Static)).await;
        assert_eq!(seen.iter().map(|vlan| vlan.vlan).collect::<Vec<_>>(), [20, 30, 2001]);
        for probed in of(&seen, Whose::Ours) {
            assert!(probed.answers.is_empty() && probed.probes == 3, "{probed:?}");
        }
        for probed in of(&seen, Whose::Device) {
            assert_eq!(probed.answers, [port.trim()], "{probed:?}");
        }
        assert!(seen.iter().all(|vlan| vlan.trouble.is_empty() && vlan.frames > 0 && vlan.echoes == 0), "{seen:?}");
    });
}

#[test]
fn a_neighbour_that_has_our_address_is_told_with_its_hardware_address() {
    in_namespaces(
        "network::probe::tests::a_neighbour_that_has_our_address_is_told_with_its_hardware_address",
        || async {
            plug_in_device();
            let port = sh("ip netns exec device cat /sys/class/net/port/address");
            sh("ip netns exec device sh -ec '
              ip address add 172.17.0.2/32 dev port
              ip address add fd00:172:16::2/128 dev port nodad'");
            let seen = ask_everywhere(&plan(IspRouter::Static)).await;
            let taken: Vec<_> =
                of(&seen, Whose::Ours).into_iter().filter(|probed| !probed.answers.is_empty()).collect();
            assert!(taken.iter().all(|probed| probed.answers == [port.trim()]), "{taken:?}");
            let taken: BTreeSet<String> = taken.iter().map(|probed| probed.address.to_string()).collect();
            assert_eq!(taken, ["172.17.0.2", "fd00:172:16::2"].map(str::to_owned).into());
        },
    );
}

#[test]
fn a_trunk_on_which_nothing_is_heard_and_one_that_is_not_laid() {
    in_namespaces("network::probe::tests::a_trunk_on_which_nothing_is_heard_and_one_that_is_not_laid", || async {
        plug_in_device();
        sh("ip netns exec device ip address flush dev port scope global
            ip netns exec device sysctl -qw net.ipv6.conf.port.disable_ipv6=1 net.ipv4.conf.port.arp_ignore=8");
        let plan = plan(IspRouter::Static);
        let seen = ask_everywhere(&plan).await;
        assert!(seen.iter().all(|vlan| vlan.frames == 0 && vlan.trouble.is_empty()), "{seen:?}");
        assert!(of(&seen, Whose::Device).iter().all(|probed| probed.answers.is_empty()));
        // Outside of the namespace there is no such interface.
        let error = ask(targets(&plan, Namespace::Agents), || 0.0).unwrap_err().to_string();
        assert!(error.contains("'vlan20' of VLAN 20 is not in this network namespace"), "{error}");
    });
}
