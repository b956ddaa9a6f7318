//! What the agent does around changes, over its real sockets: accounts for the dashboard, an entry for each change, keys that make a request
//! happen once, and the proof of it all offline.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tbi_api::access::{
    AccessClient, AccountChange, By, Digest, DoorCertificate, Hidden, MOST_REFUSALS, NewAccount, NewSession, Origin,
    Refusal, RefusalKind, Refusals, Role, Session,
};
use tbi_api::client::AgentClient;
use tbi_daemon::{ClientError, UnixClient};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);

/// A running agent with both sockets.
struct Agent {
    child: Child,
    dir: TempDir,
}

/// An answer as `curl` saw it.
struct Answer {
    status: u16,
    replayed: bool,
    body: Value,
}

impl Agent {
    fn start() -> Self {
        Self::on(tempfile::tempdir().unwrap())
    }

    fn on(dir: TempDir) -> Self {
        let at = |name: &str| dir.path().join(name);
        let child = Command::new(env!("CARGO_BIN_EXE_tbi-agent"))
            .arg("serve")
            .args(["--state".into(), at("state"), "--run".into(), at("run")])
            .args(["--socket".into(), at("a.sock"), "--access-socket".into(), at("access.sock")])
            .args(["--bus", "unix:path=/nonexistent"])
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn access(&self) -> AccessClient {
        UnixClient::new(self.socket("a.sock")).wait_ready(SOON).await.unwrap();
        AccessClient::new(&self.socket("access.sock"))
    }

    /// Asks with headers of any kind, which the clients of the bench do not send.
    fn curl(&self, arguments: &[&str], path: &str) -> Answer {
        let output = Command::new("curl")
            .args(["--silent", "--include", "--unix-socket"])
            .arg(self.socket("a.sock"))
            .args(arguments)
            .arg(format!("http://agent{path}"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            replayed: head.to_lowercase().contains("idempotent-replayed: true"),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        }
    }

    fn put_settings(&self, key: &str, body: &Value) -> Answer {
        let (key, body) = (format!("Idempotency-Key: {key}"), body.to_string());
        self.curl(&["-X", "PUT", "-H", "Content-Type: application/json", "-H", &key, "--data", &body], "/v1/settings")
    }

    fn stop(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    /// With SIGTERM, orderly.
    fn end(mut self) -> TempDir {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    fn entries(&self, query: &str) -> Vec<Value> {
        self.curl(&[], &format!("/v1/audit?{query}")).body.as_array().unwrap().clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn by(actor: &str) -> By {
    By {
        actor: actor.to_owned(),
        role: Some(Role::Administrator),
        source: "192.0.2.7".to_owned(),
        correlation_id: "c-1".to_owned(),
    }
}

fn new(name: &str, role: Role, first: bool) -> NewAccount {
    NewAccount { name: name.parse().unwrap(), role, password: Hidden::new("$argon2id$secret-hash"), first }
}

fn code(error: &ClientError) -> String {
    match error {
        ClientError::Problem(problem) => problem.code.clone(),
        other => other.to_string(),
    }
}

#[tokio::test]
async fn accounts_are_kept_and_each_change_has_an_entry_without_secrets() {
    let agent = Agent::start();
    let access = agent.access().await;
    let claim = agent.dir.path().join("run/door/claim-code");
    assert!(claim.exists(), "a box without an account has a claim code");
    access.create_account(&new("ada", Role::Administrator, true), &by("ada")).await.unwrap();
    assert!(!claim.exists(), "it goes with the first account");
    let refused = access.create_account(&new("eve", Role::Administrator, true), &by("eve")).await.unwrap_err();
    assert_eq!(code(&refused), "not-the-first");
    let bob = access.create_account(&new("bob", Role::Viewer, false), &by("ada")).await.unwrap();
    let change = AccountChange { role: Some(Role::Operator), based_on: Some(bob.epoch), ..AccountChange::default() };
    let changed = access.change_account(&bob.name, &change, &by("ada")).await.unwrap();
    assert!(changed.role == Role::Operator && changed.epoch > bob.epoch);
    let stale = access.change_account(&bob.name, &change, &by("ada")).await.unwrap_err();
    assert_eq!(code(&stale), "account-changed");
    let last = access.remove_account(&"ada".parse().unwrap(), None, &by("ada")).await.unwrap_err();
    assert_eq!(code(&last), "last-administrator");
    assert_eq!(access.account(&bob.name).await.unwrap().password.reveal(), "$argon2id$secret-hash");

    let entries = agent.entries("limit=50");
    let said: Vec<(&str, &str)> =
        entries.iter().map(|it| (it["action"].as_str().unwrap(), it["outcome"].as_str().unwrap())).collect();
    assert_eq!(
        said,
        [
            ("account.remove", "refused"),
            ("account.change", "refused"),
            ("account.change", "done"),
            ("account.create", "done"),
            ("account.create-first", "refused"),
            ("account.create-first", "done"),
        ]
    );
    let change = &entries[2];
    assert_eq!((change["actor"].as_str(), change["source"].as_str()), (Some("ada"), Some("192.0.2.7")));
    let detail: Value = serde_json::from_str(change["detail"].as_str().unwrap()).unwrap();
    assert_eq!((&detail["before"]["role"], &detail["after"]["role"]), (&json!("viewer"), &json!("operator")));
    assert!(!serde_json::to_string(&entries).unwrap().contains("secret-hash"));
}

#[tokio::test]
async fn sessions_end_with_the_epoch_and_outlive_the_agent() {
    let agent = Agent::start();
    let access = agent.access().await;
    let ada = access.create_account(&new("ada", Role::Administrator, true), &by("ada")).await.unwrap();
    let now = jiff::Timestamp::now();
    let hash: tbi_api::access::Digest = "ab".repeat(32).parse().unwrap();
    let session = Session {
        hash: hash.clone(),
        account: ada.name.clone(),
        epoch: ada.epoch,
        created: now,
        last_seen: now,
        ends: now + jiff::SignedDuration::from_hours(1),
        source: "192.0.2.7".to_owned(),
        user_agent: "a browser".to_owned(),
        stepped_up_until: None,
    };
    access.begin_session(&NewSession { session, replaces: None }, &by("ada")).await.unwrap();
    let agent = Agent::on(agent.stop());
    let access = agent.access().await;
    assert_eq!(access.session(&hash).await.unwrap().account.name, ada.name);
    assert_eq!(access.sessions().await.unwrap().len(), 1);
    let change = AccountChange { end_sessions: true, ..AccountChange::default() };
    access.change_account(&ada.name, &change, &by("ada")).await.unwrap();
    assert_eq!(access.sessions().await.unwrap(), Vec::new());
}

#[tokio::test]
async fn a_request_with_a_key_happens_once_and_its_answer_outlives_the_agent() {
    let agent = Agent::start();
    agent.access().await;
    let settings = agent.curl(&[], "/v1/settings").body["settings"].clone();
    let mut named = settings.clone();
    named["host_name"] = json!("bench-1");
    let change = json!({ "based_on": 0, "settings": named });
    let first = agent.put_settings("key-1", &change);
    assert_eq!((first.status, first.replayed), (200, false), "{}", first.body);
    let again = agent.put_settings("key-1", &change);
    assert_eq!((again.status, again.replayed, &again.body), (200, true, &first.body));
    let agent = Agent::on(agent.stop());
    agent.access().await;
    assert!(agent.put_settings("key-1", &change).replayed, "also after a kill");
    let other = agent.put_settings("key-1", &json!({ "based_on": 1, "settings": settings }));
    assert_eq!((other.status, other.body["code"].as_str()), (422, Some("idempotency-key-reused")));
    let wrong = agent.put_settings("two words", &change);
    assert_eq!((wrong.status, wrong.body["code"].as_str()), (400, Some("idempotency-key-refused")));

    let entries = agent.entries("action=settings");
    let done: Vec<&Value> = entries.iter().filter(|entry| entry["outcome"] == "done").collect();
    assert_eq!(done.len(), 1, "done once, so one entry: {entries:#?}");
    let detail: Value = serde_json::from_str(done[0]["detail"].as_str().unwrap()).unwrap();
    assert_eq!((&detail["before"]["host_name"], &detail["after"]["host_name"]), (&json!(""), &json!("bench-1")));
    assert_eq!(done[0]["actor"], "local");
}

#[tokio::test]
async fn the_exported_chain_is_proven_offline_and_one_wrong_byte_is_found() {
    let agent = Agent::start();
    let access = agent.access().await;
    access.create_account(&new("ada", Role::Administrator, true), &by("ada")).await.unwrap();
    let identity = agent.curl(&[], "/v1/identity").body;
    let certificate = agent.dir.path().join("box.crt");
    fs::write(&certificate, identity["certificate_pem"].as_str().unwrap()).unwrap();
    let file = agent.dir.path().join("audit.jsonl");
    let output = Command::new("curl")
        .args(["--silent", "--fail", "--unix-socket"])
        .arg(agent.socket("a.sock"))
        .arg("http://agent/v1/audit/export")
        .output()
        .unwrap();
    fs::write(&file, &output.stdout).unwrap();
    let verify = |file: &Path, certificate: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tbi-agent"));
        let output =
            command.args(["audit", "verify"]).arg(file).arg("--certificate").arg(certificate).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, said) = verify(&file, &certificate);
    assert!(code == Some(0) && said.contains("intact: 2 entries"), "{said}");
    assert_eq!(agent.curl(&[], "/v1/audit/verification").body["intact"], true);

    let mut edited = output.stdout.clone();
    let at = edited.windows(3).position(|bytes| bytes == b"ada").unwrap();
    edited[at] = b'b';
    fs::write(&file, &edited).unwrap();
    let (code, said) = verify(&file, &certificate);
    assert!(code == Some(1) && said.starts_with("not intact: line "), "{said}");

    let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
    let cut: Vec<&[u8]> = output.stdout.split_inclusive(|byte| *byte == b'\n').take(lines - 1).collect();
    fs::File::create(&file).unwrap().write_all(&cut.concat()).unwrap();
    assert_eq!(verify(&file, &certificate).0, Some(1));

    fs::write(&file, &output.stdout).unwrap();
    let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
    fs::write(&certificate, other.cert.pem()).unwrap();
    let (code, said) = verify(&file, &certificate);
    assert!(code == Some(1), "another box's certificate: {said}");
}

#[tokio::test]
async fn a_forged_licence_is_refused_and_leaves_an_entry() {
    let agent = Agent::start();
    agent.access().await;
    let body = json!({ "document": "{\"format\":\"tbi-licence-v1\"}" }).to_string();
    let refused = agent.curl(&["-H", "Content-Type: application/json", "--data", &body], "/v1/licences");
    assert_eq!((refused.status, refused.body["code"].as_str()), (422, Some("licence-refused")));
    let entry = &agent.entries("action=licences")[0];
    assert_eq!((entry["outcome"].as_str(), entry["target"].as_str()), (Some("refused"), Some("/v1/licences")));
    let standing = agent.curl(&[], "/v1/licences").body;
    assert_eq!((&standing["enforced"], &standing["balance"]), (&json!(false), &json!(0)));
}

#[tokio::test]
async fn what_the_door_shows_is_in_the_status_until_the_agent_is_started_again_and_never_in_the_chain() {
    let agent = Agent::start();
    let (access, asked) = (agent.access().await, AgentClient::new(&agent.socket("a.sock")));
    assert_eq!(asked.status().await.unwrap().door_certificate, None);
    let entries = agent.entries("limit=50").len();
    let mut shown = DoorCertificate {
        leaf_sha256: Digest::of_bytes(&[1; 32]),
        ca_sha256: Digest::of_bytes(&[2; 32]),
        names: vec!["tbi.local".to_owned()],
        not_after: "2030-01-01T00:00:00Z".parse().unwrap(),
        origin: Origin::Own,
        trouble: None,
    };
    access.tell_certificate(&shown).await.unwrap();
    assert_eq!(asked.status().await.unwrap().door_certificate.as_ref(), Some(&shown));
    shown.origin = Origin::Brought;
    access.tell_certificate(&shown).await.unwrap();
    for names in [vec!["a".to_owned(); 257], vec!["a".repeat(1025)]] {
        let wrong = DoorCertificate { names, ..shown.clone() };
        assert_eq!(code(&access.tell_certificate(&wrong).await.unwrap_err()), "refused");
    }
    assert_eq!(asked.status().await.unwrap().door_certificate, Some(shown));
    assert_eq!(agent.entries("limit=50").len(), entries);
    let agent = Agent::on(agent.stop());
    let _ready = agent.access().await;
    let asked = AgentClient::new(&agent.socket("a.sock"));
    assert_eq!(asked.status().await.unwrap().door_certificate, None, "it has to be told again");
}

#[tokio::test]
async fn what_the_door_refused_is_in_the_chain_and_does_not_grow_it_without_bound() {
    let agent = Agent::start();
    let access = agent.access().await;
    let group = |source: String, kind, count| Refusal {
        minute: "2026-01-31T23:59:00Z".parse().unwrap(),
        source,
        account: "ada".to_owned(),
        kind,
        count,
    };
    let one = group("192.0.2.7".to_owned(), RefusalKind::Csrf, 3);
    access.report_refusals(&Refusals { refusals: vec![one] }).await.unwrap();
    let entries = agent.entries("action=door.refuse&limit=500");
    assert_eq!(entries.len(), 1, "{entries:?}");
    let words = ["actor", "role", "source", "target", "outcome"].map(|word| entries[0][word].as_str().unwrap());
    assert_eq!(words, ["ada", "none", "192.0.2.7", "csrf", "refused"]);

    let flood = |round: usize, groups: usize| {
        let one = |n: usize| group(format!("2001:db8:{round:x}::{n:x}"), RefusalKind::ForgedCredentials, 2);
        Refusals { refusals: (0..groups).map(one).collect() }
    };
    for round in 0..4 {
        access.report_refusals(&flood(round, MOST_REFUSALS)).await.unwrap();
    }
    let refused = access.report_refusals(&flood(9, MOST_REFUSALS + 1)).await.unwrap_err();
    assert_eq!(code(&refused), "too-many-refusals");
    let during = agent.entries("action=door.refuse&limit=500").len();
    assert!(during <= 70, "{during} entries for a thousand addresses");

    // What was summed up is told at the end, and none is forgotten.
    let agent = Agent::on(agent.end());
    agent.access().await;
    let entries = agent.entries("action=door.refuse&limit=500");
    let count = |entry: &Value| {
        let detail: Value = serde_json::from_str(entry["detail"].as_str().unwrap()).unwrap();
        let of_sum = detail["counts"]["forged_credentials"].as_u64();
        of_sum.or(detail["count"].as_u64()).unwrap()
    };
    assert_eq!(entries.iter().map(count).sum::<u64>(), 3 + 4 * 2 * MOST_REFUSALS as u64);
    assert_eq!(entries[0]["actor"], "several");
}

#[tokio::test]
async fn who_ordered_a_run_is_shown_and_can_be_asked_for() {
    let agent = Agent::start();
    agent.access().await;
    let headers = ["x-tlsstress-actor: ada", "x-tlsstress-role: operator", "x-tlsstress-source: 192.0.2.7"];
    let mut order = vec!["-X", "POST", "-H", "Content-Type: application/json", "--data", "{\"profile\":\"quick\"}"];
    order.extend(headers.iter().flat_map(|header| ["-H", header]));
    let end = tokio::time::Instant::now() + SOON;
    let run = loop {
        let answer = agent.curl(&order, "/v1/runs");
        if answer.status == 202 {
            break answer.body;
        }
        assert_eq!(answer.body["code"], "cannot-measure", "the bench is being prepared");
        assert!(tokio::time::Instant::now() < end, "{}", answer.body);
    };
    let of_ada = |agent: &Agent| {
        let runs = agent.curl(&[], "/v1/runs?actor=ada").body;
        assert_eq!(runs.as_array().unwrap().len(), 1, "{runs}");
        assert_eq!((&runs[0]["actor"], &runs[0]["source"]), (&"ada".into(), &"192.0.2.7".into()));
        assert_eq!(agent.curl(&[], "/v1/runs?actor=bob").body, json!([]));
        runs[0]["id"].clone()
    };
    assert_eq!((&run["actor"], of_ada(&agent)), (&"ada".into(), run["id"].clone()));
    // A killed agent does not forget it.
    let agent = Agent::on(agent.stop());
    agent.access().await;
    while agent.curl(&[], "/v1/runs").body == json!([]) {
        assert!(tokio::time::Instant::now() < end, "the bench is being prepared");
    }
    let id = of_ada(&agent);
    let one = agent.curl(&[], &format!("/v1/runs/{}", id.as_str().unwrap())).body;
    assert_eq!((&one["actor"], &one["state"]), (&"ada".into(), &"interrupted".into()));
}
