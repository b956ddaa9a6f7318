//! The API as the agent uses it, over a unix socket.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Stand, order};
use futures_util::StreamExt;
use tbi_bench::control::engine::{ProbeOrder, ProbeReport, Tick, TrialOrder, TrialReport, TrialStatus};
use tbi_bench::protocol::Protocol;
use tbi_bench::units::Span;
use tbi_daemon::{ClientError, Health, Listener, Shutdown, UnixClient};
use tbi_engine::api::{Document, Engine};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use utoipa::OpenApi;

/// Runs `story` against an engine on a socket of its own.
fn with_engine(story: impl AsyncFnOnce(UnixClient)) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("engine.sock");
    common::runtime().block_on(async {
        let shutdown = Shutdown::new();
        let engine = Engine::new(1, shutdown.clone());
        let health = Health::new();
        health.set_ready(Ok(()));
        let listener = Listener::bind(&path).unwrap();
        let server = tokio::spawn(tbi_daemon::serve(
            listener,
            engine.router(),
            health,
            Document::openapi(),
            String::new,
            shutdown.clone(),
        ));
        let client = UnixClient::new(&path);
        client.wait_ready(Duration::from_secs(5)).await.unwrap();
        story(client).await;
        shutdown.request();
        server.await.unwrap().unwrap();
    });
}

async fn ended(client: &UnixClient, id: &str) -> TrialReport {
    let path = format!("/v1/trials/{id}");
    for _ in 0..600 {
        match client.get_json(&path).await.unwrap() {
            TrialStatus::Ended { report } => return *report,
            TrialStatus::Running { .. } => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("trial {id} did not end");
}

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    result.unwrap_err().code().unwrap().to_owned()
}

#[test]
fn a_trial_runs_ticks_and_is_reported_and_only_one_runs_at_a_time() {
    let stand = Stand::start(1);
    with_engine(async |client| {
        let mut words = order(&stand, Protocol::H1);
        words.phases.sustain = Span::from_millis(1600);
        let _: TrialStatus = client.put_json("/v1/trials/one", &words).await.unwrap();
        let _: TrialStatus = client.put_json("/v1/trials/one", &words).await.unwrap();
        assert_eq!(code(client.put_json::<TrialOrder, TrialStatus>("/v1/trials/two", &words).await), "busy");
        let probes = probe_order(&words);
        assert_eq!(code(client.post_json::<_, ProbeReport>("/v1/probes", &probes).await), "busy");
        let events: Vec<_> = client.events("/v1/trials/one/ticks").await.unwrap().map(Result::unwrap).collect().await;
        assert_eq!(events.last().unwrap().name, "bye");
        let ticks: Vec<Tick> = events
            .iter()
            .filter(|event| event.name == "tick")
            .map(|event| serde_json::from_str(&event.data).unwrap())
            .collect();
        let report = ended(&client, "one").await;
        assert!(!report.stopped && report.attempts.succeeded > 0);
        assert_eq!(report.ticks, ticks);
        assert!(ticks.len() >= 2 && ticks.iter().map(|tick| tick.succeeded).sum::<u64>() >= report.attempts.succeeded);
        assert!(report.witness.cpu.total_us() > 0 && report.witness.workers == 1);
        assert!((0.0..=1.0).contains(&report.witness.busiest_worker) && report.witness.busiest_worker > 0.0);
        let report: ProbeReport = client.post_json("/v1/probes", &probes).await.unwrap();
        assert_eq!(report.probes.len(), 1);
        assert_eq!(code(client.get_json::<TrialStatus>("/v1/trials/never").await), "no-such-trial");
    });
}

#[test]
fn a_stopped_trial_reports_what_it_measured() {
    let stand = Stand::start(1);
    with_engine(async |client| {
        let mut words = order(&stand, Protocol::H2);
        words.phases.sustain = Span::from_secs(3600);
        let _: TrialStatus = client.put_json("/v1/trials/long", &words).await.unwrap();
        let mut events = client.events("/v1/trials/long/ticks").await.unwrap();
        for _ in 0..2 {
            assert_eq!(events.next().await.unwrap().unwrap().name, "tick");
        }
        client.delete("/v1/trials/long").await.unwrap();
        let report = ended(&client, "long").await;
        assert!(report.stopped && report.attempts.succeeded > 0);
        assert!(report.sustain < Span::from_secs(60), "{}", report.sustain);
        common::check_sums(&report);
    });
}

#[test]
fn probes_end_with_their_caller() {
    let stand = Stand::start(1);
    with_engine(async |client| {
        let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = mute.local_addr().unwrap();
        let mut probes = probe_order(&order(&stand, Protocol::H1));
        probes.timeout = Span::from_secs(60);
        probes.sources.clear();
        (probes.targets[0].address, probes.targets[0].port) = (address.ip(), address.port());
        let caller = client.clone().with_timeout(Duration::from_secs(60));
        let asked = tokio::spawn(async move { caller.post_json::<_, ProbeReport>("/v1/probes", &probes).await });
        let (mut connection, _from) = mute.accept().await.unwrap();
        asked.abort();
        let mut hello = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), connection.read_to_end(&mut hello)).await;
        assert!(ended.is_ok(), "the probe goes on although nobody waits for it");
    });
}

#[test]
fn bad_orders_are_problems_with_a_code() {
    let stand = Stand::start(1);
    with_engine(async |client| {
        let mut words = order(&stand, Protocol::H1);
        assert_eq!(code(client.put_json::<_, TrialStatus>("/v1/trials/a%20b", &words).await), "bad-trial-id");
        words.trust.persona_ca_pem.clear();
        assert_eq!(code(client.put_json::<_, TrialStatus>("/v1/trials/a", &words).await), "ca-unusable");
        words.targets.clear();
        assert_eq!(code(client.put_json::<_, TrialStatus>("/v1/trials/a", &words).await), "order-impossible");
    });
}

fn probe_order(words: &TrialOrder) -> ProbeOrder {
    ProbeOrder {
        protocol: words.protocol,
        targets: words.targets.clone(),
        per_target: 1,
        parallel: 1,
        fall_back: false,
        sources: words.sources.clone(),
        trust: words.trust.clone(),
        tls: words.tls.clone(),
        timeout: Span::from_secs(2),
        seed: 3,
    }
}

#[test]
fn every_metric_is_documented_as_it_is() {
    let engine = Engine::new(1, Shutdown::new());
    let document = include_str!("../../../docs/metrics.md");
    let found = tbi_daemon::exposition::differences(document, &["engine"], &engine.metrics(), &[]);
    assert!(found.is_empty(), "{found:#?}");
}
