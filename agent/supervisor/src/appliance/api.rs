//! The agent's API over HTTP: the paths of `tbi_api`, each a few lines around [`Appliance`]. Decides nothing but which status an error has.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use tbi_api::hardware::Hardware;
use tbi_api::health::Health;
use tbi_api::isp::{Check, Isp, Root};
use tbi_api::node::{Capabilities, Identity};
use tbi_api::power;
use tbi_api::runs::{Order, Progress, Run};
use tbi_api::settings::{Change, Snapshot, TopologyText};
use tbi_api::status::Status;
use tbi_bench::control::Problem;
use tbi_daemon::{ApiError, ApiJson, MetricsText, Shutdown};
use tbi_ledger::LedgerError;
use utoipa::OpenApi;

use super::events;
use super::memory::ChangeError;
use super::node::{Appliance, PowerError};
use super::own_router::SlotError;
use super::seams::RunRefused;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) appliance: Arc<Appliance>,
    pub(crate) shutdown: Shutdown,
}

type Answer<T> = Result<T, ApiError>;

/// Routes of the agent.
pub(crate) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/health", get(health))
        .route("/v1/identity", get(identity))
        .route("/v1/hardware", get(hardware))
        .route("/v1/capabilities", get(capabilities))
        .route("/v1/settings", get(settings).put(change_settings))
        .route("/v1/topology", get(topology).put(change_topology))
        .route("/v1/isp", get(isp))
        // Bounded by the slot, which knows how large a root file system may be and what the disk has left.
        .route("/v1/isp/root", put(import_root).delete(remove_root).layer(DefaultBodyLimit::disable()))
        .route("/v1/isp/config.boot", get(config_boot))
        .route("/v1/isp/config.boot/check", post(check_config_boot))
        .route("/v1/runs", get(runs).post(start_run))
        .route("/v1/runs/{id}", get(run).delete(stop_run))
        .route("/v1/runs/{id}/events", get(run_events))
        .route("/v1/runs/{id}/record", get(run_record))
        .route("/v1/runs/{id}/report", get(run_report))
        .route("/v1/power", post(order_power))
        .with_state(shared)
}

/// OpenAPI 3.1 document of [`router`].
#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "TLSStress.Art agent", description = "One box: what it is, how it is, what it does, and runs on it."),
    paths(
        status,
        health,
        identity,
        hardware,
        capabilities,
        settings,
        change_settings,
        topology,
        change_topology,
        isp,
        import_root,
        remove_root,
        config_boot,
        check_config_boot,
        runs,
        start_run,
        run,
        stop_run,
        run_events,
        run_record,
        run_report,
        order_power
    ),
    components(schemas(Problem, Progress))
)]
pub(crate) struct ApiDoc;

/// Prometheus text: how many parts are in which state.
pub(crate) fn metrics(appliance: &Appliance) -> String {
    let mut text = MetricsText::new();
    let under_way = appliance.runs().list().iter().filter(|run| !run.state.is_over()).count();
    text.gauge("tbi_agent_runs_under_way", "Runs that have not ended yet.", &[(&[], under_way)]);
    text.gauge(
        "tbi_agent_settings_version",
        "Version of the settings in force.",
        &[(&[], appliance.in_force().snapshot.version)],
    );
    text.into_text()
}

/// What a person in front of the box wants to know first.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
async fn status(State(shared): State<Shared>) -> Json<Status> {
    Json(shared.appliance.status().await)
}

/// Every part of the box, aggregated.
#[utoipa::path(get, path = "/v1/health", responses((status = 200, body = Health)))]
async fn health(State(shared): State<Shared>) -> Json<Health> {
    Json(shared.appliance.health().await)
}

/// Who the box is.
#[utoipa::path(get, path = "/v1/identity", responses((status = 200, body = Identity)))]
async fn identity(State(shared): State<Shared>) -> Json<Identity> {
    Json(shared.appliance.node().identity.clone())
}

/// What the machine is.
#[utoipa::path(get, path = "/v1/hardware", responses((status = 200, body = Hardware)))]
async fn hardware(State(shared): State<Shared>) -> Json<Hardware> {
    Json(shared.appliance.hardware().await)
}

