//! The plan on a real kernel. Each test runs itself again inside fresh namespaces, as an ordinary user could.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use tbi_bench::catalogue::{AddressFamily, Catalogue};
use tbi_bench::netplan::Path;
use tbi_bench::topology::Topology;
use tokio::net::TcpSocket;

use super::*;

const INSIDE: &str = "TBI_TEST_INSIDE";

/// Runs `test` in new user, network, mount and pid namespaces with an empty /run.
pub(crate) fn in_namespaces<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F) {
    if std::env::var_os(INSIDE).is_none() {
        let status = std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL"])
            .arg("--mount-proc")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .status()
            .unwrap();
        assert!(status.success(), "{name} failed inside its namespaces");
        return;
    }
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test());
}

fn plan(path: Path) -> NetworkPlan {
    NetworkPlan::new(&Topology::builtin(), &Catalogue::builtin(), path)
}

fn persona(index: usize, family: AddressFamily) -> SocketAddr {
    let target = &Catalogue::builtin().targets(family)[index];
    (target.address, target.port).into()
}

pub(crate) fn persona_of_both_families(index: usize) -> [SocketAddr; 2] {
    BOTH.map(|family| persona(index, family))
}

const BOTH: [AddressFamily; 2] = [AddressFamily::Ipv4, AddressFamily::Ipv6];

/// Every persona listens, as far as these tests need: connections wait in the backlog, nobody accepts.
async fn listen(host: &NetworkHost, addresses: Vec<SocketAddr>) -> Vec<TcpListener> {
    let bind = move || addresses.into_iter().map(|address| TcpListener::bind(address).unwrap()).collect();
    host.room(Namespace::Personas).unwrap().run(bind).await.unwrap()
}

/// Whether an agent gets a TCP connection through.
pub(crate) async fn connects(host: &NetworkHost, address: SocketAddr) -> bool {
    let connect = move || TcpStream::connect_timeout(&address, Duration::from_millis(700)).is_ok();
    host.room(Namespace::Agents).unwrap().run(connect).await.unwrap()
}

/// Waits until a link that has just come up carries something: its other end may still be looking for neighbours.
pub(crate) async fn comes_through(host: &NetworkHost, address: SocketAddr) {
    let end = Instant::now() + Duration::from_secs(10);
    while !connects(host, address).await {
        assert!(Instant::now() < end, "nothing comes through to {address}");
    }
}

async fn succeeds(host: &NetworkHost, namespace: Namespace, program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    host.spawn_in(namespace, command).await.unwrap().wait().await.unwrap().success()
}

#[test]
fn traffic_passes_through_the_dut_and_only_there() {
    in_namespaces("network::tests::traffic_passes_through_the_dut_and_only_there", || async {
        let mut host = NetworkHost::default();
        let started = Instant::now();
        host.apply(&plan(Path::ThroughDut)).await.unwrap();
        let took = started.elapsed();
        println!("applying the whole plan took {took:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");

        let all: Vec<SocketAddr> = BOTH.iter().flat_map(|&family| (0..100).map(move |i| persona(i, family))).collect();
        let _listeners = listen(&host, all.clone()).await;
        for address in all {
            comes_through(&host, address).await;
        }

        // The cable between DUT and ISP router.
        host.delete_link(Namespace::Dut, &plan(Path::ThroughDut).outside_interfaces[0]).await.unwrap();
        for family in BOTH {
            assert!(!connects(&host, persona(0, family)).await, "a way around the DUT");
        }
        let restored = host.apply(&plan(Path::ThroughDut)).await.unwrap();
        assert!(restored > 0);
        for family in BOTH {
            comes_through(&host, persona(99, family)).await;
        }
    });
}

#[test]
fn applying_twice_changes_nothing() {
    in_namespaces("network::tests::applying_twice_changes_nothing", || async {
        let mut host = NetworkHost::default();
        for path in [Path::ThroughDut, Path::Reference] {
            assert!(host.apply(&plan(path)).await.unwrap() > 0);
            assert_eq!(host.apply(&plan(path)).await.unwrap(), 0, "{path:?}");
        }
        // Another host that knows nothing finds what is there; only the firewalls are set again.
        let mut other = NetworkHost::default();
        assert_eq!(other.apply(&plan(Path::Reference)).await.unwrap(), 2);
        assert!(other.remove_all().await.unwrap() > 0);
        assert!(!Room::exists(Namespace::Agents));
    });
}

#[test]
fn the_reference_path_comes_and_goes() {
    in_namespaces("network::tests::the_reference_path_comes_and_goes", || async {
        let mut host = NetworkHost::default();
        host.apply(&plan(Path::ThroughDut)).await.unwrap();
        let _listeners = listen(&host, BOTH.map(|family| persona(7, family)).to_vec()).await;
        host.apply(&plan(Path::Reference)).await.unwrap();
        // With the DUT's cable pulled there is still a way: the one around it.
        host.delete_link(Namespace::Dut, &plan(Path::ThroughDut).outside_interfaces[0]).await.unwrap();
        for family in BOTH {
            comes_through(&host, persona(7, family)).await;
        }
        host.apply(&plan(Path::ThroughDut)).await.unwrap();
        assert!(!succeeds(&host, Namespace::Agents, "ip", &["link", "show", "reference"]).await);
        for family in BOTH {
            comes_through(&host, persona(7, family)).await;
        }
        for interface in plan(Path::ThroughDut).inside_interfaces {
            host.delete_link(Namespace::Dut, &interface).await.unwrap();
        }
        for family in BOTH {
            assert!(!connects(&host, persona(7, family)).await, "the way around is gone");
        }
    });
}

