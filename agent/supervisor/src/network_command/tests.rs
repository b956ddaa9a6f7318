//! The command as systemd starts it, in namespaces of its own; each fault of its input named. One test starts Debian's FRR.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::process::Child;

use serde_json::Value;
use tbi_bench::isp::frr::FrrFiles;
use tbi_bench::topology::Topology;

use super::*;
use crate::network::tests::in_namespaces;

/// Runs `apply` with this configuration; exit code 0, outcome.
async fn apply(path: PathName, config: &str, no_wait: bool) -> (bool, Value) {
    fs::create_dir_all("/run/test").unwrap();
    fs::write("/run/test/network.json", config).unwrap();
    let outcome = PathBuf::from(DIRECTORY).join("outcome.json");
    let arguments = ApplyArgs { path, config: "/run/test/network.json".into(), outcome: outcome.clone(), no_wait };
    let code = arguments.run().await.unwrap();
    let value: Value = serde_json::from_slice(&fs::read(outcome).unwrap()).unwrap();
    assert_eq!(value["ok"], code == ExitCode::SUCCESS);
    (code == ExitCode::SUCCESS, value)
}

fn sentence(value: &Value) -> &str {
    value["sentence"].as_str().unwrap()
}

const PRACTICE: &str = r#"{ "version": 1, "topology": null, "trunk": null, "isp": "static" }"#;
const FRR: &str = r#"{ "version": 1, "topology": null, "trunk": null, "isp": "frr" }"#;

#[test]
fn a_path_is_laid_and_told() {
    in_namespaces("network_command::tests::a_path_is_laid_and_told", || async {
        let (ok, first) = apply(PathName::ThroughDut, PRACTICE, false).await;
        assert!(ok && first["steps"].as_u64().unwrap() > 100, "{first}");
        assert_eq!((first["path"].as_str().unwrap(), sentence(&first)), ("through_dut", ""));
        assert_eq!(first["trunk"], serde_json::json!({ "state": "not_used", "interface": "", "sentence": "" }));
        let (ok, second) = apply(PathName::Reference, PRACTICE, false).await;
        assert!(ok && second["path"] == "reference", "{second}");
        let (_, third) = apply(PathName::Reference, PRACTICE, false).await;
        assert!(third["steps"].as_u64().unwrap() <= 2, "only the firewalls are set again: {third}");
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata("/run/tlsstress-network/outcome.json").unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    });
}

/// Each with a word its sentence must have. None of them lays anything.
#[test]
fn wrong_configurations() {
    in_namespaces("network_command::tests::wrong_configurations", || async {
        let shipped = include_str!("../../../../engine/bench/topology.yaml");
        let with_topology = |text: &str| {
            serde_json::json!({ "version": 1, "topology": text, "trunk": null, "isp": "static" }).to_string()
        };
        let cases = [
            ("not json", "nonsense".to_owned(), "is not a network configuration"),
            ("empty", String::new(), "is not a network configuration"),
            ("unknown field", PRACTICE.replace("\"isp\"", "\"colour\": 1, \"isp\""), "colour"),
            ("absent field", PRACTICE.replace("\"trunk\": null,", ""), "missing field `trunk`"),
            ("absent topology", PRACTICE.replace("\"topology\": null,", ""), "missing field `topology`"),
            ("version of tomorrow", PRACTICE.replace(": 1", ": 2"), "has version 2"),
            (
                "wrong MAC",
                PRACTICE.replace("\"trunk\": null", "\"trunk\": { \"mac\": \"ff:ff:ff:ff:ff:ff\" }"),
                "is not the MAC address of a NIC",
            ),
            ("wrong ISP", PRACTICE.replace("static", "bird"), "unknown variant"),
            ("too large", " ".repeat(300_000), "is larger than"),
            ("wrong topology file", with_topology("colour: blue"), "topology.yaml cannot be read"),
            ("overlapping topology", with_topology(&shipped.replace("172.17.0.0/16", "172.16.0.0/16")), "overlaps"),
            ("two boxes", with_topology(&shipped.replace("single", "dual")), "set deployment_nodes: single"),
            (
                "a device without a trunk",
                with_topology(&shipped.replace("dut_type: practice", "dut_type: forti_gate")),
                "no trunk NIC leads to one",
            ),
        ];
        for (name, config, expected) in cases {
            let (ok, outcome) = apply(PathName::ThroughDut, &config, false).await;
            assert!(!ok && sentence(&outcome).contains(expected), "{name}: {outcome}");
            assert_eq!(outcome["steps"], 0, "{name}");
            assert!(!FilePath::new("/run/netns/agents").exists(), "{name}: something was laid");
        }
    });
}

#[test]
fn trunk_missing_is_told_and_the_rest_is_laid() {
    in_namespaces("network_command::tests::trunk_missing_is_told_and_the_rest_is_laid", || async {
        let config = FRR.replace("\"trunk\": null", "\"trunk\": { \"mac\": \"52:54:00:00:00:09\" }");
        let (ok, outcome) = apply(PathName::ThroughDut, &config, false).await;
        assert!(!ok, "{outcome}");
        assert_eq!(outcome["trunk"]["state"], "missing");
        assert!(sentence(&outcome).contains("52:54:00:00:00:09 is not in this machine"), "{outcome}");
        assert!(outcome["steps"].as_u64().unwrap() > 100 && FilePath::new("/run/netns/personas").exists());
        let arguments = ShowArgs { path: PathName::Reference, config: "/run/test/network.json".into() };
        assert_eq!(arguments.run().await.unwrap(), ExitCode::SUCCESS);
    });
}

