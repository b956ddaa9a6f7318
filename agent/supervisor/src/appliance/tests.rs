//! The API over its socket, with stand-ins for the parts that are connected on an appliance: what they are asked, and what comes back.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bench;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tbi_api::access::By;
use tbi_api::client::AgentClient;
use tbi_api::health::{Component, State};
use tbi_api::power::{self, Action};
use tbi_api::runs::{Order, Progress, Run, RunState};
use tbi_api::settings::{Change as NewSettings, Settings};
use tbi_api::status::BootKind;
use tbi_daemon::{ClientError, Health, Listener, Shutdown, UnixClient};
use tokio::sync::watch;
use utoipa::OpenApi as _;

use super::api::{ApiDoc, Shared, router};
use super::node::{Appliance, Place, Seams};
use super::own_router::squashfs;
use super::permit::Permit;
use super::seams::{Change, Changed, ChosenRouter, Power, Reapply, Reporting, RunRefused, Runs, Workloads};
use super::sysfs::Root;
use super::sysfs::tests::{CARDS, fixture};
use crate::run::authorize::{Authorizer as _, Finished, Request, plan_sha256};

/// One run that the test drives.
pub(super) struct OneRun {
    pub(super) run: watch::Sender<Run>,
    pub(super) folder: PathBuf,
}

impl Runs for OneRun {
    fn start(&self, order: Order, _by: By) -> BoxFuture<'_, Result<Run, RunRefused>> {
        Box::pin(async move {
            if order.plan.is_some() {
                return Err(RunRefused::Plan("pairs: 0 is too few; write 1 or more".to_owned()));
            }
            if self.run.borrow().state == RunState::Running {
                return Err(RunRefused::UnderWay { id: "20260131T235959Z".to_owned() });
            }
            self.run.send_modify(|run| run.state = RunState::Running);
            Ok(self.run.borrow().clone())
        })
    }

    fn stop(&self, _id: &str) -> bool {
        self.run.send_modify(|run| run.state = RunState::Interrupted);
        true
    }

    fn list(&self) -> Vec<Run> {
        vec![self.run.borrow().clone()]
    }

    fn get(&self, id: &str) -> Option<Run> {
        Some(self.run.borrow().clone()).filter(|run| run.id == id)
    }

    fn watch(&self, id: &str) -> Option<watch::Receiver<Run>> {
        self.get(id).map(|_| self.run.subscribe())
    }

    fn folder(&self, id: &str) -> Option<PathBuf> {
        self.get(id).map(|_| self.folder.clone())
    }
}

/// Remembers what it was asked and answers what it was told to.
#[derive(Default)]
pub(super) struct Recorder {
    orders: Mutex<Vec<Action>>,
    pub(super) changes: Mutex<Vec<Change>>,
    reports: Mutex<u32>,
    refuse: Mutex<Option<String>>,
}

impl Recorder {
    fn answer(&self) -> Result<(), String> {
        self.refuse.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl Power for Recorder {
    fn ask(&self, action: Action) -> BoxFuture<'_, Result<(), String>> {
        self.orders.lock().unwrap().push(action);
        Box::pin(async { self.answer() })
    }
}

impl Reapply for Recorder {
    fn reapply(&self, change: Change) -> BoxFuture<'_, Result<(), String>> {
        self.changes.lock().unwrap().push(change);
        Box::pin(async { self.answer() })
    }
}

impl Reporting for Recorder {
    fn report(&self) -> BoxFuture<'_, Result<(), String>> {
        *self.reports.lock().unwrap() += 1;
        Box::pin(async { self.answer() })
    }
}

struct EngineIsWell;

impl Workloads for EngineIsWell {
    fn components(&self) -> Vec<Component> {
        let name = "engine".to_owned();
        vec![Component { name, state: State::Healthy, sentence: String::new(), restarts: 1, memory_bytes: Some(9) }]
    }
}