/// Connects from a given source address and says whom the persona saw.
async fn seen_source(host: &NetworkHost, source: IpAddr, target: SocketAddr) -> IpAddr {
    let listener = listen(host, vec![target]).await.remove(0);
    let bound = move || {
        let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        socket.bind((source, 0).into()).unwrap();
        socket
    };
    let socket = host.room(Namespace::Agents).unwrap().run(bound).await.unwrap();
    let connection = tokio::time::timeout(Duration::from_secs(2), socket.connect(target)).await.unwrap();
    drop(connection.unwrap());
    listener.accept().unwrap().1.ip()
}

#[test]
fn every_address_of_the_pools_is_a_source_on_both_paths() {
    in_namespaces("network::tests::every_address_of_the_pools_is_a_source_on_both_paths", || async {
        let mut host = NetworkHost::default();
        for path in [Path::ThroughDut, Path::Reference] {
            let plan = plan(path);
            host.apply(&plan).await.unwrap();
            for pool in &plan.sources {
                let family = if pool.addr().is_ipv4() { AddressFamily::Ipv4 } else { AddressFamily::Ipv6 };
                for source in [pool.network(), pool.broadcast()] {
                    assert_eq!(seen_source(&host, source, persona(42, family)).await, source);
                }
            }
        }
    });
}

#[test]
fn agents_reach_nothing_but_the_test_ranges_and_personas_answer_on_443_only() {
    let name = "network::tests::agents_reach_nothing_but_the_test_ranges_and_personas_answer_on_443_only";
    in_namespaces(name, || async {
        let mut host = NetworkHost::default();
        host.apply(&plan(Path::ThroughDut)).await.unwrap();
        for refused in ["192.168.1.1", "10.0.0.1", "169.254.1.1", "8.8.8.8", "200.130.0.2", "fd00::1", "2001:4860::1"] {
            let address: SocketAddr = (refused.parse::<IpAddr>().unwrap(), 443).into();
            let kind = host.room(Namespace::Agents).unwrap();
            let error = kind.run(move || UdpSocket::bind(any(address)).unwrap().send_to(b"x", address)).await.unwrap();
            assert!(error.is_err(), "{refused} was let out");
        }
        for family in BOTH {
            let mut other_port = persona(3, family);
            other_port.set_port(80);
            let _listeners = listen(&host, vec![other_port, persona(3, family)]).await;
            assert!(!connects(&host, other_port).await, "{other_port}");
            comes_through(&host, persona(3, family)).await;
        }
    });
}

fn any(like: SocketAddr) -> SocketAddr {
    if like.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() }
}

#[test]
fn what_others_made_is_left_alone() {
    in_namespaces("network::tests::what_others_made_is_left_alone", || async {
        let mut host = NetworkHost::default();
        host.apply(&plan(Path::ThroughDut)).await.unwrap();
        let add: [&[&str]; 2] = [
            &["rule", "add", "fwmark", "1", "lookup", "100"],
            &["route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100"],
        ];
        for arguments in add {
            assert!(succeeds(&host, Namespace::Dut, "ip", arguments).await);
        }
        assert_eq!(host.apply(&plan(Path::ThroughDut)).await.unwrap(), 0);
        host.apply(&plan(Path::Reference)).await.unwrap();
        assert!(succeeds(&host, Namespace::Dut, "ip", &["route", "get", "1.2.3.4", "mark", "1"]).await);
    });
}

#[test]
fn errors_name_namespace_object_and_remedy() {
    in_namespaces("network::tests::errors_name_namespace_object_and_remedy", || async {
        let mut host = NetworkHost::default();
        let absent = host.delete_link(Namespace::Dut, &Interface::reference()).await.unwrap_err();
        assert_eq!(absent.to_string(), "network namespace 'dut' does not exist; apply the network plan first");
        host.apply(&plan(Path::ThroughDut)).await.unwrap();
        let absent = host.delete_link(Namespace::Dut, &Interface::reference()).await.unwrap_err();
        let expected = "interface 'reference' does not exist in network namespace 'dut'; apply the network plan again";
        assert_eq!(absent.to_string(), expected);
        let missing = host.spawn_in(Namespace::Isp, Command::new("/nowhere/tbi-engine")).await.unwrap_err();
        assert!(missing.to_string().contains("/nowhere/tbi-engine in network namespace 'isp'"), "{missing}");
        let script = act::firewall(host.room(Namespace::Isp).unwrap(), "nonsense\n").await.unwrap_err();
        assert!(
            matches!(&script, NetworkError::Firewall { reason, .. } if reason.contains("syntax error")),
            "{script}"
        );
    });
}
