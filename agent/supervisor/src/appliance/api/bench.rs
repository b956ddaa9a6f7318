//! The bench: pre-flight checks made for themselves, personas, device, cards, history.

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use tbi_api::bench::{Dut, Evidence, Examination, Links, Order, Personas};
use tbi_api::history::{Asked, History};
use tbi_bench::control::Problem;
use tbi_daemon::{ApiError, ApiJson};

use super::{Answer, Shared};
use crate::appliance::history::HistoryError;
use crate::appliance::seams::RunRefused;

/// The pre-flight checks that were made for themselves last, or are being made.
#[utoipa::path(get, path = "/v1/preflight", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Examination)))]
pub(super) async fn preflight(State(shared): State<Shared>) -> Json<Examination> {
    Json(shared.appliance.checks().examination())
}

/// Makes the pre-flight checks now, without a run. They bring the bench up for the profile's plan and switch the device as a run would.
#[utoipa::path(post, path = "/v1/preflight", security(("session" = ["operator", "administrator"])), request_body = Order, responses(
    (status = 202, description = "Being made", body = Examination),
    (status = 409, description = "A run or other checks use the bench", body = Problem),
    (status = 503, description = "The bench is not prepared", body = Problem),
))]
pub(super) async fn start_preflight(
    State(shared): State<Shared>,
    ApiJson(order): ApiJson<Order>,
) -> Answer<(StatusCode, Json<Examination>)> {
    let begun = shared.appliance.checks().examine(order);
    begun.map(|examination| (StatusCode::ACCEPTED, Json(examination))).map_err(|error| {
        let (status, code) = match &error {
            RunRefused::UnderWay { .. } => (StatusCode::CONFLICT, "run-under-way"),
            RunRefused::Checking => (StatusCode::CONFLICT, "checks-under-way"),
            RunRefused::Plan(_) => (StatusCode::UNPROCESSABLE_ENTITY, "plan-refused"),
            RunRefused::NotNow(_) => (StatusCode::SERVICE_UNAVAILABLE, "cannot-measure"),
        };
        ApiError::new(status, code, error.to_string())
    })
}

/// Has the pre-flight checks end before their time.
#[utoipa::path(delete, path = "/v1/preflight", security(("session" = ["operator", "administrator"])), responses(
    (status = 202, description = "Will end, or have ended", body = Examination),
    (status = 409, description = "None are being made", body = Problem),
))]
pub(super) async fn cancel_preflight(State(shared): State<Shared>) -> Answer<(StatusCode, Json<Examination>)> {
    if shared.appliance.checks().cancel() {
        Ok((StatusCode::ACCEPTED, Json(shared.appliance.checks().examination())))
    } else {
        let sentence = "no pre-flight checks are being made; there is nothing to cancel";
        Err(ApiError::new(StatusCode::CONFLICT, "no-checks-under-way", sentence.to_owned()))
    }
}

/// The personas, with the certificates that they show.
#[utoipa::path(get, path = "/v1/personas", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Personas)))]
pub(super) async fn personas(State(shared): State<Shared>) -> Json<Personas> {
    Json(shared.appliance.personas().await)
}

/// Certificate of the persona CA, for the device to trust.
#[utoipa::path(get, path = "/v1/personas/ca.pem", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses(
    (status = 200, body = String, content_type = "application/x-pem-file"),
    (status = 503, description = "The personas do not answer", body = Problem),
))]
pub(super) async fn persona_ca(State(shared): State<Shared>) -> Answer<Response> {
    let pem = shared.appliance.daemon("personas").get_text("/v1/ca.pem").await.map_err(|error| {
        let sentence = format!("the persona CA cannot be had: {error}");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "personas-silent", sentence)
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-pem-file"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"persona-ca.pem\""),
    ];
    Ok((headers, pem).into_response())
}

/// What stands between agents and personas.
#[utoipa::path(get, path = "/v1/dut", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Dut)))]
pub(super) async fn dut(State(shared): State<Shared>) -> Json<Dut> {
    Json(shared.appliance.dut().await)
}

/// What the newest record says about the bench itself: proof on the wire, and which numbers the bench limited.
#[utoipa::path(get, path = "/v1/evidence", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Evidence)))]
pub(super) async fn evidence(State(shared): State<Shared>) -> Json<Evidence> {
    Json(shared.appliance.evidence().await)
}

/// Network cards with their counters, and what is wrong with them.
#[utoipa::path(get, path = "/v1/links", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Links)))]
pub(super) async fn links(State(shared): State<Shared>) -> Json<Links> {
    Json(shared.appliance.links().await)
}

/// How the box was: processors, memory, temperature, cards and runs, in steps, at most thirty days back.
#[utoipa::path(get, path = "/v1/history", security(("session" = ["viewer", "operator", "administrator", "auditor"])), params(Asked), responses(
    (status = 200, body = History),
    (status = 400, description = "The time asked for is none", body = Problem),
    (status = 500, description = "The reading ended unexpectedly", body = Problem),
))]
pub(super) async fn history(State(shared): State<Shared>, Query(asked): Query<Asked>) -> Answer<Json<History>> {
    shared.appliance.history(asked).await.map(Json).map_err(|error| {
        let (status, code) = match &error {
            HistoryError::Asked(_) => (StatusCode::BAD_REQUEST, "history-refused"),
            HistoryError::Lost => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        ApiError::new(status, code, error.to_string())
    })
}
