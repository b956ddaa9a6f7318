//! Runs: ordered, watched, stopped, read.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::json;
use tbi_api::runs::{Compare, Filter, NoReason, Order, Outline, Progress, Run, Stop};
use tbi_bench::compare::{self, Comparable, Comparison};
use tbi_bench::control::Problem;
use tbi_daemon::{ApiError, ApiJson};

use super::{Answer, Shared};
use crate::appliance::events;
use crate::appliance::seams::RunRefused;
use crate::appliance::trail;

/// Runs, newest first.
#[utoipa::path(get, path = "/v1/runs", security(("session" = ["viewer", "operator", "administrator", "auditor"])), params(Filter), responses(
    (status = 200, body = Vec<Run>), (status = 400, description = "A filter is wrong", body = Problem),
))]
pub(super) async fn runs(State(shared): State<Shared>, Query(filter): Query<Filter>) -> Json<Vec<Run>> {
    let all = shared.appliance.runs().list();
    Json(all.into_iter().filter(|run| filter.matches(run)).take(filter.most()).collect())
}

/// Runs beside a baseline, with the change of each cost and its interval. Only runs that are over have a record to compare.
#[utoipa::path(get, path = "/v1/runs/compare", security(("session" = ["viewer", "operator", "administrator", "auditor"])), params(Compare), responses(
    (status = 200, body = Comparison),
    (status = 400, description = "Which runs is not said, or too many are", body = Problem),
    (status = 404, description = "No such run, or it has no record yet", body = Problem),
))]
pub(super) async fn compare_runs(
    State(shared): State<Shared>,
    Query(wanted): Query<Compare>,
) -> Answer<Json<Comparison>> {
    let ids: Vec<&str> = wanted.runs.split(',').filter(|id| !id.is_empty()).collect();
    if ids.is_empty() || ids.len() > compare::MOST_RUNS {
        let sentence = format!("'runs' has 1 to {} ids separated by commas, not {}", compare::MOST_RUNS, ids.len());
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "comparison-refused", sentence));
    }
    let baseline: Comparable = record_of(&shared, &wanted.baseline).await?;
    let mut others: Vec<Comparable> = Vec::new();
    for id in ids {
        others.push(record_of(&shared, id).await?);
    }
    Ok(Json(compare::compare(&baseline, &others)))
}

/// What somebody needs of a record; one at a time, because a record has tens of megabytes.
pub(super) async fn record_of<T: DeserializeOwned + Send + 'static>(shared: &Shared, id: &str) -> Answer<T> {
    known(shared, id)?;
    let missing = || {
        let sentence = format!("run {id} has no record that can be read; only a run that is over has one");
        ApiError::new(StatusCode::NOT_FOUND, "not-written-yet", sentence)
    };
    let path = shared.appliance.runs().folder(id).ok_or_else(missing)?.join("run.json");
    let reading = tokio::task::spawn_blocking(move || {
        let file = std::io::BufReader::new(std::fs::File::open(path).ok()?);
        serde_json::from_reader(file).inspect_err(|error| tracing::warn!(%error, "a record cannot be read")).ok()
    });
    reading.await.ok().flatten().ok_or_else(missing)
}

/// Starts a run.
#[utoipa::path(post, path = "/v1/runs", security(("session" = ["operator", "administrator"])), request_body = Order, responses(
    (status = 202, description = "Under way", body = Run),
    (status = 409, description = "Another one is under way", body = Problem),
    (status = 422, description = "The plan is wrong", body = Problem),
    (status = 503, description = "The box cannot measure now", body = Problem),
))]
pub(super) async fn start_run(
    State(shared): State<Shared>,
    headers: HeaderMap,
    ApiJson(order): ApiJson<Order>,
) -> Answer<(StatusCode, Json<Run>)> {
    let started = shared.appliance.runs().start(order, trail::by(&headers)).await;
    started.map(|run| (StatusCode::ACCEPTED, Json(run))).map_err(|error| {
        let (status, code) = match &error {
            RunRefused::UnderWay { .. } => (StatusCode::CONFLICT, "run-under-way"),
            RunRefused::Checking => (StatusCode::CONFLICT, "checks-under-way"),
            RunRefused::Plan(_) => (StatusCode::UNPROCESSABLE_ENTITY, "plan-refused"),
            RunRefused::NotNow(_) => (StatusCode::SERVICE_UNAVAILABLE, "cannot-measure"),
        };
        ApiError::new(status, code, error.to_string())
    })
}

