//! A daemon on the agent's socket: served as ours are, answering in the agent's words with what a test puts there.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Query, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::json;
use tbi_api::audit::{Entry, Verification};
use tbi_api::health::{Component, Health, State as How};
use tbi_api::runs::{Compare, Filter, Order, Outline, Progress, Run, RunState, Stop};
use tbi_api::series::Series;
use tbi_api::status::{BootKind, BootReason, Slot, Status};
use tbi_bench::compare::Comparable;
use tbi_bench::record::{Authorization, Tool, Verdict};
use tbi_daemon::{ApiError, Listener, Shutdown};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::SOON;

/// A record as the engine wrote it.
pub(super) const RECORD: &str = include_str!("../../../../../engine/report/fixtures/run-v1.json");

/// What it says, and what it was asked.
pub(super) struct Told {
    pub(super) status: Status,
    pub(super) health: Health,
    pub(super) runs: Vec<Run>,
    pub(super) outline: Option<Outline>,
    pub(super) series: Option<Series>,
    /// What a run that is ordered, stopped or compared is answered, instead of being carried out.
    pub(super) refusal: Option<(StatusCode, &'static str, String)>,
    /// What was ordered.
    pub(super) orders: Vec<Order>,
    pub(super) entries: Vec<Entry>,
    pub(super) verification: Verification,
    /// What it says of the setup.
    pub(super) setup: super::setup::agent::Shared,
    pub(super) rooms: super::rooms::agent::Rooms,
    pub(super) bench: super::bench::Told,
    /// Path with query, and the fields that say who asks.
    pub(super) asked: Vec<(String, HeaderMap)>,
}

pub(super) type Shared = Arc<Mutex<Told>>;

pub(super) struct TestAgent {
    pub(super) socket: PathBuf,
    pub(super) told: Shared,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

pub(super) fn locked(told: &Shared) -> std::sync::MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestAgent {
    pub(super) fn start(socket: PathBuf) -> Self {
        let listener = Listener::bind(&socket).unwrap();
        let health = tbi_daemon::Health::new();
        health.set_ready(Ok(()));
        let (told, shutdown) = (Arc::new(Mutex::new(told())), Shutdown::new());
        let (router, stop) = (router(Arc::clone(&told)), shutdown.clone());
        let document = serde_json::from_value(json!({
            "openapi": "3.1.0", "info": {"title": "test", "version": "7"}, "paths": {},
        }))
        .unwrap();
        let serving = tokio::spawn(async move {
            tbi_daemon::serve(listener, router, health, document, String::new, stop).await.unwrap();
        });
        Self { socket, told, shutdown, serving }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Told)) {
        change(&mut locked(&self.told));
    }

    pub(super) fn asked(&self) -> Vec<(String, HeaderMap)> {
        locked(&self.told).asked.clone()
    }

