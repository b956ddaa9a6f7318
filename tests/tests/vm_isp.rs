//! An operator's own ISP router: imported, chosen, run, taken away. What stands in for it is a small whole system of Debian's systemd whose
//! one service reads `/config/config.boot` and sets routes; no router anybody sells was tried.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tbi_api::health::State;
use tbi_api::isp::{Isp, Root, Router};
use tbi_api::settings::{Settings, Snapshot};
use tbi_bench::catalogue::{AddressFamily, Catalogue};
use tbi_tests::vm::image::Image;
use tbi_tests::vm::{Machine, tools, until};

/// An emulated machine starts its agent anew, and a whole system in a container.
const SOON: Duration = Duration::from_secs(180);

/// Root file systems, as squashfs files.
struct Roots {
    /// A stand-in for an operator's router.
    router: Vec<u8>,
    /// The same without anything to start.
    without_init: Vec<u8>,
}

impl Roots {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stage = folder.path().join("stage");
        fs::create_dir(&stage).unwrap();
        let mut script = tools::command("sh");
        script.arg("-c").arg(STAND_IN).arg("sh").arg(&stage);
        let made = script.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::write(stage.join("usr/lib/router"), ROUTER).unwrap();
        let router = squashed(&stage, &folder.path().join("router.squashfs"));
        fs::remove_file(stage.join("usr/sbin/init")).unwrap();
        fs::remove_file(stage.join("usr/lib/systemd/systemd")).unwrap();
        Self { router, without_init: squashed(&stage, &folder.path().join("empty.squashfs")) }
    }
}

fn squashed(stage: &Path, file: &Path) -> Vec<u8> {
    let mut command = tools::command("mksquashfs");
    let made = command.arg(stage).arg(file).args(["-all-root", "-no-progress", "-comp", "lz4"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::read(file).unwrap()
}

/// Fills the folder `$1`: systemd and what it starts with, from the tools tree this runs in.
const STAND_IN: &str = r#"
set -eu
cd "$1"
mkdir -p usr/bin usr/sbin usr/lib usr/lib64 etc/systemd/system dev proc sys run tmp var root
for it in bin sbin lib lib64; do ln -s usr/$it $it; done
cp -a /usr/lib/systemd usr/lib/
for it in bash sleep ip mount umount; do cp -L "$(command -v $it)" usr/bin/; done
ln -s bash usr/bin/sh
ln -s ../lib/systemd/systemd usr/sbin/init
find usr -type f \( -perm -u+x -o -name '*.so*' \) | while read -r it; do ldd "$it" 2>/dev/null || true; done |
    sed -n 's|.*[[:space:]]\(/[^ ]*\) (0x.*|\1|p' | sed 's|^/lib|/usr/lib|' | sort -u | while read -r it; do
    [ -e ".$it" ] || cp -L --parents "$it" .
done
echo 'root:x:0:0:root:/root:/bin/sh' > etc/passwd
echo 'root:x:0:' > etc/group
echo 'ID=stand-in' > etc/os-release
echo 0123456789abcdef0123456789abcdef > etc/machine-id
printf '[Unit]\nRequires=basic.target\nWants=router.service\n' > etc/systemd/system/default.target
printf '[Service]\nExecStart=/bin/bash /usr/lib/router\n' > etc/systemd/system/router.service
"#;

/// Routes of `config.boot` as a router with administrative distances has them: of each prefix's next hops the first whose link is there. Reads
/// the file under both of its names and writes to it. A program that does this all the time would take what an emulated processor has.
const ROUTER: &str = r#"
prefixes=() hops=()
while read -r word value rest; do
    value=${value//\"/}
    case $word in
        route | route6) prefixes+=("$value") hops+=("") ;;
        next-hop) hops[-1]="${hops[-1]} $value" ;;
    esac
done < /config/config.boot
echo "${#prefixes[@]} prefixes in config.boot"
[ /config/config.boot -ef /opt/vyatta/etc/config/config.boot ] || exit 4
echo "// migrated" >> /config/config.boot || exit 5
set_routes() {
    for at in "${!prefixes[@]}"; do
        for hop in ${hops[at]}; do
            ip route replace "${prefixes[at]}" via "$hop" 2> /dev/null && break
        done
    done
}
# What belongs to one change comes together; and what came before anybody listened is seen in time.
exec < <(ip monitor link address)
while set_routes; do
    read -r -t 5 _
    while read -r -t 0.1 _; do :; done
done
"#;

fn import(machine: &Machine, root: &[u8]) -> Root {
    machine.api().request("PUT", "/v1/isp/root", Some(root)).expect(200).json()
}

/// Asks for a router, whatever comes of it.
fn choose(machine: &Machine, router: Router) -> tbi_tests::vm::api::Answer {
    let now: Snapshot = machine.api().get("/v1/settings");
    let settings = Settings { isp_router: router, ..now.settings };
    machine.api().send("PUT", "/v1/settings", &json!({ "based_on": now.version, "settings": settings }))
}

/// The problem's code, of a request that must not succeed.
fn refused(machine: &Machine, method: &str, body: &[u8], status: u16) -> String {
    let problem: Value = machine.api().request(method, "/v1/isp/root", Some(body)).expect(status).json();
    problem["code"].as_str().unwrap().to_owned()
}

fn until_healthy(machine: &Machine, what: &str) {
    until(what, SOON, || machine.api().health().filter(|health| health.state == State::Healthy).map(|_healthy| ()));
}

fn until_isp_says(machine: &Machine, words: &str) {
    until(&format!("the ISP router's '{words}'"), SOON, || {
        let isp = machine.api().component("isp")?;
        (isp.state > State::Healthy && isp.sentence.contains(words)).then_some(())
    });
}

/// Which of the two units runs. One that was stopped may have `failed`: nspawn ends with an error when it is told to end.
fn running(machine: &mut Machine) -> Vec<&'static str> {
    let units = ["tbi-isp.service", "tbi-isp-own.service"];
    let states = machine.sh(&format!("systemctl is-active {} || true", units.join(" "))).ok();
    units
        .into_iter()
        .zip(states.lines())
        .filter(|(_unit, state)| *state == "active")
        .map(|(unit, _state)| unit)
        .collect()
}

