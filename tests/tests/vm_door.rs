//! The front door of a box, on port 443, from outside: who claims a new box, what is left of a change, what a restart of either side costs, and
//! with what rights the door runs. The certificate is verified against the CA that the box itself has on its disk, for the name `tbi.local`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tbi_tests::child::run;
use tbi_tests::door::{ADA, Answer, As, Client, PASSWORD, Session};
use tbi_tests::program;
use tbi_tests::stand::{read, write};
use tbi_tests::vm::image::Image;
use tbi_tests::vm::{Machine, until};
use tempfile::TempDir;

/// For what takes a moment on an emulated processor.
const SOON: Duration = Duration::from_secs(90);
/// Where QEMU's network says that connections from outside come from.
const OUTSIDE: &str = "10.0.2.2";
const DOOR: &str = "tbi-dashboard.service";
const AGENT: &str = "tbi-agent.service";
const FIRST: &str = "/api/v1/access/first-administrator";
const WHOAMI: &str = "/api/v1/access/whoami";
const STATUS: &str = "/api/v1/agent/status";
const SETTINGS: &str = "/api/v1/agent/settings";

/// A box, and somebody outside who wants in.
struct Outside {
    machine: Machine,
    home: TempDir,
    client: Client,
}

impl Outside {
    fn of_a_new_box() -> Self {
        let mut machine = Machine::booted(&Image::built());
        let home = tempfile::tempdir().unwrap();
        let ca = home.path().join("ca.pem");
        // A saved machine continues at the time it was saved; with its next start it would find that its sessions are long over.
        machine.sh(&format!("date --set=@{}", seconds_now())).ok();
        write(&ca, &machine.until_sh("cat /var/lib/tbi-dashboard/ca.crt", SOON));
        let client = Client::of_name("tbi.local", machine.door_tcp(), &ca);
        let outside = Self { machine, home, client };
        outside.until_ready();
        outside
    }

    /// The same with a first administrator, who has just logged in.
    fn claimed() -> (Self, Session) {
        let mut outside = Self::of_a_new_box();
        let code = outside.claim_code_on_screen();
        let session = outside.client.first_administrator(&code);
        (outside, session)
    }

    fn until_ready(&self) {
        until("the door to be ready", SOON, || {
            let answer = self.client.try_ask(As::Nobody, "GET", "/health/ready", &[], None)?;
            (answer.status == 200).then_some(())
        });
    }

    /// As a person reads it.
    fn claim_code_on_screen(&mut self) -> String {
        self.machine.until_screen("makes the first administrator", SOON);
        let rows = self.machine.screen().rows();
        let row = rows.iter().find(|row| row.contains("Claim code")).unwrap();
        row.split_whitespace().nth(2).unwrap().to_owned()
    }

    fn get(&self, session: &Session, path: &str) -> Value {
        self.client.ask(As::Session(session), "GET", path, None).expect(200).json()
    }

    /// Orders another host name.
    fn rename(&self, session: &Session, name: &str, fields: &[&str]) -> Answer {
        let now = self.get(session, SETTINGS);
        let mut settings = now["settings"].clone();
        settings["host_name"] = name.into();
        let change = json!({ "based_on": now["version"], "settings": settings });
        self.client.ask_with(As::Session(session), "PUT", SETTINGS, fields, Some(&change))
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.path().join(name);
        write(&path, content);
        path
    }

    /// Exports the chain through the door.
    fn export(&self, session: &Session) -> String {
        self.client.ask(As::Session(session), "GET", "/api/v1/agent/audit/export", None).expect(200).body
    }

    /// What `tbi-agent audit verify` says of an export here, on another machine, with the box's certificate: exit code and words.
    fn verify(&self, session: &Session, export: &str) -> (i32, String) {
        let identity = self.get(session, "/api/v1/agent/identity");
        let certificate = self.file("box.crt", identity["certificate_pem"].as_str().unwrap());
        let mut verify = Command::new(program("tbi-agent"));
        verify.args(["audit", "verify"]).arg(self.file("audit.jsonl", export)).arg("--certificate").arg(certificate);
        let finished = run(&mut verify, SOON);
        (finished.code(), format!("{}{}", finished.stdout, finished.stderr))
    }