    pub(super) async fn stop(&mut self) {
        self.shutdown.request();
        timeout(SOON, &mut self.serving).await.unwrap().unwrap();
    }
}

async fn note(
    State(told): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let path = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    locked(&told).asked.push((path, headers));
    next.run(request).await
}

fn missing(code: &'static str) -> Response {
    ApiError::new(StatusCode::NOT_FOUND, code, "there is none").into_response()
}

fn refused(told: &Shared) -> Option<Response> {
    let (status, code, sentence) = locked(told).refusal.clone()?;
    Some(ApiError::new(status, code, sentence).into_response())
}

async fn order(State(told): State<Shared>, Json(order): Json<Order>) -> Response {
    if let Some(refused) = refused(&told) {
        return refused;
    }
    let begun = run("20260201T000000Z", "ordered", RunState::Preparing);
    let mut told = locked(&told);
    told.orders.push(order);
    told.runs.insert(0, begun.clone());
    (StatusCode::ACCEPTED, Json(begun)).into_response()
}

async fn stop(State(told): State<Shared>, Path(id): Path<String>, Query(_stop): Query<Stop>) -> Response {
    if let Some(refused) = refused(&told) {
        return refused;
    }
    let mut told = locked(&told);
    let Some(run) = told.runs.iter_mut().find(|run| run.id == id) else { return missing("no-such-run") };
    run.state = RunState::Interrupted;
    (StatusCode::ACCEPTED, Json(run.clone())).into_response()
}

async fn series(State(told): State<Shared>) -> Response {
    let series = locked(&told).series.clone();
    series.map_or_else(|| missing("not-written-yet"), |series| Json(series).into_response())
}

/// Every run is this record, so that a change is 1.
async fn compare(State(told): State<Shared>, Query(wanted): Query<Compare>) -> Response {
    if let Some(refused) = refused(&told) {
        return refused;
    }
    let of = |id: &str| -> Comparable {
        let mut record: Comparable = serde_json::from_str(RECORD).unwrap();
        id.clone_into(&mut record.id);
        record
    };
    let others: Vec<Comparable> = wanted.runs.split(',').map(of).collect();
    Json(tbi_bench::compare::compare(&of(&wanted.baseline), &others)).into_response()
}

fn router(told: Shared) -> Router {
    Router::new()
        .route("/v1/status", get(|State(told): State<Shared>| async move { Json(locked(&told).status.clone()) }))
        .route("/v1/health", get(|State(told): State<Shared>| async move { Json(locked(&told).health.clone()) }))
        .route(
            "/v1/runs",
            get(|State(told): State<Shared>, Query(filter): Query<Filter>| async move {
                let all = locked(&told).runs.clone();
                Json(all.into_iter().filter(|run| filter.matches(run)).take(filter.most()).collect::<Vec<_>>())
            })
            .post(order),
        )
        .route("/v1/runs/compare", get(compare))
        .route("/v1/runs/{id}/series", get(series))
        .route(
            "/v1/runs/{id}",
            get(|State(told): State<Shared>, Path(id): Path<String>| async move {
                let run = locked(&told).runs.iter().find(|run| run.id == id).cloned();
                run.map_or_else(|| missing("no-such-run"), |run| Json(run).into_response())
            })
            .delete(stop),
        )
        .route(
            "/v1/runs/{id}/outline",
            get(|State(told): State<Shared>| async move {
                let outline = locked(&told).outline.clone();
                outline.map_or_else(|| missing("not-written-yet"), |outline| Json(outline).into_response())
            }),
        )
        .route("/v1/audit", get(|State(told): State<Shared>| async move { Json(locked(&told).entries.clone()) }))
        .route(
            "/v1/audit/verification",
            get(|State(told): State<Shared>| async move { Json(locked(&told).verification.clone()) }),
        )
        .merge(super::rooms::agent::routes())
        .merge(super::bench::routes())
        .layer(from_fn_with_state(Arc::clone(&told), note))
        .with_state(Arc::clone(&told))
        .layer(from_fn_with_state(super::setup::agent::Agent::of(&locked(&told).setup), super::setup::agent::first))
}

pub(super) fn run(id: &str, name: &str, state: RunState) -> Run {
    Run {
        id: id.to_owned(),
        name: name.to_owned(),
        state,
        started: "2026-01-31T23:00:00Z".to_owned(),
        ended: state.is_over().then(|| "2026-01-31T23:20:00Z".to_owned()),
        progress: (!state.is_over()).then(|| Progress {
            blocks_done: 3,
            blocks: 8,
            elapsed_seconds: 95,
            remaining_seconds: 160,
            last_block: "h2 costs a third".to_owned(),
            ..Progress::default()
        }),
        sentence: "Decryption costs 31 % of h2 throughput.".to_owned(),
        actor: Some("olaf".to_owned()),
        source: Some("192.0.2.7".to_owned()),
    }
}

pub(super) fn component(name: &str, state: How, sentence: &str) -> Component {
    let memory_bytes = Some(48 << 20);
    Component { name: name.to_owned(), state, sentence: sentence.to_owned(), restarts: 2, memory_bytes }
}

pub(super) fn outline() -> Outline {
    Outline {
        tool: Tool { name: "tbi-agent".to_owned(), version: "0.1.0".to_owned(), commit: Some("abc1234".to_owned()) },
        valid: true,
        reasons: vec!["Two pairs only: every cost is indicative.".to_owned()],
        verdict: Verdict::Passed,
        authorization: Some(Authorization {
            run: "20260131T230000Z".to_owned(),
            plan_sha256: "11".repeat(32),
            licence: "developer".to_owned(),
            tsu: 1200,
            burned: vec!["N-7".to_owned()],
            change: None,
            balance_after: 98_800,
            audit_seq: 41,
            sealed_hash: "22".repeat(32),
            when: "2026-01-31T23:00:01Z".to_owned(),
            key_id: "33".repeat(8),
            signature: "44".repeat(64),
        }),
        preflight: None,
        plan: json!({"name": "short", "pairs": 6}),
    }
}

pub(super) fn entry(seq: u64, target: &str, detail: &str) -> Entry {
    Entry {
        seq,
        when: "2026-01-31T22:59:59Z".parse().unwrap(),
        actor: "anna".to_owned(),
        role: "administrator".to_owned(),
        source: "192.0.2.7".to_owned(),
        action: "settings.change".to_owned(),
        target: target.to_owned(),
        outcome: "done".to_owned(),
        detail: detail.to_owned(),
        correlation: "c-1".to_owned(),
        hash: "55".repeat(32),
    }
}

fn told() -> Told {
    Told {
        status: Status {
            version: "0.1.0".to_owned(),
            commit: Some("abc1234".to_owned()),
            variant: "release".to_owned(),
            slot: Slot { label: "tbi_0.1.0".to_owned(), root_hash: None, entry: None, secure_boot: true },
            host_name: "tbi-c0ffee".to_owned(),
            addresses: vec!["10.0.2.15/24".to_owned()],
            management_interface: None,
            certificate_sha256: "ab:cd".to_owned(),
            door_certificate: None,
            health: How::Degraded,
            problems: vec!["The clock is not synchronised; name a time server.".to_owned()],
            last_boot: BootReason { kind: BootKind::Ordered, sentence: "Restarted by anna.".to_owned() },
            uptime_seconds: 93_600,
            time: "2026-01-31T23:30:00Z".to_owned(),
            time_synchronised: false,
            claim_code: Some("claim-code-that-is-the-consoles".to_owned()),
            run: None,
        },
        health: Health::of(vec![
            component("engine", How::Healthy, ""),
            component("clock", How::Degraded, "The clock is not synchronised; name a time server."),
        ]),
        runs: Vec::new(),
        outline: None,
        series: None,
        refusal: None,
        orders: Vec::new(),
        entries: Vec::new(),
        verification: Verification { intact: true, entries: 0, sentence: String::new() },
        setup: super::setup::agent::told(),
        rooms: super::rooms::agent::rooms(),
        bench: super::bench::Told::default(),
        asked: Vec::new(),
    }
}