const ROUTES: &str = "nsenter --net=/run/netns/isp ip route show 172.16.0.0/16; nsenter --net=/run/netns/isp ip -6 route show fd00:172:16::/48";

#[test]
fn vm_isp_an_operators_own_router_is_imported_and_runs_in_the_place_of_the_one_that_ships() {
    let roots = Roots::make();
    let mut machine = Machine::booted(&Image::built());
    until_healthy(&machine, "a healthy box");
    assert_eq!(choose(&machine, Router::Own).expect(422).json::<Value>()["code"], "isp-root-missing");
    let root = import(&machine, &roots.router);
    assert_eq!(root.bytes, roots.router.len() as u64);
    assert_eq!(machine.api().get::<Isp>("/v1/isp"), Isp { router: Router::Frr, root: Some(root.clone()) });
    assert_eq!(running(&mut machine), ["tbi-isp.service"], "nothing changes before it is chosen");

    let _chosen = choose(&machine, Router::Own).expect(200);
    machine.until_sh("systemctl is-active tbi-isp-own.service", SOON);
    until_healthy(&machine, "the own router's routes");
    assert_eq!(running(&mut machine), ["tbi-isp-own.service"]);
    let routes = machine.sh(ROUTES).ok();
    assert!(routes.contains("via 200.130.0.1") && routes.contains("via 2001:12f0:0:2001::1"), "{routes}");
    assert_eq!(refused(&machine, "DELETE", b"", 409), "isp-root-in-use");
    assert_eq!(refused(&machine, "PUT", b"", 409), "isp-root-in-use");

    // It routes on both paths, for clients whose way back only it knows.
    let catalogue = Catalogue::builtin();
    let persona = &catalogue.personas()[0];
    let (name, address) = (persona.server_name(), persona.address(AddressFamily::Ipv4));
    let fetch = format!(
        "nsenter --net=/run/netns/agents curl --silent --insecure --http1.1 --max-time 20 --interface 172.16.0.10 --output /dev/null \
         --write-out '%{{http_code}} to %{{local_ip}}' --resolve {name}:443:{address} https://{name}/"
    );
    for path in ["reference", "through-dut"] {
        machine.sh_within(&format!("systemctl start tbi-network@{path}.service"), SOON).ok();
        // Load agents bind freely to addresses of their pool; curl needs one of its own. A path that is laid takes it away again.
        machine.sh("nsenter --net=/run/netns/agents ip address replace 172.16.0.10/32 dev lo").ok();
        let said = machine.until_sh(&fetch, SOON);
        assert!(said.ends_with("to 172.16.0.10") && !said.starts_with("000"), "{path}: {said}");
    }

    // Whatever becomes of a run on an emulated processor, its record says who routed.
    let run = machine.api().start_run(&json!({ "profile": "quick" }));
    until("the end of the run", Duration::from_secs(600), || {
        machine.api().run(&run.id).filter(|run| run.state.is_over())
    });
    let record: Value = machine.api().get(&format!("/v1/runs/{}/record", run.id));
    let isp = record["environment"]["isp"].as_str().unwrap();
    assert!(isp.contains("own router") && isp.contains(&root.sha256), "{isp}");

    // It dies with everything in it, and is back; so it is after a start of the machine's agent.
    machine.sh("systemctl kill --kill-whom=all --signal=KILL tbi-isp-own.service").ok();
    until("its death to be counted", SOON, || machine.api().component("isp").filter(|isp| isp.restarts > 0));
    until_healthy(&machine, "the own router after its death");
    machine.sh("systemctl restart tbi-agent.service").ok();
    until_healthy(&machine, "the box after its agent's restart");
    assert_eq!(running(&mut machine), ["tbi-isp-own.service"]);

    let _chosen = choose(&machine, Router::Frr).expect(200);
    machine.until_sh("systemctl is-active tbi-isp.service", SOON);
    until_healthy(&machine, "FRR in its old place");
    assert_eq!(running(&mut machine), ["tbi-isp.service"]);
    machine.until_sh("! mountpoint -q /run/tbi/router", SOON);
    let left: Isp = machine.api().request("DELETE", "/v1/isp/root", None).expect(200).json();
    assert_eq!(left, Isp { router: Router::Frr, root: None });
}