/// What the box can be used for.
#[utoipa::path(get, path = "/v1/capabilities", responses((status = 200, body = Capabilities)))]
async fn capabilities(State(shared): State<Shared>) -> Json<Capabilities> {
    Json(shared.appliance.capabilities().await)
}

/// Settings in force.
#[utoipa::path(get, path = "/v1/settings", responses((status = 200, body = Snapshot)))]
async fn settings(State(shared): State<Shared>) -> Json<Snapshot> {
    Json(shared.appliance.in_force().snapshot.clone())
}

/// Stores other settings. They are carried out afterwards; the component `settings` of the health says when that failed.
#[utoipa::path(put, path = "/v1/settings", request_body = Change, responses(
    (status = 200, description = "Stored", body = Snapshot),
    (status = 409, description = "Somebody else was faster", body = Problem),
    (status = 422, description = "Cannot be", body = Problem),
    (status = 507, description = "The state partition cannot be written", body = Problem),
))]
async fn change_settings(State(shared): State<Shared>, ApiJson(change): ApiJson<Change>) -> Answer<Json<Snapshot>> {
    whole(async move { shared.appliance.change_settings(change).await }).await?.map(Json).map_err(refused)
}

/// Topology as it was stored, also when it cannot be used; the component `topology` of the health says so then.
#[utoipa::path(get, path = "/v1/topology", responses((status = 200, body = TopologyText)))]
async fn topology(State(shared): State<Shared>) -> Json<TopologyText> {
    Json(TopologyText { yaml: shared.appliance.in_force().stored_topology.clone() })
}

/// Stores another topology.
#[utoipa::path(put, path = "/v1/topology", request_body = TopologyText, responses(
    (status = 200, description = "Stored", body = TopologyText),
    (status = 422, description = "Cannot be built here", body = Problem),
    (status = 507, description = "The state partition cannot be written", body = Problem),
))]
async fn change_topology(
    State(shared): State<Shared>,
    ApiJson(text): ApiJson<TopologyText>,
) -> Answer<Json<TopologyText>> {
    let yaml = text.yaml.clone();
    whole(async move { shared.appliance.change_topology(yaml).await }).await?.map_err(refused)?;
    Ok(Json(text))
}

/// Which router there is between device and personas, and what is in the slot for another.
#[utoipa::path(get, path = "/v1/isp", responses((status = 200, body = Isp)))]
async fn isp(State(shared): State<Shared>) -> Json<Isp> {
    Json(shared.appliance.isp().await)
}

/// Puts the root file system of the operator's own router into the slot: a squashfs file, sent with its length. It is used once the settings
/// say `isp_router: own`.
#[utoipa::path(put, path = "/v1/isp/root",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "In the slot", body = Root),
        (status = 409, description = "In use, or another import is under way", body = Problem),
        (status = 411, description = "Sent without its length", body = Problem),
        (status = 413, description = "Too large for a router", body = Problem),
        (status = 422, description = "No squashfs that can be mounted, or not all of it", body = Problem),
        (status = 507, description = "The state partition has no room or cannot be written", body = Problem),
    ))]
async fn import_root(State(shared): State<Shared>, headers: HeaderMap, body: Body) -> Answer<Json<Root>> {
    let announced = headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let pieces = body.into_data_stream();
    let imported = whole(async move { shared.appliance.import_root(announced, pieces).await }).await?;
    imported.map(Json).map_err(slot_refused)
}

/// Empties the slot.
#[utoipa::path(delete, path = "/v1/isp/root", responses(
    (status = 200, description = "Empty", body = Isp),
    (status = 409, description = "In use", body = Problem),
    (status = 507, description = "The state partition cannot be written", body = Problem),
))]
async fn remove_root(State(shared): State<Shared>) -> Answer<Json<Isp>> {
    whole(async move { shared.appliance.remove_root().await }).await?.map(Json).map_err(slot_refused)
}

/// The configuration that a router in the slot is given, made from the topology in force.
#[utoipa::path(get, path = "/v1/isp/config.boot", responses(
    (status = 200, body = String, content_type = "text/plain"),
))]
async fn config_boot(State(shared): State<Shared>) -> String {
    shared.appliance.config_boot()
}