fn run() -> Run {
    Run {
        id: "20260131T235959Z".to_owned(),
        name: "quick".to_owned(),
        state: RunState::Preparing,
        started: "2026-01-31T23:59:59Z".to_owned(),
        ended: None,
        progress: None,
        sentence: String::new(),
        actor: None,
        source: None,
    }
}

/// Parts that do what a test says.
pub(super) fn stand_ins(state: &Path) -> (Seams, Arc<OneRun>, Arc<Recorder>) {
    let runs = Arc::new(OneRun { run: watch::Sender::new(run()), folder: state.join("runs") });
    let recorder = Arc::new(Recorder::default());
    let seams = Seams {
        runs: Arc::clone(&runs) as Arc<dyn Runs>,
        workloads: Arc::new(EngineIsWell),
        power: Arc::clone(&recorder) as Arc<dyn Power>,
        reapply: Arc::clone(&recorder) as Arc<dyn Reapply>,
        reporting: Arc::clone(&recorder) as Arc<dyn Reporting>,
        checks: Arc::new(bench::Made::default()),
    };
    (seams, runs, recorder)
}

/// A box on a socket for the length of `story`.
pub(super) async fn on_a_box<F: Future<Output = ()>>(
    state: &Path,
    root: Root,
    story: impl FnOnce(AgentClient, UnixClient, Arc<OneRun>, Arc<Recorder>) -> F,
) {
    let socket = state.join("agent.sock");
    let (seams, runs, recorder) = stand_ins(state);
    let (appliance, waiting) =
        Appliance::open(Place { root, state: state.to_owned(), run: state.join("run") }, seams).await.unwrap();
    let shutdown = Shutdown::new();
    let shared = Shared { appliance: Arc::clone(&appliance), shutdown: shutdown.clone() };
    let (health, listener) = (Health::new(), Listener::bind(&socket).unwrap());
    health.set_ready(Ok(()));
    let serving = tbi_daemon::serve(listener, router(shared), health, ApiDoc::openapi(), String::new, shutdown.clone());
    let changing = appliance.carry_out(waiting, shutdown.clone());
    let told = async {
        story(AgentClient::new(&socket), UnixClient::new(&socket), runs, recorder).await;
        shutdown.request();
    };
    let (served, (), ()) = tokio::join!(serving, changing, told);
    served.unwrap();
    appliance.end().await;
}

pub(super) fn code(error: &ClientError) -> &str {
    error.code().unwrap_or("none")
}

/// Looks until `condition` holds.
pub(super) async fn soon(what: &str, mut condition: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(tokio::time::Instant::now() < end, "not in time: {what}");
        tokio::task::yield_now().await;
    }
}

pub(super) fn booted(id: &str) -> (tempfile::TempDir, Root) {
    fixture(&[CARDS, &[("proc/sys/kernel/random/boot_id", id), ("proc/sys/kernel/hostname", "bench-1\n")]].concat())
}

