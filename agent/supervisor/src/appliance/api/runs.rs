//! Runs: ordered, watched, stopped, read.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use tbi_api::runs::{Order, Progress, Run};
use tbi_bench::control::Problem;
use tbi_daemon::{ApiError, ApiJson};

use super::{Answer, Shared, whole};
use crate::appliance::events;
use crate::appliance::seams::RunRefused;

/// All runs, newest first.
#[utoipa::path(get, path = "/v1/runs", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Vec<Run>)))]
pub(super) async fn runs(State(shared): State<Shared>) -> Json<Vec<Run>> {
    Json(shared.appliance.runs().list())
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
    ApiJson(order): ApiJson<Order>,
) -> Answer<(StatusCode, Json<Run>)> {
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
#[utoipa::path(get, path = "/v1/runs/{id}", security(("session" = ["viewer", "operator", "administrator", "auditor"])), params(("id" = String, Path)), responses(
    (status = 200, body = Run), (status = 404, body = Problem),
))]
pub(super) async fn run(State(shared): State<Shared>, Path(id): Path<String>) -> Answer<Json<Run>> {
    known(&shared, &id).map(Json)
}

/// Asks a run to end `interrupted`. One that is over stays as it is.
#[utoipa::path(delete, path = "/v1/runs/{id}", security(("session" = ["operator", "administrator"])), params(("id" = String, Path)), responses(
    (status = 202, description = "Will end, or has ended", body = Run), (status = 404, body = Problem),
))]
pub(super) async fn stop_run(State(shared): State<Shared>, Path(id): Path<String>) -> Answer<(StatusCode, Json<Run>)> {
    let run = known(&shared, &id)?;
    let _was_over = shared.appliance.runs().stop(&id);
    Ok((StatusCode::ACCEPTED, Json(run)))
}

/// How a run goes: `progress` events, numbered, and `bye` at its end. `Last-Event-ID` continues the numbering.
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
    let progress = events::progress(shared.appliance.runs().watch(&id));
    Ok(tbi_daemon::sse(first, progress, shared.shutdown.clone()))
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
    kept(&shared, &id, "report.html", "text/html; charset=utf-8").await
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