/// Says what an operator's `config.boot` lacks to be the router of the topology in force. Nothing is stored.
#[utoipa::path(post, path = "/v1/isp/config.boot/check",
    request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = Check), (status = 422, description = "Cannot be read", body = Problem)))]
async fn check_config_boot(State(shared): State<Shared>, text: String) -> Answer<Json<Check>> {
    let checked = shared.appliance.check_config_boot(&text);
    checked
        .map(Json)
        .map_err(|error| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "config-boot-refused", error.to_string()))
}

/// All runs, newest first.
#[utoipa::path(get, path = "/v1/runs", responses((status = 200, body = Vec<Run>)))]
async fn runs(State(shared): State<Shared>) -> Json<Vec<Run>> {
    Json(shared.appliance.runs().list())
}

/// Starts a run.
#[utoipa::path(post, path = "/v1/runs", request_body = Order, responses(
    (status = 202, description = "Under way", body = Run),
    (status = 409, description = "Another one is under way", body = Problem),
    (status = 422, description = "The plan is wrong", body = Problem),
    (status = 503, description = "The box cannot measure now", body = Problem),
))]
async fn start_run(State(shared): State<Shared>, ApiJson(order): ApiJson<Order>) -> Answer<(StatusCode, Json<Run>)> {
    let started = whole(async move { shared.appliance.runs().start(order).await }).await?;
    started.map(|run| (StatusCode::ACCEPTED, Json(run))).map_err(|error| {
        let (status, code) = match &error {
            RunRefused::UnderWay { .. } => (StatusCode::CONFLICT, "run-under-way"),
            RunRefused::Plan(_) => (StatusCode::UNPROCESSABLE_ENTITY, "plan-refused"),
            RunRefused::NotNow(_) => (StatusCode::SERVICE_UNAVAILABLE, "cannot-measure"),
        };
        ApiError::new(status, code, error.to_string())
    })
}

/// One run.
#[utoipa::path(get, path = "/v1/runs/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = Run), (status = 404, body = Problem),
))]
async fn run(State(shared): State<Shared>, Path(id): Path<String>) -> Answer<Json<Run>> {
    known(&shared, &id).map(Json)
}

/// Asks a run to end `interrupted`. One that is over stays as it is.
#[utoipa::path(delete, path = "/v1/runs/{id}", params(("id" = String, Path)), responses(
    (status = 202, description = "Will end, or has ended", body = Run), (status = 404, body = Problem),
))]
async fn stop_run(State(shared): State<Shared>, Path(id): Path<String>) -> Answer<(StatusCode, Json<Run>)> {
    let run = known(&shared, &id)?;
    let _was_over = shared.appliance.runs().stop(&id);
    Ok((StatusCode::ACCEPTED, Json(run)))
}

/// How a run goes: `progress` events, numbered, and `bye` at its end. `Last-Event-ID` continues the numbering.
#[utoipa::path(get, path = "/v1/runs/{id}/events", params(("id" = String, Path)), responses(
    (status = 200, description = "Server-sent events", body = Progress, content_type = "text/event-stream"),
    (status = 404, body = Problem),
))]
async fn run_events(State(shared): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> Answer<Response> {
    known(&shared, &id)?;
    let first = events::first_id(headers.get("last-event-id"));
    let progress = events::progress(shared.appliance.runs().watch(&id));
    Ok(tbi_daemon::sse(first, progress, shared.shutdown.clone()))
}

/// The run record.
#[utoipa::path(get, path = "/v1/runs/{id}/record", params(("id" = String, Path)), responses(
    (status = 200, body = String, content_type = "application/json"),
    (status = 404, body = Problem),
))]
async fn run_record(State(shared): State<Shared>, Path(id): Path<String>) -> Answer<Response> {
    kept(&shared, &id, "run.json", "application/json").await
}

