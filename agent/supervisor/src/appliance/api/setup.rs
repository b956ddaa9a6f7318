//! The first-boot wizard and what it looks at: one handler for each path.

use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tbi_api::setup::{Locale, Mark, Setup, TimeReport, TrunkCheck};
use tbi_bench::control::Problem;
use tbi_daemon::{ApiError, ApiJson};

use super::{Answer, Shared};
use crate::appliance::checks::ProbeRefused;
use crate::appliance::seams::RunRefused;
use crate::appliance::setup::SetupError;
use crate::appliance::trail::{Detail, by, database};

/// How far the setup is: all steps, which comes next, and whether it is finished.
#[utoipa::path(get, path = "/v1/setup", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Setup)))]
pub(super) async fn setup(State(shared): State<Shared>) -> Answer<Json<Setup>> {
    shared.appliance.setup().await.map(Json).map_err(refused)
}

/// Says that a step is done, left out, or still to be done.
#[utoipa::path(put, path = "/v1/setup/steps/{step}", security(("session" = ["administrator"])), params(("step" = String, Path,)), request_body = Mark, responses(
    (status = 200, description = "Kept", body = Setup),
    (status = 404, description = "No such step", body = Problem),
    (status = 409, description = "The setup is finished", body = Problem),
    (status = 422, description = "Not done, or not to be left out", body = Problem),
))]
pub(super) async fn mark_step(
    State(shared): State<Shared>,
    Path(step): Path<String>,
    headers: HeaderMap,
    ApiJson(mark): ApiJson<Mark>,
) -> Answer<(Extension<Detail>, Json<Setup>)> {
    let detail = json!({ "after": mark });
    let setup = shared.appliance.mark_step(step, mark, by(&headers)).await.map_err(refused)?;
    Ok((Extension(Detail(detail)), Json(setup)))
}

/// Ends the setup for good.
#[utoipa::path(post, path = "/v1/setup/finish", security(("session" = ["administrator"])), responses(
    (status = 200, description = "Finished", body = Setup),
    (status = 409, description = "It was finished before", body = Problem),
    (status = 422, description = "A step is missing", body = Problem),
))]
pub(super) async fn finish_setup(State(shared): State<Shared>, headers: HeaderMap) -> Answer<Json<Setup>> {
    shared.appliance.finish_setup(by(&headers)).await.map(Json).map_err(refused)
}

/// Language and time zone of the box.
#[utoipa::path(get, path = "/v1/locale", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Locale)))]
pub(super) async fn locale(State(shared): State<Shared>) -> Answer<Json<Locale>> {
    shared.appliance.locale().await.map(Json).map_err(refused)
}

/// Chooses language and time zone of the box, for everybody who has not chosen their own.
#[utoipa::path(put, path = "/v1/locale", security(("session" = ["administrator"])), request_body = Locale, responses(
    (status = 200, description = "Kept", body = Locale),
    (status = 422, description = "Not spoken, or no such zone", body = Problem),
))]
pub(super) async fn change_locale(
    State(shared): State<Shared>,
    ApiJson(locale): ApiJson<Locale>,
) -> Answer<(Extension<Detail>, Json<Locale>)> {
    let before = shared.appliance.locale().await.map_err(refused)?;
    let after = shared.appliance.change_locale(locale).await.map_err(refused)?;
    Ok((Extension(Detail(json!({ "before": before, "after": after }))), Json(after)))
}

/// The clock, what it is set by, and how far it is off.
#[utoipa::path(get, path = "/v1/time", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = TimeReport)))]
pub(super) async fn time(State(shared): State<Shared>) -> Json<TimeReport> {
    Json(shared.appliance.time().await)
}

/// Looks at the card towards the device: link, speed, driver, VLANs, frames, duplicate addresses.
#[utoipa::path(get, path = "/v1/trunk/check", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = TrunkCheck)))]
pub(super) async fn check_trunk(State(shared): State<Shared>) -> Json<TrunkCheck> {
    Json(shared.appliance.check_trunk().await)
}

/// Asks the trunk, VLAN by VLAN, whether somebody else has the addresses of the box there (RFC 5227, RFC 4862) and whether the device answers for
/// its own, and counts the frames that come in meanwhile. It takes up to seven seconds.
#[utoipa::path(post, path = "/v1/trunk/probe", security(("session" = ["operator", "administrator"])), responses(
    (status = 200, description = "Asked", body = TrunkCheck),
    (status = 409, description = "There is no trunk, or a run or checks use the bench", body = Problem),
    (status = 503, description = "It could not be asked", body = Problem),
))]
pub(super) async fn probe_trunk(State(shared): State<Shared>) -> Answer<Json<TrunkCheck>> {
    shared.appliance.probe_trunk().await.map(Json).map_err(|error| {
        let (status, code) = match &error {
            ProbeRefused::NoTrunk => (StatusCode::CONFLICT, "no-trunk"),
            ProbeRefused::Busy(RunRefused::UnderWay { .. }) => (StatusCode::CONFLICT, "run-under-way"),
            ProbeRefused::Busy(RunRefused::Checking) => (StatusCode::CONFLICT, "checks-under-way"),
            ProbeRefused::Busy(_) | ProbeRefused::NotDone(_) => (StatusCode::SERVICE_UNAVAILABLE, "not-probed"),
        };
        ApiError::new(status, code, error.to_string())
    })
}

fn refused(error: SetupError) -> ApiError {
    let (status, code) = match &error {
        SetupError::Ledger(error) => return database(error),
        SetupError::Finished(_) => (StatusCode::CONFLICT, "setup-finished"),
        SetupError::NoSuchStep => (StatusCode::NOT_FOUND, "no-such-step"),
        SetupError::NotOptional(_) => (StatusCode::UNPROCESSABLE_ENTITY, "step-not-optional"),
        SetupError::NotDone { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "step-not-done"),
        SetupError::Incomplete(_) => (StatusCode::UNPROCESSABLE_ENTITY, "setup-incomplete"),
        SetupError::Language(_) | SetupError::Zone(_) => (StatusCode::UNPROCESSABLE_ENTITY, "locale-refused"),
    };
    ApiError::new(status, code, error.to_string())
}