    /// Properties of a unit as `systemctl show` gives them.
    fn unit(&mut self, unit: &str, properties: &[&str]) -> BTreeMap<String, String> {
        let text = self.machine.sh(&format!("systemctl show --property={} {unit}", properties.join(","))).ok();
        text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    fn main_pid(&mut self, unit: &str) -> String {
        self.unit(unit, &["MainPID"])["MainPID"].clone()
    }
}

/// Seconds since 1970.
fn seconds_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Entries of an export, each of which is a line of its own.
fn entries(export: &str) -> Vec<Value> {
    let lines = export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line.get("entry").cloned()).collect()
}

#[test]
fn vm_door_the_claim_code_on_the_screen_makes_the_first_administrator_once_and_a_wrong_one_does_not() {
    let mut outside = Outside::of_a_new_box();
    let code = outside.claim_code_on_screen();
    let claim = |code: &str, account: &str| json!({ "claim_code": code, "account": account, "password": PASSWORD });
    let post = |outside: &Outside, body: &Value| outside.client.ask(As::Nobody, "POST", FIRST, Some(body));
    outside.client.ask(As::Nobody, "GET", STATUS, None).assert_problem(401, "not-authenticated");
    post(&outside, &claim("23456-789AB-CDEFG-HJKLM", "eve")).assert_problem(403, "claim-code-wrong");
    let made = post(&outside, &claim(&code, ADA)).expect(201).json();
    assert_eq!((&made["name"], &made["role"]), (&json!(ADA), &json!("administrator")));
    post(&outside, &claim(&code, "eve")).assert_problem(409, "administrator-exists");

    let refused = json!({ "account": ADA, "password": "something else altogether" });
    outside.client.ask(As::Nobody, "POST", "/api/v1/access/login", Some(&refused)).assert_problem(401, "login-refused");
    let session = outside.client.log_in();
    let whoami = outside.get(&session, WHOAMI);
    assert_eq!(
        (&whoami["account"], &whoami["role"], &whoami["proof"]),
        (&json!(ADA), &made["role"], &json!("session"))
    );

    // The code is gone wherever it was.
    assert_ne!(outside.machine.sh("cat /run/tlsstress/door/claim-code").code, 0);
    let status = outside.get(&session, STATUS);
    assert_eq!(status.get("claim_code").unwrap_or(&Value::Null), &Value::Null);
    until("the screen without the code", SOON, || {
        outside.machine.press_key();
        (!outside.machine.screen().words().contains(&code)).then_some(())
    });
}

#[test]
fn vm_door_a_change_is_in_the_chain_with_who_and_from_where_and_the_export_is_proven_elsewhere() {
    let (outside, session) = Outside::claimed();
    let fields = ["Idempotency-Key: the-new-name", "X-Correlation-Id: vm-door-rename"];
    let stored = outside.rename(&session, "renamed-through-the-door", &fields).expect(200);
    // Sent again, it is not done again: the version that it was based on is no longer in force, and yet it is not refused.
    let change = json!({ "profile": "quick" });
    let order = |key: &str| {
        let key = format!("Idempotency-Key: {key}");
        outside.client.ask_with(As::Session(&session), "POST", "/api/v1/agent/runs", &[&key], Some(&change))
    };
    let (first, again) = (order("one-run").expect(202), order("one-run").expect(202));
    assert_eq!((again.header("idempotent-replayed"), first.header("idempotent-replayed")), (Some("true"), None));
    let id = first.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(again.json()["id"], id.as_str(), "one order, one run");
    assert_eq!(outside.get(&session, "/api/v1/agent/runs").as_array().unwrap().len(), 1);
    let run = format!("/api/v1/agent/runs/{id}");
    let _stopping = outside.client.ask(As::Session(&session), "DELETE", &run, None).expect(202);

    let export = outside.export(&session);
    let entries = entries(&export);
    let entry = entries.iter().find(|entry| entry["correlation"] == "vm-door-rename");
    let entry = entry.unwrap_or_else(|| panic!("no entry of the change in {export}"));
    for (field, value) in [("actor", ADA), ("role", "administrator"), ("source", OUTSIDE), ("outcome", "done")] {
        assert_eq!(entry[field], value, "{entry}");
    }
    let detail: Value = serde_json::from_str(entry["detail"].as_str().unwrap()).unwrap();
    assert_eq!(detail["after"]["host_name"], "renamed-through-the-door", "{detail}");
    assert_ne!(detail["before"]["host_name"], detail["after"]["host_name"]);
    assert_eq!(detail["version"], stored.json()["version"]);

    let (code, said) = outside.verify(&session, &export);
    assert_eq!(code, 0, "{said}");
    let forged = export.replacen(OUTSIDE, "10.0.2.3", 1);
    assert_ne!(forged, export);
    assert_eq!(outside.verify(&session, &forged).0, 1, "another source was not noticed");
    let cut: String = export.lines().take(export.lines().count() - 2).map(|line| format!("{line}\n")).collect();
    assert_eq!(outside.verify(&session, &cut).0, 1, "a cut was not noticed");
}

