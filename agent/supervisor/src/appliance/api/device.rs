//! The device under test and its certificates: one handler for each path. What is put into the audit chain is what is shown to everybody.

use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde_json::json;
use tbi_api::device::{Authority, Bundle, Change, Device};
use tbi_bench::control::Problem;
use tbi_daemon::{ApiError, ApiJson};

use super::{Answer, Shared};
use crate::appliance::setup::authorities::AuthorityError;
use crate::appliance::setup::device::DeviceError;
use crate::appliance::trail::{Detail, database};

/// The device under test as it was described, without its credential.
#[utoipa::path(get, path = "/v1/device", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Device)))]
pub(super) async fn device(State(shared): State<Shared>) -> Answer<Json<Device>> {
    shared.appliance.device().await.map(Json).map_err(refused)
}

/// Describes the device under test. Its credential is kept sealed and never given out again.
#[utoipa::path(put, path = "/v1/device", security(("session" = ["administrator"])), extensions(("x-step-up" = json!(true))), request_body = Change, responses(
    (status = 200, description = "Kept", body = Device),
    (status = 422, description = "Cannot be", body = Problem),
    (status = 507, description = "The state partition cannot be written", body = Problem),
))]
pub(super) async fn change_device(
    State(shared): State<Shared>,
    ApiJson(change): ApiJson<Change>,
) -> Answer<(Extension<Detail>, Json<Device>)> {
    let credential = match (&change.secret, change.forget_secret) {
        (Some(_), _) => "replaced",
        (None, true) => "forgotten",
        (None, false) => "as before",
    };
    let before = shared.appliance.device().await.map_err(refused)?;
    let after = shared.appliance.change_device(change).await.map_err(refused)?;
    let shown = |device: &Device| json!({ "kind": device.kind, "address": device.address, "account": device.account });
    let detail = json!({ "before": shown(&before), "after": shown(&after), "credential": credential });
    Ok((Extension(Detail(detail)), Json(after)))
}

/// Certificates with which the device signs what it decrypts.
#[utoipa::path(get, path = "/v1/device/authorities", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Vec<Authority>)))]
pub(super) async fn authorities(State(shared): State<Shared>) -> Answer<Json<Vec<Authority>>> {
    shared.appliance.authorities().await.map(Json).map_err(authority_refused)
}

/// Brings some; one that is there already stays as it is.
#[utoipa::path(post, path = "/v1/device/authorities", security(("session" = ["administrator"])), extensions(("x-step-up" = json!(true))), request_body = Bundle, responses(
    (status = 200, description = "All there are now", body = Vec<Authority>),
    (status = 422, description = "No authorities", body = Problem),
    (status = 507, description = "The state partition cannot be written", body = Problem),
))]
pub(super) async fn add_authorities(
    State(shared): State<Shared>,
    ApiJson(bundle): ApiJson<Bundle>,
) -> Answer<(Extension<Detail>, Json<Vec<Authority>>)> {
    let before = shared.appliance.authorities().await.map_err(authority_refused)?;
    let after = shared.appliance.add_authorities(bundle.pem).await.map_err(authority_refused)?;
    let shown = |all: &[Authority]| all.iter().map(|one| one.sha256.clone()).collect::<Vec<_>>();
    let detail = json!({ "before": shown(&before), "after": shown(&after) });
    Ok((Extension(Detail(detail)), Json(after)))
}

/// Forgets one.
#[utoipa::path(delete, path = "/v1/device/authorities/{sha256}", security(("session" = ["administrator"])), extensions(("x-step-up" = json!(true))), params(("sha256" = String, Path,)), responses(
    (status = 204, description = "Forgotten"),
    (status = 404, description = "There is none with this fingerprint", body = Problem),
    (status = 507, description = "The state partition cannot be written", body = Problem),
))]
pub(super) async fn remove_authority(
    State(shared): State<Shared>,
    Path(sha256): Path<String>,
) -> Answer<(StatusCode, Extension<Detail>)> {
    let removed = shared.appliance.remove_authority(sha256).await.map_err(authority_refused)?;
    let detail = json!({ "before": { "sha256": removed.sha256, "subject": removed.subject } });
    Ok((StatusCode::NO_CONTENT, Extension(Detail(detail))))
}

fn refused(error: DeviceError) -> ApiError {
    let (status, code) = match &error {
        DeviceError::Ledger(error) => return database(error),
        DeviceError::Kept(_) | DeviceError::Removed(_) => (StatusCode::INSUFFICIENT_STORAGE, "state-not-writable"),
        DeviceError::Address
        | DeviceError::NoAddress
        | DeviceError::Account
        | DeviceError::Secret
        | DeviceError::SecretTwice => (StatusCode::UNPROCESSABLE_ENTITY, "device-refused"),
    };
    ApiError::new(status, code, error.to_string())
}

fn authority_refused(error: AuthorityError) -> ApiError {
    let (status, code) = match &error {
        AuthorityError::Ledger(error) => return database(error),
        AuthorityError::NoSuch => (StatusCode::NOT_FOUND, "no-such-authority"),
        _ => (StatusCode::UNPROCESSABLE_ENTITY, "authority-refused"),
    };
    ApiError::new(status, code, error.to_string())
}