/// The report.
#[utoipa::path(get, path = "/v1/runs/{id}/report", params(("id" = String, Path)), responses(
    (status = 200, body = String, content_type = "text/html"),
    (status = 404, body = Problem),
))]
async fn run_report(State(shared): State<Shared>, Path(id): Path<String>) -> Answer<Response> {
    kept(&shared, &id, "report.html", "text/html; charset=utf-8").await
}

/// Restarts the machine or switches it off.
#[utoipa::path(post, path = "/v1/power", request_body = power::Order, responses(
    (status = 202, description = "Will go down", body = power::Order),
    (status = 422, description = "No reason given", body = Problem),
    (status = 503, description = "Refused by the system", body = Problem),
))]
async fn order_power(
    State(shared): State<Shared>,
    ApiJson(order): ApiJson<power::Order>,
) -> Answer<(StatusCode, Json<power::Order>)> {
    let ordered = order.clone();
    let asked = whole(async move { shared.appliance.power(ordered).await }).await?;
    asked.map(|()| (StatusCode::ACCEPTED, Json(order))).map_err(|error| {
        let (status, code) = match &error {
            PowerError::Reason => (StatusCode::UNPROCESSABLE_ENTITY, "reason-refused"),
            PowerError::Refused(_) => (StatusCode::SERVICE_UNAVAILABLE, "power-refused"),
        };
        ApiError::new(status, code, error.to_string())
    })
}

/// In a task of its own: a caller that hangs up must not leave half a change.
async fn whole<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Answer<T> {
    tokio::spawn(work).await.map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the change ended unexpectedly; look at what is in force and ask again",
        )
    })
}

fn known(shared: &Shared, id: &str) -> Answer<Run> {
    shared.appliance.runs().get(id).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "no-such-run",
            "there is no run with this id; GET /v1/runs lists those there are",
        )
    })
}

async fn kept(shared: &Shared, id: &str, name: &str, content_type: &'static str) -> Answer<Response> {
    // Only ids that are known reach the file system.
    known(shared, id)?;
    let missing = || {
        let sentence = format!("the run has no {name} yet; it is written when the run ends");
        ApiError::new(StatusCode::NOT_FOUND, "not-written-yet", sentence)
    };
    let folder = shared.appliance.runs().folder(id).ok_or_else(missing)?;
    let body = events::file(&folder.join(name)).await.map_err(|_| missing())?;
    Ok(([(http::header::CONTENT_TYPE, content_type)], body).into_response())
}

fn refused(error: ChangeError) -> ApiError {
    let (status, code) = match &error {
        ChangeError::Settings(_) => (StatusCode::UNPROCESSABLE_ENTITY, "settings-refused"),
        ChangeError::NoRoot => (StatusCode::UNPROCESSABLE_ENTITY, "isp-root-missing"),
        ChangeError::Topology(_) | ChangeError::SeveralBoxes(_) | ChangeError::Apart(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "topology-refused")
        }
        ChangeError::Ledger { source: LedgerError::Changed { .. }, .. } => (StatusCode::CONFLICT, "settings-changed"),
        ChangeError::Ledger { source: LedgerError::Full { .. }, .. } | ChangeError::File(_) => {
            (StatusCode::INSUFFICIENT_STORAGE, "state-not-writable")
        }
        ChangeError::Ledger { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "database-failed"),
    };
    ApiError::new(status, code, error.to_string())
}

fn slot_refused(error: SlotError) -> ApiError {
    let (status, code) = match &error {
        SlotError::NoLength => (StatusCode::LENGTH_REQUIRED, "length-required"),
        SlotError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "isp-root-too-large"),
        SlotError::Busy => (StatusCode::CONFLICT, "isp-root-under-way"),
        SlotError::InUse => (StatusCode::CONFLICT, "isp-root-in-use"),
        SlotError::Superblock(_) => (StatusCode::UNPROCESSABLE_ENTITY, "isp-root-refused"),
        SlotError::Cut { .. } | SlotError::Silent => (StatusCode::UNPROCESSABLE_ENTITY, "isp-root-incomplete"),
        SlotError::NoRoom { .. } | SlotError::Disk { .. } => (StatusCode::INSUFFICIENT_STORAGE, "state-not-writable"),
        SlotError::Lost => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    };
    ApiError::new(status, code, error.to_string())
}