#[tokio::test]
async fn a_run_is_started_watched_stopped_and_read() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent, socket, runs, _| async move {
        let id = "20260131T235959Z";
        assert_eq!(agent.start_run(&Order::default()).await.unwrap().state, RunState::Running);
        assert_eq!(code(&agent.start_run(&Order::default()).await.unwrap_err()), "run-under-way");
        let refused =
            agent.start_run(&Order { plan: Some(json!({"pairs": 0})), ..Order::default() }).await.unwrap_err();
        assert_eq!(
            (code(&refused), refused.to_string().as_str()),
            ("plan-refused", "pairs: 0 is too few; write 1 or more")
        );
        assert_eq!(agent.status().await.unwrap().run.unwrap().id, id);
        assert_eq!(code(&agent.run("20990101T000000Z").await.unwrap_err()), "no-such-run");

        let mut events = Box::pin(socket.events(&format!("/v1/runs/{id}/events")).await.unwrap());
        let progress = |blocks_done| Progress {
            blocks_done,
            blocks: 6,
            elapsed_seconds: 1,
            remaining_seconds: 2,
            last_block: "through the DUT".to_owned(),
            ..Progress::default()
        };
        runs.run.send_modify(|run| run.progress = Some(progress(1)));
        let first = events.next().await.unwrap().unwrap();
        let said: Progress = serde_json::from_str(&first.data).unwrap();
        assert_eq!((first.name.as_str(), said), ("progress", progress(1)));

        assert_eq!(code(&socket.get_text(&format!("/v1/runs/{id}/record")).await.unwrap_err()), "not-written-yet");
        socket.delete(&format!("/v1/runs/{id}")).await.unwrap();
        let last = events.next().await.unwrap().unwrap();
        assert_eq!(last.name, "bye");
        assert_eq!(agent.run(id).await.unwrap().state, RunState::Interrupted);

        assert_eq!(code(&agent.run_outline(id).await.unwrap_err()), "not-written-yet");
        std::fs::create_dir_all(&runs.folder).unwrap();
        let outline = json!({
            "tool": {"name": "tbi-agent", "version": "0.1.0", "commit": null}, "valid": true, "reasons": ["Two pairs only."],
            "verdict": "passed", "authorization": null, "plan": {"name": "short", "pairs": 2},
        });
        // A record as it is on the disk has much more, which an outline leaves out.
        let mut whole = outline.clone();
        whole["results"] = json!([{"cell": 1}]);
        std::fs::write(runs.folder.join("run.json"), whole.to_string()).unwrap();
        assert_eq!(serde_json::to_value(agent.run_outline(id).await.unwrap()).unwrap(), outline);

        let record = "x".repeat(1 << 20);
        std::fs::write(runs.folder.join("run.json"), &record).unwrap();
        std::fs::write(runs.folder.join("report.html"), "<html>").unwrap();
        assert_eq!(socket.get_text(&format!("/v1/runs/{id}/record")).await.unwrap(), record);
        assert_eq!(socket.get_text(&format!("/v1/runs/{id}/report")).await.unwrap(), "<html>");
    })
    .await;
}

#[tokio::test]
async fn changes_are_carried_out_and_their_failure_is_said() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent, socket, _, recorder| async move {
        soon("the first look at the system", || recorder.changes.lock().unwrap().len() == 1).await;
        *recorder.refuse.lock().unwrap() = Some("tbi-settings.service failed".to_owned());
        let settings: Settings = serde_json::from_value(json!({"trunk": {"mac": "52:54:00:00:00:03"}})).unwrap();
        let stored = agent.change_settings(&NewSettings { based_on: 0, settings: settings.clone() }).await.unwrap();
        assert_eq!(stored.version, 1);
        soon("the change", || recorder.changes.lock().unwrap().len() == 2).await;
        {
            let changes = recorder.changes.lock().unwrap();
            assert_eq!([changes[0].what, changes[1].what], [Changed::Start, Changed::Settings]);
            let trunks = [changes[0].trunk, changes[1].trunk].map(|mac| mac.map(|mac| mac.to_string()));
            assert_eq!(trunks, [None, Some("52:54:00:00:00:03".to_owned())]);
        }
        let health = agent.health().await.unwrap();
        let settings_part = health.components.iter().find(|part| part.name == "settings").unwrap();
        assert!(settings_part.sentence.contains("tbi-settings.service failed"), "{settings_part:?}");
        assert!(health.components.iter().any(|part| part.name == "engine" && part.restarts == 1));

        let stale = agent.change_settings(&NewSettings { based_on: 0, settings }).await.unwrap_err();
        assert_eq!(code(&stale), "settings-changed");
        let wrong = json!({"based_on": 1, "settings": {"host_name": "a b"}});
        let refused = socket.put_json::<_, Value>("/v1/settings", &wrong).await.unwrap_err();
        assert_eq!(code(&refused), "settings-refused");
        let wrong = json!({"yaml": "deployment_nodes: seven"});
        assert_eq!(code(&socket.put_json::<_, Value>("/v1/topology", &wrong).await.unwrap_err()), "topology-refused");
        let unknown = json!({"based_on": 1, "settings": {}, "colour": "blue"});
        assert_eq!(code(&socket.put_json::<_, Value>("/v1/settings", &unknown).await.unwrap_err()), "unprocessable");
    })
    .await;
}

