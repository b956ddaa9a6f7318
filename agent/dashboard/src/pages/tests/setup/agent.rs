//! The agent's part of the wizard, as far as pages need it: keeps what it is sent, and refuses what a test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use http::{Method, StatusCode, Uri};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tbi_api::device::{Authority, Bundle, Change as DeviceChange, Device, Fact, Kind, Standing};
use tbi_api::hardware::Nic;
use tbi_api::node::KeyStorage;
use tbi_api::settings::{Change, Settings, Snapshot};
use tbi_api::setup::{Finding, FindingVerdict, Locale, Mark, Setup, Step, StepState, TimeReport, TrunkCheck};
use tbi_api::trial::{Order, Trial, Trials};
use tbi_daemon::ApiError;

const STEPS: [&str; 12] = [
    "account",
    "language",
    "name",
    "management",
    "time",
    "certificate",
    "topology",
    "trunk",
    "device",
    "authorities",
    "preflight",
    "summary",
];

/// What it says and keeps.
pub(in super::super) struct Told {
    /// The test is about the setup.
    pub(super) is_asked: bool,
    pub(super) marks: BTreeMap<String, Mark>,
    pub(super) finished: Option<String>,
    pub(super) locale: Locale,
    pub(super) settings: Snapshot,
    pub(super) trials: Trials,
    pub(super) device: Device,
    pub(super) change: Option<DeviceChange>,
    pub(super) authorities: Vec<Authority>,
    pub(super) persona_ca: Option<String>,
    pub(super) cards: Vec<Nic>,
    pub(super) findings: Vec<Finding>,
    /// What is refused, by method and path: code and sentence.
    pub(super) refuse: BTreeMap<String, (StatusCode, &'static str, String)>,
}

pub(in super::super) type Shared = Arc<Mutex<Told>>;

fn locked(told: &Shared) -> std::sync::MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Told {
    fn setup(&self) -> Setup {
        let step = |name: &&str| {
            let by_itself = if *name == "account" { StepState::Done } else { StepState::Todo };
            let state = self.marks.get(*name).map_or(by_itself, |mark| mark.state);
            Step {
                name: (*name).to_owned(),
                state,
                when: (state != StepState::Todo).then(|| "2026-01-31T23:00:00Z".to_owned()),
                by: None,
                reason: self.marks.get(*name).and_then(|mark| mark.reason.clone()),
                optional: ["name", "time", "certificate", "trunk", "authorities", "preflight"].contains(name),
                sentence: "What it is for.".to_owned(),
            }
        };
        let steps: Vec<Step> = STEPS.iter().map(step).collect();
        let current = steps.iter().find(|step| step.state == StepState::Todo).map(|step| step.name.clone());
        Setup { steps, current, finished: self.finished.clone() }
    }

    fn refusal(&self, method: &Method, uri: &Uri) -> Option<Response> {
        let (status, code, sentence) = self.refuse.get(&format!("{method} {}", uri.path()))?;
        Some(ApiError::new(*status, code, sentence.clone()).into_response())
    }
}

pub(super) fn card(name: &str, mac: &str, role: &str) -> Nic {
    Nic {
        name: name.to_owned(),
        mac: mac.to_owned(),
        driver: "virtio_net".to_owned(),
        speed_mbps: Some(10_000),
        carrier: true,
        rx_queues: 2,
        tx_queues: 2,
        sriov_vfs: 0,
        role: role.to_owned(),
    }
}

pub(super) fn finding(name: &str, verdict: FindingVerdict, evidence: &str, remedy: &str) -> Finding {
    Finding { name: name.to_owned(), verdict, evidence: evidence.to_owned(), remedy: remedy.to_owned() }
}

pub(super) fn authority(sha256: &str, subject: &str) -> Authority {
    Authority {
        sha256: sha256.to_owned(),
        subject: subject.to_owned(),
        issuer: subject.to_owned(),
        not_before: "2026-01-01T00:00:00Z".to_owned(),
        not_after: "2036-01-01T00:00:00Z".to_owned(),
        added: "2026-01-31T23:00:00Z".to_owned(),
        pem: "-----BEGIN CERTIFICATE-----".to_owned(),
    }
}

pub(in super::super) fn told() -> Shared {
    let fact = Fact {
        name: "switching".to_owned(),
        value: "Cannot be switched yet.".to_owned(),
        standing: Standing::Absent,
        evidence: "no adapter".to_owned(),
    };
    Arc::new(Mutex::new(Told {
        is_asked: false,
        marks: BTreeMap::new(),
        finished: None,
        locale: Locale::default(),
        settings: Snapshot { version: 3, changed: String::new(), settings: Settings::default() },
        trials: Trials::default(),
        device: Device {
            kind: Kind::Practice,
            address: None,
            account: None,
            secret: None,
            changed: None,
            capabilities: vec![fact],
        },
        change: None,
        authorities: Vec::new(),
        persona_ca: None,
        cards: vec![card("ens3", "52:54:00:00:00:03", "management"), card("ens4", "52:54:00:00:00:04", "unused")],
        findings: vec![finding("link", FindingVerdict::Failed, "ens4 has no link.", "Plug it in.")],
        refuse: BTreeMap::new(),
    }))
}

/// Answers for the setup, where a test is about it; other tests have answers of their own at some of its paths.
#[derive(Clone)]
pub(in super::super) struct Agent {
    told: Shared,
    router: TowerToHyperService<Router>,
}

impl Agent {
    pub(in super::super) fn of(told: &Shared) -> Self {
        Self { told: Arc::clone(told), router: TowerToHyperService::new(router(Arc::clone(told))) }
    }
}

/// See [`Agent`].
pub(in super::super) async fn first(State(agent): State<Agent>, request: Request, next: Next) -> Response {
    const OWN: [&str; 8] = [
        "/v1/setup",
        "/v1/locale",
        "/v1/settings",
        "/v1/device",
        "/v1/personas/ca.pem",
        "/v1/hardware",
        "/v1/time",
        "/v1/trunk",
    ];
    let is_own = OWN.iter().any(|path| request.uri().path().starts_with(path));
    if !(is_own && locked(&agent.told).is_asked) {
        return next.run(request).await;
    }
    let Ok(response) = agent.router.call(request).await;
    response
}

fn router(told: Shared) -> Router {
    Router::new()
        .route("/v1/setup", get(|State(told): State<Shared>| async move { Json(locked(&told).setup()) }))
        .route("/v1/setup/steps/{step}", put(mark))
        .route("/v1/setup/finish", post(finish))
        .route(
            "/v1/locale",
            get(|State(told): State<Shared>| async move { Json(locked(&told).locale.clone()) }).put(locale),
        )
        .route(
            "/v1/settings",
            get(|State(told): State<Shared>| async move { Json(locked(&told).settings.clone()) }).put(settings),
        )
        .route(
            "/v1/settings/trial",
            get(|State(told): State<Shared>| async move { Json(locked(&told).trials.clone()) })
                .post(begin)
                .delete(withdraw),
        )
        .route("/v1/settings/trial/confirm", post(confirm))
        .route(
            "/v1/device",
            get(|State(told): State<Shared>| async move { Json(locked(&told).device.clone()) }).put(device),
        )
        .route(
            "/v1/device/authorities",
            get(|State(told): State<Shared>| async move { Json(locked(&told).authorities.clone()) }).post(bring),
        )
        .route("/v1/device/authorities/{sha256}", delete(forget))
        .route("/v1/personas/ca.pem", get(persona_ca))
        .route("/v1/hardware", get(hardware))
        .route("/v1/time", get(time))
        .route("/v1/trunk/check", get(check))
        .route("/v1/trunk/probe", post(probe))
        .with_state(told)
}

async fn mark(
    State(told): State<Shared>,
    method: Method,
    uri: Uri,
    Path(step): Path<String>,
    Json(mark): Json<Mark>,
) -> Response {
    let mut told = locked(&told);
    if let Some(refusal) = told.refusal(&method, &uri) {
        return refusal;
    }
    told.marks.insert(step, mark);
    Json(told.setup()).into_response()
}

async fn finish(State(told): State<Shared>, method: Method, uri: Uri) -> Response {
    let mut told = locked(&told);
    if let Some(refusal) = told.refusal(&method, &uri) {
        return refusal;
    }
    told.finished = Some("2026-01-31T23:59:59Z".to_owned());
    Json(told.setup()).into_response()
}

async fn locale(State(told): State<Shared>, Json(locale): Json<Locale>) -> Response {
    locked(&told).locale = locale.clone();
    Json(locale).into_response()
}

async fn settings(State(told): State<Shared>, method: Method, uri: Uri, Json(change): Json<Change>) -> Response {
    let mut told = locked(&told);
    if let Some(refusal) = told.refusal(&method, &uri) {
        return refusal;
    }
    told.settings = Snapshot { version: change.based_on + 1, changed: String::new(), settings: change.settings };
    Json(told.settings.clone()).into_response()
}

async fn begin(State(told): State<Shared>, method: Method, uri: Uri, Json(order): Json<Order>) -> Response {
    let mut told = locked(&told);
    if let Some(refusal) = told.refusal(&method, &uri) {
        return refusal;
    }
    let trial = Trial {
        version: order.based_on + 1,
        before: told.settings.settings.management.clone(),
        management: order.management,
        begun: "2026-01-31T23:30:00Z".to_owned(),
        until: "2026-01-31T23:31:00Z".to_owned(),
        seconds_left: order.seconds.unwrap_or(60).into(),
        by: "anna".to_owned(),
    };
    told.trials.on = Some(trial.clone());
    (StatusCode::CREATED, Json(trial)).into_response()
}

fn no_trial() -> Response {
    ApiError::new(StatusCode::CONFLICT, "no-trial", "none is on").into_response()
}

async fn confirm(State(told): State<Shared>) -> Response {
    let mut told = locked(&told);
    match told.trials.on.take() {
        Some(_trial) => Json(told.trials.clone()).into_response(),
        None => no_trial(),
    }
}

async fn withdraw(State(told): State<Shared>) -> Response {
    match locked(&told).trials.on.take() {
        Some(_trial) => StatusCode::NO_CONTENT.into_response(),
        None => no_trial(),
    }
}

async fn device(State(told): State<Shared>, method: Method, uri: Uri, Json(change): Json<DeviceChange>) -> Response {
    let mut told = locked(&told);
    if let Some(refusal) = told.refusal(&method, &uri) {
        return refusal;
    }
    told.device = Device {
        kind: change.kind,
        address: change.address.clone(),
        account: change.account.clone(),
        secret: change.secret.as_ref().map(|_| KeyStorage::SealedToTpm),
        changed: Some("2026-01-31T23:30:00Z".to_owned()),
        capabilities: told.device.capabilities.clone(),
    };
    told.change = Some(change);
    Json(told.device.clone()).into_response()
}

async fn bring(State(told): State<Shared>, method: Method, uri: Uri, Json(_bundle): Json<Bundle>) -> Response {
    let mut told = locked(&told);
    if let Some(refusal) = told.refusal(&method, &uri) {
        return refusal;
    }
    told.authorities.push(authority(&"ab".repeat(32), "CN=FW re-sign CA"));
    Json(told.authorities.clone()).into_response()
}

async fn forget(State(told): State<Shared>, Path(sha256): Path<String>) -> Response {
    let mut told = locked(&told);
    let before = told.authorities.len();
    told.authorities.retain(|one| one.sha256 != sha256);
    match told.authorities.len() == before {
        true => ApiError::new(StatusCode::NOT_FOUND, "no-such-authority", "there is none").into_response(),
        false => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn persona_ca(State(told): State<Shared>) -> Response {
    match locked(&told).persona_ca.clone() {
        Some(pem) => pem.into_response(),
        None => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "personas-silent", "not up").into_response(),
    }
}

async fn hardware(State(told): State<Shared>) -> Json<Value> {
    Json(json!({
        "machine": "test", "virtualisation": null, "memory_bytes": 1, "disks": [], "tpm": null, "nics": locked(&told).cards,
        "cpu": {"model": "", "threads": 1, "aes_ni": true, "avx2": true, "avx512": false, "vaes": false},
        "verdict": {"handshakes_per_second": 1, "throughput_mbps": 1, "sentences": []},
    }))
}

async fn time(State(told): State<Shared>) -> Json<TimeReport> {
    Json(TimeReport {
        now: "2026-01-31T23:30:00Z".to_owned(),
        servers: Vec::new(),
        synchronised: false,
        rtc_skew_seconds: Some(7),
        findings: locked(&told).findings.clone(),
    })
}

async fn probe(State(told): State<Shared>, method: Method, uri: Uri) -> Response {
    {
        let mut told = locked(&told);
        if let Some(refusal) = told.refusal(&method, &uri) {
            return refusal;
        }
        let evidence =
            "Asked at 2026-01-31T23:30:00Z: somebody else answers for 172.17.0.2 on VLAN 30 (52:54:00:00:00:09).";
        told.findings = vec![finding("duplicates", FindingVerdict::Failed, evidence, "Find it in the switch's table.")];
    }
    check(State(told)).await.into_response()
}

async fn check(State(told): State<Shared>) -> Json<TrunkCheck> {
    Json(TrunkCheck { mac: None, interface: None, findings: locked(&told).findings.clone() })
}