#[test]
fn vm_isp_a_root_file_system_that_is_no_router_is_refused_or_said_to_be_none() {
    let roots = Roots::make();
    let mut machine = Machine::booted(&Image::built());
    until_healthy(&machine, "a healthy box");
    assert_eq!(refused(&machine, "PUT", b"PK\x03\x04", 422), "isp-root-refused");
    assert_eq!(refused(&machine, "PUT", &roots.router[..4096], 422), "isp-root-refused");
    let state = machine.sh("find /var/lib/tlsstress/isp -type f").ok();
    assert_eq!(state.trim(), "", "nothing of it stays");

    // Begins well and cannot be mounted.
    let mut spoilt = roots.without_init[..].to_owned();
    let tail = spoilt.len() / 2;
    spoilt[tail..].fill(0x5a);
    // Mounts, and has nothing to start.
    for (root, words) in [(&spoilt, "cannot be mounted"), (&roots.without_init, "before it had set the routes")] {
        let _imported = import(&machine, root);
        let _chosen = choose(&machine, Router::Own).expect(200);
        until_isp_says(&machine, words);
        let isp = machine.api().component("isp").unwrap();
        assert!(
            isp.sentence.contains("path between device and personas is broken") || isp.state == State::Starting,
            "{isp:?}"
        );
        assert_eq!(machine.sh(ROUTES).ok().trim(), "", "no router, no routes");
        let _chosen = choose(&machine, Router::Frr).expect(200);
        until_healthy(&machine, "FRR in its old place");
    }

    // Chosen, and lost with its disk: said, and cured by sending it again.
    let _imported = import(&machine, &roots.router);
    machine.sh("systemctl stop tbi-agent.service tbi-agent.socket; rm /var/lib/tlsstress/isp/*").ok();
    machine.sh("systemctl start tbi-agent.socket tbi-agent.service").ok();
    until_healthy(&machine, "a box with an empty slot");
    assert_eq!(machine.api().get::<Isp>("/v1/isp").root, None);
    let _imported = import(&machine, &roots.router);
    let _chosen = choose(&machine, Router::Own).expect(200);
    until_healthy(&machine, "the own router");
    machine.sh("rm /var/lib/tlsstress/isp/*; systemctl restart tbi-agent.service").ok();
    until_isp_says(&machine, "its slot is empty");
    let _imported = import(&machine, &roots.router);
    until_healthy(&machine, "the own router after it was sent again");
}
