//! Usage: how the meter stands, and what the program that reports asks for.

use axum::Json;
use axum::extract::{Query, State};
use http::StatusCode;
use tbi_api::usage::{Accepted, Batch, Report, Usage};
use tbi_bench::control::Problem;
use tbi_daemon::{ApiError, ApiJson};
use tbi_ledger::spool::SpoolError;

use super::{Answer, Shared};
use crate::appliance::meter::{Meter, MeterError};

/// Ticks in a report when the program does not say how many.
const BATCH: u16 = 500;
/// And at most.
const MOST: u16 = 1000;

/// How the meter stands.
#[utoipa::path(get, path = "/v1/usage", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses(
    (status = 200, body = Usage),
))]
pub(super) async fn usage(State(shared): State<Shared>) -> Json<Usage> {
    let url = shared.appliance.in_force().snapshot.settings.usage.url.clone();
    Json(shared.appliance.meter().standing(url))
}

/// Ticks that the endpoint does not have, the oldest first: what the next report consists of.
#[utoipa::path(get, path = "/v1/usage/pending", security(("session" = ["administrator", "auditor"])), params(Batch), responses(
    (status = 200, body = Report), (status = 400, description = "The number of ticks is wrong", body = Problem),
    (status = 500, description = "The meter is broken", body = Problem),
))]
pub(super) async fn pending(State(shared): State<Shared>, Query(batch): Query<Batch>) -> Answer<Json<Report>> {
    let limit = batch.limit.unwrap_or(BATCH);
    if !(1..=MOST).contains(&limit) {
        let sentence = format!("'limit' is a number from 1 to {MOST}, not {limit}");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "limit-refused", sentence));
    }
    let node_id = shared.appliance.node().identity.node_id.clone();
    let ticks = on_the_disk(shared.appliance.meter(), move |meter| meter.pending(limit.into())).await?;
    Ok(Json(Report { node_id, ticks }))
}

/// Says what the endpoint has; those ticks are forgotten. A number that went before changes nothing.
#[utoipa::path(post, path = "/v1/usage/acknowledgement", security(("session" = ["administrator"])), request_body = Accepted, responses(
    (status = 200, description = "Noted", body = Usage),
    (status = 422, description = "No tick has this number yet", body = Problem),
    (status = 500, description = "The meter is broken", body = Problem),
))]
pub(super) async fn acknowledge(
    State(shared): State<Shared>,
    ApiJson(accepted): ApiJson<Accepted>,
) -> Answer<Json<Usage>> {
    on_the_disk(shared.appliance.meter(), move |meter| meter.acknowledge(accepted.through)).await?;
    Ok(usage(State(shared)).await)
}

async fn on_the_disk<T: Send + 'static>(
    meter: &Meter,
    ask: impl FnOnce(&Meter) -> Result<T, MeterError> + Send + 'static,
) -> Answer<T> {
    let meter = meter.clone();
    let asked = tokio::task::spawn_blocking(move || ask(&meter)).await;
    let lost = |_| MeterError::Broken("the meter ended unexpectedly; restart the agent".to_owned());
    asked.map_err(lost).and_then(|answer| answer).map_err(|error| {
        let (status, code) = match &error {
            MeterError::Spool(SpoolError::Unknown { .. }) => (StatusCode::UNPROCESSABLE_ENTITY, "no-such-tick"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "meter-broken"),
        };
        ApiError::new(status, code, error.to_string())
    })
}
