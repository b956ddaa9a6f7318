//! An external device on a real kernel: the trunk is one end of a veth pair, the device a namespace at the other end that routes. Where
//! the kernel has no 802.1Q, MACVLANs stand in for VLANs, and everything but the tag is the same.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use tbi_bench::catalogue::Catalogue;
use tbi_bench::netplan::{Fabric, IspRouter, Path, Site};
use tbi_bench::topology::Topology;

use super::tests::{comes_through, connects, in_namespaces, persona_of_both_families};
use super::*;

pub(super) const MAC: &str = "52:54:00:00:00:01";

fn plan(path: Path) -> NetworkPlan {
    let fabric = Fabric { site: Site::External { trunk: MAC.parse().unwrap() }, isp: IspRouter::Static };
    NetworkPlan::on(fabric, &Topology::builtin(), &Catalogue::builtin(), path)
}

pub(super) fn host() -> NetworkHost {
    NetworkHost { sublayer: Sublayer::MacVlan, ..NetworkHost::default() }
}

pub(super) fn sh(script: &str) -> String {
    let output = std::process::Command::new("sh")
        .args(["-ec", script])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The NIC, called `ens4`, and its cable into the namespace `device`, which has the device's addresses and routes.
pub(super) fn plug_in_device() {
    sh(&format!(
        "ip netns add device
         ip link add ens4 address {MAC} type veth peer name port netns device
         ip netns exec device sh -ec '
           sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 \\
             net.ipv4.conf.default.rp_filter=0 net.ipv6.conf.default.accept_dad=0 net.ipv4.conf.all.send_redirects=0 \\
             net.ipv4.conf.default.send_redirects=0 net.ipv6.conf.port.accept_dad=0'"
    ));
    plug_in_cable();
}

/// A port that was down has lost its routes and its IPv6 addresses.
fn plug_in_cable() {
    sh("ip netns exec device sh -ec '
           ip link set port up
           for address in 172.16.0.1/24 fd00:172:16::1/64 172.17.0.1/24 fd00:172:17::1/64 200.130.0.1/30 2001:12f0:0:2001::1/64; do
             ip address replace $address dev port
           done
           ip route replace 172.16.0.0/16 via 172.16.0.2
           ip route replace fd00:172:16::/48 via fd00:172:16::2
           ip route replace default via 200.130.0.2
           ip route replace default via 2001:12f0:0:2001::2'");
}

async fn listen(host: &NetworkHost) -> (Vec<TcpListener>, [SocketAddr; 2]) {
    let both = persona_of_both_families(7);
    let bind = move || both.map(|address| TcpListener::bind(address).unwrap()).into();
    (host.room(Namespace::Personas).unwrap().run(bind).await.unwrap(), both)
}

#[test]
fn an_external_device_is_the_only_way() {
    in_namespaces("network::trunk_tests::an_external_device_is_the_only_way", || async {
        plug_in_device();
        let mut host = host();
        let laid = host.lay(&plan(Path::ThroughDut)).await.unwrap();
        assert_eq!((laid.trunk.state, laid.trunk.interface.as_str()), (TrunkState::Up, "ens4"));
        assert!(!Room::exists(Namespace::Dut));
        let (_listeners, both) = listen(&host).await;
        for address in both {
            comes_through(&host, address).await;
        }
        assert_eq!(host.lay(&plan(Path::ThroughDut)).await.unwrap().steps, 0, "nothing to do twice");

        sh("ip netns exec device ip link set port down");
        for address in both {
            assert!(!connects(&host, address).await, "{address} around the device");
        }
        host.lay(&plan(Path::Reference)).await.unwrap();
        assert_eq!(host.lay(&plan(Path::Reference)).await.unwrap().steps, 0);
        for address in both {
            comes_through(&host, address).await;
        }
        plug_in_cable();
        host.lay(&plan(Path::ThroughDut)).await.unwrap();
        comes_through(&host, both[0]).await;
    });
}

#[test]
fn management_and_bench_cannot_reach_each_other() {
    in_namespaces("network::trunk_tests::management_and_bench_cannot_reach_each_other", || async {
        plug_in_device();
        // A careless machine: it forwards, has an address on the trunk and one on a management NIC.
        sh("ip link set lo up
            ip link add mgmt type veth peer name station && ip link set mgmt up && ip link set station up
            ip address add 192.168.7.1/24 dev mgmt
            ip address add 10.9.9.1/24 dev ens4 && ip address add fd09::1/64 dev ens4 nodad && ip link set ens4 up
            sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        sh("ip netns exec device ip address add 10.9.9.2/24 dev port
            ip netns exec device ip route add 192.168.7.0/24 via 10.9.9.1");
        let _management = [TcpListener::bind("192.168.7.1:443").unwrap(), TcpListener::bind("[::]:444").unwrap()];
        sh("ip netns exec device ping -c1 -W1 192.168.7.1");
        let mut host = host();
        host.lay(&plan(Path::ThroughDut)).await.unwrap();

        assert_eq!(sh("ip -o address show dev ens4"), "", "the trunk is bare");
        // Even when somebody puts an address back.
        sh("ip address add 10.9.9.1/24 dev ens4");
        let reaches = |what: &str| sh(&format!("ip netns exec device {what} >/dev/null 2>&1 && echo yes || echo no"));
        sh("ip netns exec device ip neighbour flush dev port");
        assert_eq!(reaches("ping -c1 -W1 10.9.9.1"), "no\n", "the device reaches the machine");
        assert_eq!(reaches("ping -c1 -W1 192.168.7.1"), "no\n", "the device reaches management");
        assert_eq!(
            sh("ip netns exec device ip neighbour show 10.9.9.1 nud reachable"),
            "",
            "the machine answers ARP on the trunk"
        );
        let to_device = UdpSocket::bind("10.9.9.1:0").unwrap().send_to(b"x", "10.9.9.2:9");
        assert!(to_device.is_err(), "the machine reaches the device");
        // It is strange to nobody in the bench: the firewall of the agents, and no route at all elsewhere.
        for namespace in ["agents", "isp", "personas"] {
            let reached = sh(&format!(
                "ip netns exec {namespace} ping -c1 -W1 192.168.7.1 >/dev/null 2>&1 && echo yes || echo no"
            ));
            assert_eq!(reached, "no\n", "{namespace} reaches management");
        }
        assert!(TcpStream::connect_timeout(&persona_of_both_families(7)[0], Duration::from_millis(300)).is_err());
        let links = sh("ip -o link");
        assert!(
            !links.contains("vlan") && !links.contains("reference"),
            "of the plan in the machine's namespace: {links}"
        );

        host.release_trunk().await.unwrap();
        assert!(!sh("nft list tables").contains("tbi_trunk"));
    });
}

#[test]
fn trunk_missing() {
    in_namespaces("network::trunk_tests::trunk_missing", || async {
        let mut host = host();
        let laid = host.lay(&plan(Path::ThroughDut)).await.unwrap();
        assert_eq!((laid.trunk.state, laid.trunk.interface.as_str()), (TrunkState::Missing, ""));
        assert_eq!(
            laid.trunk.sentence,
            format!(
                "the trunk NIC {MAC} is not in this machine; put it back, or choose another trunk or the practice DUT in the settings"
            )
        );
        assert!(laid.steps > 0, "the rest is laid");
        assert_eq!(host.lay(&plan(Path::ThroughDut)).await.unwrap().steps, 0);
        // It comes back: only what was missing is added.
        plug_in_device();
        let healed = host.lay(&plan(Path::ThroughDut)).await.unwrap();
        assert_eq!(healed.trunk.state, TrunkState::Up);
        let (_listeners, both) = listen(&host).await;
        comes_through(&host, both[0]).await;
        comes_through(&host, both[1]).await;
        // It goes again, with its sub-interfaces, while the path is laid; and comes back.
        sh("ip link del ens4 && ip netns del device");
        let gone = host.lay(&plan(Path::ThroughDut)).await.unwrap();
        assert_eq!(gone.trunk.state, TrunkState::Missing);
        plug_in_device();
        assert_eq!(host.lay(&plan(Path::ThroughDut)).await.unwrap().trunk.state, TrunkState::Up);
        comes_through(&host, both[0]).await;
        comes_through(&host, both[1]).await;
    });
}

#[test]
fn trunk_unplugged() {
    in_namespaces("network::trunk_tests::trunk_unplugged", || async {
        plug_in_device();
        sh("ip netns exec device ip link set port down");
        let mut host = host();
        let laid = host.lay(&plan(Path::ThroughDut)).await.unwrap();
        assert_eq!((laid.trunk.state, laid.trunk.interface.as_str()), (TrunkState::NoCarrier, "ens4"));
        assert_eq!(
            laid.trunk.sentence,
            format!("the trunk ens4 ({MAC}) has no link; plug in its cable and check the port at the other end")
        );
        plug_in_cable();
        let again = host.lay(&plan(Path::ThroughDut)).await.unwrap();
        assert_eq!((again.trunk.state, again.trunk.sentence.as_str()), (TrunkState::Up, ""));
        let (_listeners, both) = listen(&host).await;
        comes_through(&host, both[0]).await;
    });
}

#[test]
fn trunk_renamed() {
    in_namespaces("network::trunk_tests::trunk_renamed", || async {
        plug_in_device();
        let mut host = host();
        host.lay(&plan(Path::ThroughDut)).await.unwrap();
        sh("ip link set ens4 down && ip link set ens4 name enp9s0.x");
        let laid = host.lay(&plan(Path::ThroughDut)).await.unwrap();
        assert_eq!((laid.trunk.state, laid.trunk.interface.as_str()), (TrunkState::Up, "enp9s0.x"));
        let (_listeners, both) = listen(&host).await;
        comes_through(&host, both[0]).await;
        comes_through(&host, both[1]).await;
        assert!(sh("nft list table inet tbi_trunk").contains("enp9s0.x"), "the rules follow");
        assert_eq!(host.lay(&plan(Path::ThroughDut)).await.unwrap().steps, 0);
    });
}

#[test]
fn two_nics_with_the_trunks_address() {
    in_namespaces("network::trunk_tests::two_nics_with_the_trunks_address", || async {
        plug_in_device();
        sh(&format!("ip link add ens5 address {MAC} type veth peer name other"));
        let laid = host().lay(&plan(Path::ThroughDut)).await.unwrap();
        assert_eq!(laid.trunk.state, TrunkState::Missing);
        assert!(
            laid.trunk.sentence.contains("ens4") && laid.trunk.sentence.contains("ens5"),
            "{}",
            laid.trunk.sentence
        );
    });
}

#[test]
fn trunk_is_the_management_nic() {
    in_namespaces("network::trunk_tests::trunk_is_the_management_nic", || async {
        plug_in_device();
        sh("ip link set ens4 up && ip address add 192.168.7.5/24 dev ens4 && ip route add default via 192.168.7.1");
        let refused = host().lay(&plan(Path::ThroughDut)).await.unwrap_err().to_string();
        assert!(
            refused.contains("ens4") && refused.contains("default route; choose another NIC as trunk"),
            "{refused}"
        );
        assert!(sh("ip -o address show dev ens4").contains("192.168.7.5"), "management is left alone");
    });
}

/// Back and forth between a real device and the practice DUT, each time by a process that knows nothing.
#[test]
fn the_device_changes() {
    in_namespaces("network::trunk_tests::the_device_changes", || async {
        plug_in_device();
        let practice = NetworkPlan::new(&Topology::builtin(), &Catalogue::builtin(), Path::ThroughDut);
        host().lay(&practice).await.unwrap();
        host().lay(&plan(Path::ThroughDut)).await.unwrap();
        assert!(!Room::exists(Namespace::Dut));
        let mut host = host();
        host.release_trunk().await.unwrap();
        let laid = host.lay(&practice).await.unwrap();
        assert_eq!(laid.trunk.state, TrunkState::NotUsed);
        let (_listeners, both) = listen(&host).await;
        for address in both {
            comes_through(&host, address).await;
        }
        sh("ip link del ens4");
        comes_through(&host, both[0]).await;
    });
}

/// The real sub-interfaces, where the kernel has them; where it has not, the sentence.
#[test]
fn vlans_carry_the_tag_or_the_kernel_says_no() {
    in_namespaces("network::trunk_tests::vlans_carry_the_tag_or_the_kernel_says_no", || async {
        plug_in_device();
        let mut host = NetworkHost::default();
        match host.lay(&plan(Path::ThroughDut)).await {
            Ok(_) => {
                for (namespace, vlan) in [("agents", "20"), ("agents", "30"), ("isp", "2001")] {
                    let shown = sh(&format!("ip -n {namespace} -d link show vlan{vlan}"));
                    assert!(shown.contains(&format!("802.1Q id {vlan} ")), "{shown}");
                }
                assert_eq!(host.lay(&plan(Path::ThroughDut)).await.unwrap().steps, 0);
            }
            Err(error) => {
                assert!(matches!(error, NetworkError::NoVlan { .. }), "{error}");
                assert!(error.to_string().contains("load the kernel module 8021q"), "{error}");
            }
        }
    });
}