#[tokio::test]
async fn a_usage_report_is_ordered_where_there_is_an_endpoint() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent, socket, _, recorder| async move {
        let nothing = json!({});
        let order = || socket.post_json::<_, Value>("/v1/usage/report", &nothing);
        assert_eq!(code(&order().await.unwrap_err()), "no-usage-endpoint");
        let ca = rcgen::generate_simple_self_signed(vec!["usage.example.net".to_owned()]).unwrap().cert.pem();
        let usage = json!({ "usage": { "url": "https://usage.example.net", "ca_pem": ca } });
        let settings: Settings = serde_json::from_value(usage).unwrap();
        agent.change_settings(&NewSettings { based_on: 0, settings }).await.unwrap();
        assert_eq!(order().await.unwrap()["look_at"], "/v1/usage");
        *recorder.refuse.lock().unwrap() = Some("there is no unit tbi-usage.service".to_owned());
        let refused = order().await.unwrap_err();
        assert!(code(&refused) == "cannot-report" && refused.to_string().contains("no unit tbi-usage"), "{refused}");
        assert_eq!(*recorder.reports.lock().unwrap(), 2, "without an endpoint nothing was started");
        let entries: Value = socket.get_json("/v1/audit?action=usage.report.order").await.unwrap();
        let outcomes: Vec<_> = entries.as_array().unwrap().iter().map(|entry| entry["outcome"].clone()).collect();
        assert_eq!(outcomes, ["failed", "done", "refused"]);
    })
    .await;
}

/// One request over the socket with a body that is no JSON: (status, body).
async fn send(socket: &UnixClient, method: &str, path: &str, length: Option<usize>, body: &[u8]) -> (u16, Value) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::UnixStream::connect(socket.socket()).await.unwrap();
    let length = length.map_or("transfer-encoding: chunked".to_owned(), |length| format!("content-length: {length}"));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: text/plain\r\n{length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn an_operators_own_router_is_imported_chosen_and_removed() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent, socket, _, recorder| async move {
        let isp = |socket: UnixClient| async move { socket.get_json::<Value>("/v1/isp").await.unwrap() };
        assert_eq!(isp(socket.clone()).await, json!({"router": "frr", "root": null}));
        let choose = |based_on, router| {
            let settings = serde_json::from_value(json!({ "isp_router": router })).unwrap();
            NewSettings { based_on, settings }
        };
        let refused = agent.change_settings(&choose(0, "own")).await.unwrap_err();
        assert_eq!(code(&refused), "isp-root-missing");
        assert!(refused.to_string().contains("PUT /v1/isp/root"), "{refused}");

        // More than the limit of every other body.
        let file = squashfs(tbi_daemon::BODY_LIMIT * 3);
        let path = "/v1/isp/root";
        let (status, root) = send(&socket, "PUT", path, Some(file.len()), &file).await;
        assert_eq!((status, root["bytes"].as_u64()), (200, Some(file.len() as u64)), "{root}");
        for (length, body, status, code) in [
            (Some(4), &b"PK\x03\x04"[..], 422, "isp-root-refused"),
            (Some(3 << 30), b"", 413, "isp-root-too-large"),
            (None, b"0\r\n\r\n", 411, "length-required"),
        ] {
            let (found, problem) = send(&socket, "PUT", path, length, body).await;
            assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{problem}");
        }
        assert_eq!(isp(socket.clone()).await, json!({"router": "frr", "root": root}), "the old one stays");

        agent.change_settings(&choose(0, "own")).await.unwrap();
        let own = ChosenRouter::Own(root["sha256"].as_str().map(str::to_owned));
        soon("the choice", || recorder.changes.lock().unwrap().iter().any(|change| change.router == own)).await;
        for method in ["PUT", "DELETE"] {
            let (status, problem) = send(&socket, method, path, Some(0), b"").await;
            assert_eq!((status, problem["code"].as_str()), (409, Some("isp-root-in-use")), "{problem}");
        }
        let capabilities: Value = socket.get_json("/v1/capabilities").await.unwrap();
        let capability = json!({"name": "isp.own", "available": true, "sentence": ""});
        assert!(capabilities["capabilities"].as_array().unwrap().contains(&capability), "{capabilities}");

        agent.change_settings(&choose(1, "frr")).await.unwrap();
        let (status, left) = send(&socket, "DELETE", path, Some(0), b"").await;
        assert_eq!((status, left), (200, json!({"router": "frr", "root": null})));
    })
    .await;
}