#[test]
fn vm_door_speaks_every_http_version_on_443_and_announces_http3() {
    let (outside, session) = Outside::claimed();
    let spoken = |option: &str| {
        let mut curl = outside.client.curl();
        curl.args([option, "--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"]);
        run(curl.arg(outside.client.url("/health/live")), SOON).stdout
    };
    // What a stranger is told to trust is what the box has on its disk.
    let told = outside.client.ask(As::Nobody, "GET", "/ca.pem", None).expect(200);
    assert_eq!(told.body, read(&outside.home.path().join("ca.pem")));
    assert_eq!((spoken("--http1.1"), spoken("--http2")), ("1.1 200".to_owned(), "2 200".to_owned()));
    let over_tcp = outside.client.ask(As::Session(&session), "GET", WHOAMI, None).expect(200);
    assert!(over_tcp.header("alt-svc").is_some_and(|it| it.contains(r#"h3=":443""#)), "{over_tcp:?}");
    let over_udp = outside.client.get_over_http3(outside.machine.door_udp(), As::Session(&session), WHOAMI);
    assert_eq!(over_udp.expect(200).json()["account"], ADA);
    // A stranger is a stranger there as well.
    let stranger = outside.client.get_over_http3(outside.machine.door_udp(), As::Nobody, STATUS);
    stranger.assert_problem(401, "not-authenticated");
}

#[test]
fn vm_door_goes_on_when_the_agent_or_the_door_itself_is_restarted() {
    let (mut outside, session) = Outside::claimed();
    let (agent, door) = (outside.main_pid(AGENT), outside.main_pid(DOOR));

    // The sockets are systemd's, so a question may just as well wait for the new agent as be refused; refused, it says for how long.
    outside.machine.sh(&format!("systemctl restart --no-block {AGENT}")).ok();
    until("a new agent", SOON, || {
        let answer = outside.client.ask(As::Session(&session), "GET", STATUS, None);
        assert!(answer.status == 200 || is_down(&answer), "{answer:?}");
        let now = outside.main_pid(AGENT);
        (answer.status == 200 && now != agent && now != "0").then_some(())
    });
    let _stored = outside.rename(&session, "after-the-agents-restart", &[]).expect(200);

    // It hangs (its watchdog would end it, so that is off): the door hears that, says who it is, and lets nobody wait for it.
    outside.machine.sh("systemctl service-watchdogs no").ok();
    outside.machine.sh(&format!("systemctl kill --kill-whom=main --signal=STOP {AGENT}")).ok();
    until("the door to miss the agent", SOON, || {
        let answer = outside.client.ask(As::Nobody, "GET", "/health/ready", None);
        (is_down(&answer) && answer.body.contains("the daemon agent is down")).then_some(())
    });
    let refused = outside.client.ask(As::Session(&session), "GET", STATUS, None);
    assert!(is_down(&refused) && refused.body.contains("agent"), "{refused:?}");
    outside.machine.sh(&format!("systemctl kill --kill-whom=main --signal=CONT {AGENT}")).ok();
    until("the door to go on", SOON, || {
        let answer = outside.client.ask(As::Session(&session), "GET", STATUS, None);
        (answer.status == 200).then_some(())
    });
    assert_eq!(outside.main_pid(DOOR), door, "the door was restarted");

    // The door itself: the session is the agent's, the keys of the cookie are on the disk.
    outside.machine.sh(&format!("systemctl restart {DOOR}")).ok();
    assert_ne!(outside.main_pid(DOOR), door);
    outside.until_ready();
    assert_eq!(outside.get(&session, WHOAMI)["account"], ADA);
    let _stored = outside.rename(&session, "after-the-doors-restart", &[]).expect(200);
    for unit in [AGENT, DOOR] {
        assert_eq!(outside.unit(unit, &["NRestarts"])["NRestarts"], "0", "{unit} failed");
    }
}

/// Not now, and when to come again.
fn is_down(answer: &Answer) -> bool {
    answer.status == 503 && answer.header("retry-after").is_some()
}

#[test]
fn vm_door_runs_as_its_own_user_without_any_capability() {
    let mut outside = Outside::of_a_new_box();
    let unit =
        outside.unit(DOOR, &["User", "MainPID", "NoNewPrivileges", "CapabilityBoundingSet", "AmbientCapabilities"]);
    assert_eq!(unit["User"], "tbi-dashboard");
    assert_eq!(unit["NoNewPrivileges"], "yes");
    assert_eq!((unit["CapabilityBoundingSet"].as_str(), unit["AmbientCapabilities"].as_str()), ("", ""));
    // What the kernel says of the process itself.
    let pid = &unit["MainPID"];
    let status = outside.machine.sh(&format!("cat /proc/{pid}/status")).ok();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), Some("0000000000000000"), "{set}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), (Some("1"), Some("2")));
    assert_eq!(outside.machine.sh(&format!("stat --format=%U /proc/{pid}")).ok().trim(), "tbi-dashboard");
    // Port 443 is systemd's; the process may not bind one.
    let sockets = outside.machine.sh("ss --listening --numeric --tcp --udp --no-header 'sport = :443'").ok();
    assert_eq!(sockets.lines().count(), 2, "{sockets}");
    // Password hashes pass the access socket: its group is the door's, and nobody else is in it.
    let socket = outside.machine.sh("stat --format='%U %G %a' /run/tlsstress/access.sock").ok();
    assert_eq!(socket.trim(), "root tbi-dashboard 660");
    let group = outside.machine.sh("getent group tbi-dashboard").ok();
    assert!(group.trim().ends_with(':'), "others are in the group: {group}");
    let state = outside.machine.sh("stat --format='%U %a' /var/lib/tbi-dashboard").ok();
    assert_eq!(state.trim(), "tbi-dashboard 700");
}

#[test]
fn vm_door_accounts_sessions_and_the_chain_survive_a_reboot() {
    let (mut outside, session) = Outside::claimed();
    let certificate = outside.machine.sh("cat /var/lib/tbi-dashboard/ca.crt").ok();
    let order = json!({ "action": "reboot", "reason": "to see what is kept" });
    let _accepted = outside.client.ask(As::Session(&session), "POST", "/api/v1/agent/power", Some(&order)).expect(202);
    outside.machine.wait_reset(Duration::from_secs(120));
    outside.machine.wait_boot_complete();
    outside.until_ready();
    assert_eq!(outside.machine.sh("cat /var/lib/tbi-dashboard/ca.crt").ok(), certificate, "who trusted it still does");
    assert_eq!(outside.get(&session, WHOAMI)["account"], ADA, "the session goes on");
    let other = outside.client.log_in();
    assert_eq!(outside.get(&other, WHOAMI)["account"], ADA);
    let claim = json!({ "claim_code": "23456-789AB-CDEFG-HJKLM", "account": "eve", "password": PASSWORD });
    outside.client.ask(As::Nobody, "POST", FIRST, Some(&claim)).assert_problem(409, "administrator-exists");
    assert_ne!(outside.machine.sh("ls /run/tlsstress/door/claim-code").code, 0, "a claimed box has no claim code");
    let export = outside.export(&other);
    let ordered = entries(&export)
        .into_iter()
        .find(|entry| entry["detail"].as_str().is_some_and(|it| it.contains("to see what is kept")));
    assert!(ordered.is_some_and(|entry| entry["actor"] == ADA && entry["source"] == OUTSIDE), "{export}");
    let (code, said) = outside.verify(&other, &export);
    assert_eq!(code, 0, "{said}");
}
