//! What a run measured, for pictures, spreadsheets and further analysis. Each is made of what is kept on the disk, off the reactor, so that
//! neither a restart of the agent nor one of the dashboard loses any of it.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use tbi_api::series::{NoZone, Series, Written};
use tbi_bench::control::Problem;
use tbi_daemon::ApiError;

use super::runs::{known, record_of};
use super::{Answer, Shared};
use crate::appliance::csv;
use crate::appliance::series::{Histograms, Kept};

/// What was measured so far, or in all: results with their intervals, proof, blocks, and lines of seconds. Under 400 points a line.
#[utoipa::path(get, path = "/v1/runs/{id}/series", security(("session" = ["viewer", "operator", "administrator", "auditor"])), params(("id" = String, Path)), responses(
    (status = 200, body = Series),
    (status = 404, description = "No such run, or it has measured nothing yet", body = Problem),
))]
pub(super) async fn run_series(State(shared): State<Shared>, Path(id): Path<String>) -> Answer<Json<Series>> {
    of_kept(&shared, &id, |kept| kept.series()).await.map(Json)
}

/// Every KPI of every block, and every result with its interval, as CSV: times are ISO 8601 with their offset. The same bytes each time once
/// the run is over.
#[utoipa::path(get, path = "/v1/runs/{id}/csv", security(("session" = ["viewer", "operator", "administrator", "auditor"])), params(("id" = String, Path), Written), responses(
    (status = 200, body = String, content_type = "text/csv"),
    (status = 400, description = "There is no such zone", body = Problem),
    (status = 404, description = "No such run, or it has measured nothing yet", body = Problem),
))]
pub(super) async fn run_csv(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Query(written): Query<Written>,
) -> Answer<Response> {
    known(&shared, &id)?;
    let unknown = |error: NoZone| ApiError::new(StatusCode::BAD_REQUEST, "no-such-zone", error.to_string());
    let zone = written.time_zone().map_err(unknown)?;
    let text = of_kept(&shared, &id, move |kept| csv::table(kept, &zone)).await?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"))], text)
        .into_response())
}

/// The histograms of the record: of each protocol, object, load and arm every bucket with its count, µs.
#[utoipa::path(get, path = "/v1/runs/{id}/histograms", security(("session" = ["viewer", "operator", "administrator", "auditor"])), params(("id" = String, Path)), responses(
    (status = 200, body = Object),
    (status = 404, description = "No such run, or it has no record yet", body = Problem),
))]
pub(super) async fn run_histograms(State(shared): State<Shared>, Path(id): Path<String>) -> Answer<Json<Histograms>> {
    record_of(&shared, &id).await.map(Json)
}

async fn of_kept<T: Send + 'static>(
    shared: &Shared,
    id: &str,
    make: impl FnOnce(&Kept) -> T + Send + 'static,
) -> Answer<T> {
    let run = known(shared, id)?;
    let nothing = || {
        let sentence =
            format!("run {id} has measured nothing that can be read yet; ask again when its first block is done");
        ApiError::new(StatusCode::NOT_FOUND, "not-written-yet", sentence)
    };
    let folder = shared.appliance.runs().folder(id).ok_or_else(nothing)?;
    let made = tokio::task::spawn_blocking(move || Some(make(&Kept::read(&folder, &run.id, &run.started)?)));
    made.await.ok().flatten().ok_or_else(nothing)
}