#[tokio::test]
async fn a_router_in_the_slot_is_given_a_configuration_and_an_operators_is_judged() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |_, socket, _, _| async move {
        let text = socket.get_text("/v1/isp/config.boot").await.unwrap();
        assert!(text.contains("route 172.16.0.0/16 {") && !text.contains("interfaces {"), "{text}");
        let check = "/v1/isp/config.boot/check";
        let (status, said) = send(&socket, "POST", check, Some(text.len()), text.as_bytes()).await;
        assert_eq!((status, said["routes"].as_array().unwrap().len()), (200, 0), "{said}");
        assert!(!said["interfaces"].as_array().unwrap().is_empty());
        let (status, said) = send(&socket, "POST", check, Some(1), b"}").await;
        assert_eq!((status, said["code"].as_str()), (422, Some("config-boot-refused")));
        assert!(said["detail"].as_str().unwrap().contains("line 1"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn the_reason_of_a_restart_is_shown_after_it() {
    let (state, root) = booted("one");
    let order = |reason: &str| power::Order { action: Action::Reboot, reason: reason.to_owned() };
    on_a_box(state.path(), root, |agent, _, _, recorder| async move {
        assert_eq!(agent.status().await.unwrap().last_boot.kind, BootKind::First);
        for bad in ["", "  ", "two\nlines", &"x".repeat(201)] {
            assert_eq!(code(&agent.power(&order(bad)).await.unwrap_err()), "reason-refused");
        }
        assert!(recorder.orders.lock().unwrap().is_empty());
        agent.power(&order("new cable")).await.unwrap();
        assert_eq!(*recorder.orders.lock().unwrap(), [Action::Reboot]);
    })
    .await;
    for (boot, kind, sentence) in
        [("two", BootKind::Ordered, "Restart ordered: new cable"), ("three", BootKind::Clean, "nobody said why")]
    {
        let (_fixture, root) = booted(boot);
        on_a_box(state.path(), root, |agent, _, _, recorder| async move {
            let last = agent.status().await.unwrap().last_boot;
            assert_eq!(last.kind, kind);
            assert!(last.sentence.contains(sentence), "{last:?}");
            // One that the system refuses is no reason for the next start.
            *recorder.refuse.lock().unwrap() = Some("polkit says no".to_owned());
            assert_eq!(code(&agent.power(&order("no")).await.unwrap_err()), "power-refused");
        })
        .await;
    }
}

#[tokio::test]
async fn hardware_and_status_follow_the_machine() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent, socket, _, _| async move {
        let hardware: Value = socket.get_json("/v1/hardware").await.unwrap();
        assert_eq!(hardware["nics"][0]["role"], "management");
        let status = agent.status().await.unwrap();
        assert_eq!((status.host_name.as_str(), status.management_interface.as_deref()), ("bench-1", Some("ens3")));
        assert_eq!(status.certificate_sha256, agent.identity().await.unwrap().certificate_sha256);
        assert!(!status.problems.is_empty(), "the network is not laid");
        assert_eq!(status.door_certificate, None, "the door has said nothing");
    })
    .await;
}

/// A box without a socket, and who allows its runs.
async fn permitting(state: &Path, root: Root) -> (Arc<Appliance>, Permit) {
    let seams = Seams {
        runs: Arc::new(OneRun { run: watch::Sender::new(run()), folder: state.join("runs") }),
        workloads: Arc::new(EngineIsWell),
        power: Arc::new(Recorder::default()),
        reapply: Arc::new(Recorder::default()),
        reporting: Arc::new(Recorder::default()),
        checks: Arc::new(bench::Made::default()),
    };
    let place = Place { root, state: state.to_owned(), run: state.join("run") };
    let (appliance, _waiting) = Appliance::open(place, seams).await.unwrap();
    let permit = Permit::default();
    permit.belongs_to(&appliance);
    (appliance, permit)
}

fn somebody() -> By {
    By { actor: "local".to_owned(), role: None, source: "local".to_owned(), correlation_id: String::new() }
}

fn asked(id: &str) -> Request {
    let plan = tbi_bench::plan::Plan::of_profile(tbi_bench::plan::Profile::Short);
    let plan_sha256 = plan_sha256(&plan).unwrap();
    Request { run: id.to_owned(), plan, plan_sha256, by: somebody(), bypass: None }
}

#[tokio::test]
async fn a_usage_spool_that_cannot_be_written_does_not_stop_runs() {
    let (dir, root) = booted("one");
    // A file where the folder should be: root, too, cannot write it.
    std::fs::write(dir.path().join("spool"), "").unwrap();
    let (appliance, permit) = permitting(dir.path(), root).await;
    let id = run().id;
    assert!(permit.authorize(asked(&id)).await.unwrap().is_some(), "the run is allowed");
    let over = Run { state: RunState::Passed, sentence: "It is well.".to_owned(), ..run() };
    permit.finished(Finished { run: over, by: somebody(), blocks: 7, record_sha256: None }).await;
    // The run is in the book as if the meter were well, and the meter says what is wrong with it.
    let row = appliance.ledger(move |ledger, _key| ledger.run(&id)).await.unwrap().unwrap();
    assert_eq!((row.state.as_str(), row.sentence.as_str()), ("passed", "It is well."));
    let standing = appliance.meter().standing(None);
    assert!(standing.last == 0 && standing.sentence.contains("check the state partition"), "{standing:?}");
    assert!(appliance.meter().pending(1).is_err() && appliance.meter().acknowledge(0).is_err());
}

#[tokio::test]
async fn a_run_that_cannot_be_booked_is_not_authorised() {
    let (dir, root) = booted("one");
    let (appliance, permit) = permitting(dir.path(), root).await;
    let refused = permit.authorize(asked("two\nlines")).await.unwrap_err();
    assert!(refused.contains("control characters"), "{refused}");
    let receipt = appliance.ledger(|ledger, _key| ledger.receipt("two\nlines")).await;
    assert_eq!(receipt.map_err(|error: tbi_ledger::LedgerError| error.to_string()), Ok(None), "all or nothing");
}

#[tokio::test]
async fn with_the_ledger_only_in_memory_a_run_is_authorised_only_without_enforcement() {
    let (dir, root) = booted("one");
    std::fs::write(dir.path().join("file"), "").unwrap();
    let (appliance, permit) = permitting(&dir.path().join("file/state"), root).await;
    assert!(permit.authorize(asked("20260131T235959Z")).await.unwrap().is_some(), "the developer envelope");
    let settings = serde_json::from_value(json!({ "licence": { "enforce": true } })).unwrap();
    let unkept = appliance.change_settings(NewSettings { based_on: 0, settings }).await;
    assert!(unkept.is_err() && appliance.policy().enforce, "in force, but nowhere written down");
    let refused = permit.authorize(asked("20260201T000000Z")).await.unwrap_err();
    assert!(refused.contains("the disk cannot be written") && refused.contains("restart the box"), "{refused}");
    let health = appliance.health().await;
    let trail = health.components.iter().find(|part| part.name == "audit").unwrap();
    assert!(trail.sentence.contains("kept in memory only"), "{trail:?}");
}