/// One run.
#[utoipa::path(get, path = "/v1/runs/{id}", security(("session" = ["viewer", "operator", "administrator", "auditor"])), params(("id" = String, Path)), responses(
    (status = 200, body = Run), (status = 404, body = Problem),
))]
pub(super) async fn run(State(shared): State<Shared>, Path(id): Path<String>) -> Answer<Json<Run>> {
    known(&shared, &id).map(Json)
}

/// Asks a run to end `interrupted`. One that is over stays as it is. The reason goes to the audit chain.
#[utoipa::path(delete, path = "/v1/runs/{id}", security(("session" = ["operator", "administrator"])), params(("id" = String, Path), Stop), responses(
    (status = 202, description = "Will end, or has ended", body = Run),
    (status = 404, body = Problem),
    (status = 422, description = "The reason is none that can be kept", body = Problem),
))]
pub(super) async fn stop_run(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Query(stop): Query<Stop>,
) -> Answer<Response> {
    let run = known(&shared, &id)?;
    let refused =
        |error: NoReason| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "reason-refused", error.to_string());
    let reason = stop.reason.map(|reason| Stop::checked(&reason).map_err(refused)).transpose()?;
    let was_over = !shared.appliance.runs().stop(&id);
    let detail = trail::Detail(json!({ "reason": reason, "was_over": was_over }));
    Ok((StatusCode::ACCEPTED, Extension(detail), Json(run)).into_response())
}

/// How a run goes: `progress` events, numbered, one for each trial, `second` for each second of the trial under way, `pulse` when there is none of them for five seconds, and `bye` at its end. `Last-Event-ID` continues the numbering.
#[utoipa::path(get, path = "/v1/runs/{id}/events", security(("session" = ["viewer", "operator", "administrator", "auditor"])), params(("id" = String, Path)), responses(
    (status = 200, description = "Server-sent events", body = Progress, content_type = "text/event-stream"),
    (status = 404, body = Problem),
))]
pub(super) async fn run_events(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    known(&shared, &id)?;
    let first = events::first_id(headers.get("last-event-id"));
    let progress = events::progress(shared.appliance.runs().watch(&id), events::PULSE);
    Ok(tbi_daemon::sse(first, progress, shared.shutdown.clone()))
}

/// The run record without its measurements.
#[utoipa::path(get, path = "/v1/runs/{id}/outline", security(("session" = ["viewer", "operator", "administrator", "auditor"])), params(("id" = String, Path)), responses(
    (status = 200, body = Outline),
    (status = 404, description = "No such run, or it has no record yet", body = Problem),
))]
pub(super) async fn run_outline(State(shared): State<Shared>, Path(id): Path<String>) -> Answer<Json<Outline>> {
    record_of(&shared, &id).await.map(Json)
}

/// The run record.
#[utoipa::path(get, path = "/v1/runs/{id}/record", security(("session" = ["viewer", "operator", "administrator", "auditor"])), params(("id" = String, Path)), responses(
    (status = 200, body = String, content_type = "application/json"),
    (status = 404, body = Problem),
))]
pub(super) async fn run_record(State(shared): State<Shared>, Path(id): Path<String>) -> Answer<Response> {
    kept(&shared, &id, "run.json", "application/json").await
}

/// The report.
#[utoipa::path(get, path = "/v1/runs/{id}/report", security(("session" = ["viewer", "operator", "administrator", "auditor"])), params(("id" = String, Path)), responses(
    (status = 200, body = String, content_type = "text/html"),
    (status = 404, body = Problem),
))]
pub(super) async fn run_report(State(shared): State<Shared>, Path(id): Path<String>) -> Answer<Response> {
    let mut report = kept(&shared, &id, "report.html", "text/html; charset=utf-8").await?;
    // The report is one file with its style in it, and nothing that runs. The door would otherwise allow style from its own files only.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox";
    report.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    Ok(report)
}

pub(super) fn known(shared: &Shared, id: &str) -> Answer<Run> {
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
