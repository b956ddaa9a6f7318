//! The router between device and personas, and the slot for an operator's own.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use tbi_api::isp::{Check, Isp, Root};
use tbi_bench::control::Problem;
use tbi_daemon::ApiError;

use super::{Answer, Shared};
use crate::appliance::own_router::SlotError;

/// Which router there is between device and personas, and what is in the slot for another.
#[utoipa::path(get, path = "/v1/isp", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Isp)))]
pub(super) async fn isp(State(shared): State<Shared>) -> Json<Isp> {
    Json(shared.appliance.isp().await)
}

/// Puts the root file system of the operator's own router into the slot: a squashfs file, sent with its length. It is used once the settings
/// say `isp_router: own`.
#[utoipa::path(put, path = "/v1/isp/root", security(("session" = ["administrator"])), extensions(("x-body-limit" = json!(2147483648u64)), ("x-step-up" = json!(true))),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "In the slot", body = Root),
        (status = 409, description = "In use, or another import is under way", body = Problem),
        (status = 411, description = "Sent without its length", body = Problem),
        (status = 413, description = "Too large for a router", body = Problem),
        (status = 422, description = "No squashfs that can be mounted, or not all of it", body = Problem),
        (status = 507, description = "The state partition has no room or cannot be written", body = Problem),
    ))]
pub(super) async fn import_root(State(shared): State<Shared>, headers: HeaderMap, body: Body) -> Answer<Json<Root>> {
    let announced = headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let pieces = body.into_data_stream();
    let imported = shared.appliance.import_root(announced, pieces).await;
    imported.map(Json).map_err(slot_refused)
}

/// Empties the slot.
#[utoipa::path(delete, path = "/v1/isp/root", security(("session" = ["administrator"])), extensions(("x-step-up" = json!(true))), responses(
    (status = 200, description = "Empty", body = Isp),
    (status = 409, description = "In use", body = Problem),
    (status = 507, description = "The state partition cannot be written", body = Problem),
))]
pub(super) async fn remove_root(State(shared): State<Shared>) -> Answer<Json<Isp>> {
    shared.appliance.remove_root().await.map(Json).map_err(slot_refused)
}

/// The configuration that a router in the slot is given, made from the topology in force.
#[utoipa::path(get, path = "/v1/isp/config.boot", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses(
    (status = 200, body = String, content_type = "text/plain"),
))]
pub(super) async fn config_boot(State(shared): State<Shared>) -> String {
    shared.appliance.config_boot()
}

/// Says what an operator's `config.boot` lacks to be the router of the topology in force. Nothing is stored.
#[utoipa::path(post, path = "/v1/isp/config.boot/check", security(("session" = ["operator", "administrator"])),
    request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = Check), (status = 422, description = "Cannot be read", body = Problem)))]
pub(super) async fn check_config_boot(State(shared): State<Shared>, text: String) -> Answer<Json<Check>> {
    let checked = shared.appliance.check_config_boot(&text);
    checked
        .map(Json)
        .map_err(|error| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "config-boot-refused", error.to_string()))
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
