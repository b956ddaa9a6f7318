//! What the box tells of its bench: over the real API, with daemons that are stood up on their sockets or are not there.

use std::sync::Mutex;

use axum::Json;
use axum::routing::get;
use jiff::Timestamp;
use serde_json::json;
use tbi_api::bench::{Dut, Evidence, Examination, Order, Phase};
use tbi_api::history::Asked;
use tbi_api::runs::Profile;
use tbi_bench::control::practice_dut::{Behaviour, TcpPolicy};

use super::super::checks::{Checks, ProbeRefused};
use super::super::history;
use super::*;

/// Checks that are under way until somebody ends them.
#[derive(Default)]
pub(super) struct Made(Mutex<Examination>);

impl Checks for Made {
    fn examine(&self, order: Order) -> Result<Examination, RunRefused> {
        let mut now = self.0.lock().unwrap();
        if now.phase.is_going() {
            return Err(RunRefused::Checking);
        }
        *now = Examination { phase: Phase::Checking, profile: order.profile, ..Examination::default() };
        Ok(now.clone())
    }

    fn cancel(&self) -> bool {
        let mut now = self.0.lock().unwrap();
        let going = now.phase.is_going();
        if going {
            now.phase = Phase::Cancelled;
        }
        going
    }

    fn examination(&self) -> Examination {
        self.0.lock().unwrap().clone()
    }

    /// The program's files are the test's; without any it is one that did not get as far.
    fn probe(&self) -> BoxFuture<'_, Result<(), ProbeRefused>> {
        let asked = match self.examination().phase.is_going() {
            true => Err(RunRefused::Checking.into()),
            false => Ok(()),
        };
        Box::pin(std::future::ready(asked))
    }
}

