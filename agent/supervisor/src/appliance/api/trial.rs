//! Trials of the management network: one handler for each path.

use axum::extract::State;
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tbi_api::trial::{Order, Outcome, Trial, Trials};
use tbi_bench::control::Problem;
use tbi_daemon::ApiJson;

use super::machine::refused;
use super::{Answer, Shared};
use crate::appliance::trail::{Detail, by};

/// How trials of the management network stand.
#[utoipa::path(get, path = "/v1/settings/trial", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Trials)))]
pub(super) async fn trials(State(shared): State<Shared>) -> Answer<Json<Trials>> {
    shared.appliance.trials().await.map(Json).map_err(refused)
}

/// Puts a management network in force at once. It is taken back after its time, or when agent or machine start again, unless it is confirmed.
#[utoipa::path(post, path = "/v1/settings/trial", security(("session" = ["administrator"])), request_body = Order, responses(
    (status = 201, description = "In force until its deadline", body = Trial),
    (status = 409, description = "Somebody else was faster, or one is on", body = Problem),
    (status = 422, description = "Cannot be", body = Problem),
    (status = 507, description = "The state partition cannot be written", body = Problem),
))]
pub(super) async fn begin_trial(
    State(shared): State<Shared>,
    headers: HeaderMap,
    ApiJson(order): ApiJson<Order>,
) -> Answer<(StatusCode, Extension<Detail>, Json<Trial>)> {
    let trial = shared.appliance.begin_trial(order, by(&headers)).await.map_err(refused)?;
    let detail = json!({ "before": trial.before, "after": trial.management, "until": trial.until });
    Ok((StatusCode::CREATED, Extension(Detail(detail)), Json(trial)))
}

/// Keeps the management network that is on trial.
#[utoipa::path(post, path = "/v1/settings/trial/confirm", security(("session" = ["administrator"])), responses(
    (status = 200, description = "Kept", body = Trials),
    (status = 409, description = "None is on", body = Problem),
    (status = 507, description = "The state partition cannot be written", body = Problem),
))]
pub(super) async fn confirm_trial(State(shared): State<Shared>) -> Answer<Json<Trials>> {
    shared.appliance.confirm_trial().await.map(Json).map_err(refused)
}

/// Takes the management network back that is on trial.
#[utoipa::path(delete, path = "/v1/settings/trial", security(("session" = ["administrator"])), responses(
    (status = 204, description = "Taken back"),
    (status = 409, description = "None is on", body = Problem),
    (status = 507, description = "The state partition cannot be written", body = Problem),
))]
pub(super) async fn withdraw_trial(State(shared): State<Shared>) -> Answer<StatusCode> {
    shared.appliance.revert_trial(Outcome::Withdrawn).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}
