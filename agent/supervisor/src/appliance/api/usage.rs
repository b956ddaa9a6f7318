//! Usage: how the meter stands, and what the program that reports asks for.

use axum::Json;
use axum::extract::{Query, State};
use http::StatusCode;
use tbi_api::usage::{Accepted, Batch, Report, Started, Usage};
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

/// Reports now, and not at the next full hour: starts the program that does. One report is under way at a time; a second order lets it go on.
#[utoipa::path(post, path = "/v1/usage/report", security(("session" = ["administrator"])), responses(
    (status = 202, description = "Started", body = Started),
    (status = 409, description = "No endpoint is configured", body = Problem),
    (status = 503, description = "The program cannot be started", body = Problem),
))]
pub(super) async fn report(State(shared): State<Shared>) -> Answer<(StatusCode, Json<Started>)> {
    if shared.appliance.in_force().snapshot.settings.usage.url.is_none() {
        let sentence =
            "there is no endpoint to report to, so ticks are kept on this box; set usage.url and usage.ca_pem";
        return Err(ApiError::new(StatusCode::CONFLICT, "no-usage-endpoint", sentence));
    }
    let refused = |why: String| {
        let sentence = format!("the usage report cannot be started: {why}");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "cannot-report", sentence)
    };
    shared.appliance.reporting().report().await.map_err(refused)?;
    let started = Started {
        look_at: "/v1/usage".to_owned(),
        sentence: "The report is under way: 'acknowledged' of GET /v1/usage grows to 'last' when the endpoint has taken everything; why it \
                   does not is in the journal of tbi-usage.service."
            .to_owned(),
    };
    Ok((StatusCode::ACCEPTED, Json(started)))
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