#[test]
fn two_never_run_at_once() {
    in_namespaces("network_command::tests::two_never_run_at_once", || async {
        let folder = FilePath::new("/run/locks");
        let first = Lock::take(folder, Duration::ZERO).await.unwrap();
        let busy = Lock::take(folder, Duration::from_millis(120)).await.unwrap_err().to_string();
        assert!(busy.contains("/run/locks/lock") && busy.contains("try again"), "{busy}");
        drop(first);
        Lock::take(folder, Duration::ZERO).await.unwrap();
    });
}

#[test]
fn outcome_that_cannot_be_written() {
    let error = Outcome::new(Path::Reference).write(FilePath::new("/proc/nowhere/outcome.json")).unwrap_err();
    assert!(error.to_string().starts_with("cannot write /proc/nowhere/outcome.json"), "{error}");
}

#[test]
fn isp_router_that_never_comes() {
    in_namespaces("network_command::tests::isp_router_that_never_comes", || async {
        let (ok, outcome) = apply(PathName::ThroughDut, FRR, true).await;
        assert!(ok && sentence(&outcome).is_empty(), "nobody waited: {outcome}");
        let mut host = NetworkHost::default();
        let plan = plan(FilePath::new("/run/test/network.json"), Path::ThroughDut).unwrap();
        host.lay(&plan).await.unwrap();
        let patience = Duration::from_millis(300);
        let missing = host.missing_routes(&plan.expected, patience).await.unwrap();
        assert_eq!(missing.len(), 4);
        let said = missing_route(&missing[0], ROUTE_PATIENCE).to_string();
        let expected = "does not show the route to 172.16.0.0/16 over 200.130.0.1 on vlan2001 after 15 s";
        assert!(said.contains(expected) && said.contains("check that the ISP router runs"), "{said}");
    });
}

/// Daemons that end with the test.
struct Frr(Vec<Child>);

impl Drop for Frr {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// zebra, mgmtd where the release has it, and staticd, by hand, in the namespace `isp`, with the configuration made for the topology.
async fn start_frr() -> Frr {
    use std::os::unix::fs::PermissionsExt as _;
    let files = FrrFiles::new(&Topology::builtin());
    // FRR wants its user to be in the group of its terminals; here there is but one user and one group.
    fs::write("/run/group", "root:x:0:\nfrrvty:x:0:root\n").unwrap();
    let flags = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some("/run/group"), "/etc/group", None::<&str>, flags, None::<&str>).unwrap();
    for folder in ["/run/frr", "/run/etc"] {
        fs::create_dir_all(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::write("/run/etc/frr.conf", files.frr_conf).unwrap();
    fs::write("/run/etc/vtysh.conf", files.vtysh_conf).unwrap();
    let mut frr = Frr(Vec::new());
    for daemon in ["zebra", "mgmtd", "staticd"] {
        let program = format!("/usr/lib/frr/{daemon}");
        if !FilePath::new(&program).exists() {
            continue;
        }
        let options = files.daemons.lines().find_map(|line| line.strip_prefix(&format!("{daemon}_options="))).unwrap();
        let mut command = std::process::Command::new("ip");
        command.args(["netns", "exec", "isp", &program]).args(options.trim_matches('"').split(' ')).args([
            "-u",
            "root",
            "-g",
            "root",
            "-i",
            &format!("/run/frr/{daemon}.pid"),
            "--vty_socket",
            "/run/frr",
        ]);
        if daemon != "mgmtd" {
            command.args(["-z", "/run/frr/zserv.api"]);
        }
        let child = command.spawn().unwrap();
        frr.0.push(child);
        let socket = PathBuf::from(format!("/run/frr/{daemon}.vty"));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !socket.exists() {
            assert!(tokio::time::Instant::now() < deadline, "{daemon} did not come up");
            tokio::task::yield_now().await;
        }
    }
    let check = |arguments: &[&str]| {
        let mut command = std::process::Command::new("vtysh");
        let output =
            command.args(["--vty_socket", "/run/frr", "--config_dir", "/run/etc"]).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains('%'), "vtysh {arguments:?}: {said}");
    };
    check(&["-C", "-f", "/run/etc/frr.conf"]);
    check(&["-f", "/run/etc/frr.conf"]);
    frr
}

#[test]
fn frr_takes_the_configuration_and_follows_the_reference_link() {
    in_namespaces("network_command::tests::frr_takes_the_configuration_and_follows_the_reference_link", || async {
        assert!(FilePath::new("/usr/lib/frr/zebra").exists(), "install the Debian package frr");
        let (ok, outcome) = apply(PathName::ThroughDut, FRR, true).await;
        assert!(ok, "{outcome}");
        let _frr = start_frr().await;
        for path in [PathName::ThroughDut, PathName::Reference, PathName::ThroughDut, PathName::Reference] {
            let (ok, outcome) = apply(path, FRR, false).await;
            assert!(ok, "{path:?}: {outcome}");
        }
    });
}