/// A daemon on a socket of its own until the test ends.
fn daemon(socket: &Path, router: axum::Router) -> Shutdown {
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let (listener, health, shutdown) = (Listener::bind(socket).unwrap(), Health::new(), Shutdown::new());
    health.set_ready(Ok(()));
    let document =
        serde_json::from_value(json!({"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {}}));
    tokio::spawn(tbi_daemon::serve(listener, router, health, document.unwrap(), String::new, shutdown.clone()));
    shutdown
}

#[tokio::test]
async fn checks_are_made_without_a_run_and_not_twice_at_once() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, async |agent, _socket, _runs, _recorder| {
        assert_eq!(agent.preflight().await.unwrap().phase, Phase::Never);
        let begun = agent.start_preflight(&Order { profile: Profile::Quick }).await.unwrap();
        assert_eq!((begun.phase, begun.profile), (Phase::Checking, Profile::Quick));
        let refused = agent.start_preflight(&Order::default()).await.unwrap_err();
        assert_eq!(code(&refused), "checks-under-way");
        agent.cancel_preflight().await.unwrap();
        assert_eq!(agent.preflight().await.unwrap().phase, Phase::Cancelled);
        assert_eq!(code(&agent.cancel_preflight().await.unwrap_err()), "no-checks-under-way");
        let entries = agent.audit(&Default::default()).await.unwrap();
        let changes = entries.iter().filter(|entry| entry.target == "/v1/preflight").count();
        assert_eq!(changes, 4, "what was ordered and what was refused is in the chain: {entries:?}");
    })
    .await;
}

#[tokio::test]
async fn all_hundred_personas_are_told_also_while_their_daemon_is_down() {
    let (dir, root) = booted("one");
    let socket = dir.path().join("run/personas.sock");
    on_a_box(dir.path(), root, async |agent, _socket, _runs, _recorder| {
        let silent = agent.personas().await.unwrap();
        assert_eq!((silent.personas.len(), silent.ca), (100, None));
        assert!(silent.sentence.contains("personas.sock"), "{}", silent.sentence);
        assert!(silent.personas.iter().all(|persona| persona.certificate.is_none() && persona.addresses.len() == 2));
        let certificate = json!({
            "persona": "br-bank", "subject": "CN=bank", "issuer": "CN=ca", "key": "ecdsa-p256", "not_before": 1,
            "not_after": 2, "sha256": "ab",
        });
        let status = json!({
            "sites": 1, "ca_sha256": "cd", "ca_not_after": 9, "leaves_valid": [1, 2], "cpu": {"user_us": 0, "system_us": 0},
            "handshakes": 0, "handshake_failures": 0, "sni_mismatches": 0, "requests": 0,
        });
        let router = axum::Router::new()
            .route("/v1/certificates", get(async move || Json(json!([certificate]))))
            .route("/v1/status", get(async move || Json(status)));
        let shutdown = daemon(&socket, router);
        let told = agent.personas().await.unwrap();
        assert_eq!((told.ca.unwrap().sha256.as_str(), told.sentence.as_str()), ("cd", ""));
        let with: Vec<_> = told.personas.iter().filter(|persona| persona.certificate.is_some()).collect();
        assert_eq!((with.len(), with[0].id.as_str(), with[0].country.as_str()), (1, "br-bank", "br"));
        shutdown.request();
    })
    .await;
}

#[tokio::test]
async fn the_device_is_the_practice_dut_with_its_behaviour_or_says_why_not() {
    let (dir, root) = booted("one");
    let socket = dir.path().join("run/practice-dut.sock");
    on_a_box(dir.path(), root, async |agent, _socket, _runs, _recorder| {
        let Dut::Practice { behaviour: None, sentence, .. } = agent.dut().await.unwrap() else {
            unreachable!("no practice DUT")
        };
        assert!(sentence.contains("practice-dut.sock"), "{sentence}");
        let behaviour = Behaviour { tcp: TcpPolicy::Decrypt, ..Behaviour::default() };
        let router = axum::Router::new().route("/v1/behaviour", get(async move || Json(behaviour)));
        let shutdown = daemon(&socket, router);
        let Dut::Practice { behaviour: Some(told), identity: None, .. } = agent.dut().await.unwrap() else {
            unreachable!("what answers is told although the rest does not")
        };
        assert_eq!(told.tcp, TcpPolicy::Decrypt);
        shutdown.request();
    })
    .await;
}

#[tokio::test]
async fn the_newest_record_says_what_was_proven_and_what_the_bench_limited() {
    let (dir, root) = booted("one");
    let folder = dir.path().join("runs");
    on_a_box(dir.path(), root, async |agent, _socket, runs, _recorder| {
        assert_eq!(agent.evidence().await.unwrap(), Evidence::default(), "no run is over");
        runs.run.send_modify(|run| run.state = RunState::Passed);
        std::fs::create_dir_all(&folder).unwrap();
        let row = json!({
            "protocol": "h2", "arm": "on", "intercepted": 7, "end_to_end": 0, "altered": 0, "unknown": 0, "as_expected": true,
            "issuer_dut_ca": 7, "issuer_persona_ca": 0,
        });
        let number = json!({
            "protocol": "h2", "object": "1KB", "object_bytes": 1024, "kpi": "throughput", "unit": "Mbit/s", "on": 1.0, "bypass": 2.0,
            "reference": 2.1, "cost": null, "headroom": 1.05, "bench_limited": true, "note": "at least this much",
        });
        let mut record = json!({"id": "20260131T235959Z", "ended": "2026-02-01T00:10:00Z", "valid": true, "results": [number], "proof": []});
        let write = |record: &serde_json::Value| std::fs::write(folder.join("run.json"), record.to_string()).unwrap();
        write(&record);
        assert_eq!(agent.evidence().await.unwrap().run, None, "a record without blocks proves nothing");
        record["proof"] = json!([row]);
        write(&record);
        let told = agent.evidence().await.unwrap();
        assert_eq!((told.run.as_deref(), told.numbers, told.proof[0].intercepted), (Some("20260131T235959Z"), 1, 7));
        assert!(told.limited[0].ends_with("at least this much"), "{:?}", told.limited);
    })
    .await;
}

#[tokio::test]
async fn cards_have_their_counters() {
    let (dir, root) = booted("one");
    let statistics = root.path("sys/class/net/ens3/statistics");
    std::fs::create_dir_all(&statistics).unwrap();
    for (name, count) in [("rx_bytes", "7"), ("tx_packets", "8"), ("rx_errors", "9")] {
        std::fs::write(statistics.join(name), count).unwrap();
    }
    on_a_box(dir.path(), root, async |agent, _socket, _runs, _recorder| {
        let links = agent.links().await.unwrap();
        let first = &links.links[0];
        assert_eq!((first.name.as_str(), first.role.as_str(), first.speed_mbps), ("ens3", "management", Some(25_000)));
        assert_eq!((first.received.bytes, first.sent.packets, first.received.errors), (7, 8, 9));
        assert_eq!(links.trunk_sentence, None, "no trunk is chosen");
    })
    .await;
}

#[tokio::test]
async fn the_history_is_sampled_and_asked_for() {
    let (dir, root) = booted("one");
    let state = dir.path().to_owned();
    let (appliance, _permit) = permitting(&state.join("other"), root.clone()).await;
    let shutdown = Shutdown::new();
    let keeping = tokio::spawn(history::keep(appliance, shutdown.clone()));
    let file = state.join("other/history.ring");
    soon("a first sample", || history::read(&file, &Asked::default(), Timestamp::now()).unwrap().sentence.is_empty())
        .await;
    shutdown.request();
    keeping.await.unwrap();
    std::fs::rename(&file, state.join("history.ring")).unwrap();
    on_a_box(&state, root, async |agent, socket, _runs, _recorder| {
        let told = agent.history(&Asked::default()).await.unwrap();
        assert_eq!((told.step, told.steps.iter().map(|step| step.samples).sum::<u32>()), (60, 1));
        let refused = agent.history(&Asked { step: Some(1), ..Asked::default() }).await.unwrap_err();
        assert_eq!(code(&refused), "history-refused");
        assert!(socket.get_text("/v1/history?from=yesterday").await.is_err());
    })
    .await;
}

#[tokio::test]
async fn every_metric_of_the_agent_is_documented_as_it_is() {
    let (dir, root) = booted("one");
    let (appliance, _permit) = permitting(dir.path(), root).await;
    let document = include_str!("../../../../../docs/metrics.md");
    let text = super::super::api::metrics(&appliance);
    let found = tbi_daemon::exposition::differences(document, &["agent"], &text, &[]);
    assert!(found.is_empty(), "{found:#?}");
}
