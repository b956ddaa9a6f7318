//! What the box is, how it is, and what it is told to be: one handler for each path.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use serde_json::json;
use tbi_api::hardware::Hardware;
use tbi_api::health::Health;
use tbi_api::node::{Capabilities, Identity};
use tbi_api::power;
use tbi_api::settings::{Change, Snapshot, TopologyText};
use tbi_api::status::Status;
use tbi_bench::control::Problem;
use tbi_daemon::{ApiError, ApiJson};
use tbi_ledger::LedgerError;

use super::{Answer, Shared};
use crate::appliance::memory::ChangeError;
use crate::appliance::node::PowerError;
use crate::appliance::trail::Detail;

/// What a person in front of the box wants to know first.
#[utoipa::path(get, path = "/v1/status", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Status)))]
pub(super) async fn status(State(shared): State<Shared>) -> Json<Status> {
    Json(shared.appliance.status().await)
}

/// Every part of the box, aggregated.
#[utoipa::path(get, path = "/v1/health", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Health)))]
pub(super) async fn health(State(shared): State<Shared>) -> Json<Health> {
    Json(shared.appliance.health().await)
}

/// Who the box is.
#[utoipa::path(get, path = "/v1/identity", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Identity)))]
pub(super) async fn identity(State(shared): State<Shared>) -> Json<Identity> {
    Json(shared.appliance.node().identity.clone())
}

/// What the machine is.
#[utoipa::path(get, path = "/v1/hardware", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Hardware)))]
pub(super) async fn hardware(State(shared): State<Shared>) -> Json<Hardware> {
    Json(shared.appliance.hardware().await)
}

/// What the box can be used for.
#[utoipa::path(get, path = "/v1/capabilities", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Capabilities)))]
pub(super) async fn capabilities(State(shared): State<Shared>) -> Json<Capabilities> {
    Json(shared.appliance.capabilities().await)
}

/// Settings in force.
#[utoipa::path(get, path = "/v1/settings", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = Snapshot)))]
pub(super) async fn settings(State(shared): State<Shared>) -> Json<Snapshot> {
    Json(shared.appliance.in_force().snapshot.clone())
}

/// Stores other settings. They are carried out afterwards; the component `settings` of the health says when that failed.
#[utoipa::path(put, path = "/v1/settings", security(("session" = ["administrator"])), request_body = Change, responses(
    (status = 200, description = "Stored", body = Snapshot),
    (status = 409, description = "Somebody else was faster, or a management network is on trial", body = Problem),
    (status = 422, description = "Cannot be", body = Problem),
    (status = 507, description = "The state partition cannot be written", body = Problem),
))]
pub(super) async fn change_settings(
    State(shared): State<Shared>,
    ApiJson(change): ApiJson<Change>,
) -> Answer<(Extension<Detail>, Json<Snapshot>)> {
    let before = shared.appliance.in_force().snapshot.settings.clone();
    let after = shared.appliance.change_settings(change).await.map_err(refused)?;
    let detail = json!({ "before": before, "after": after.settings, "version": after.version });
    Ok((Extension(Detail(detail)), Json(after)))
}

/// Topology as it was stored, also when it cannot be used; the component `topology` of the health says so then.
#[utoipa::path(get, path = "/v1/topology", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = TopologyText)))]
pub(super) async fn topology(State(shared): State<Shared>) -> Json<TopologyText> {
    Json(TopologyText { yaml: shared.appliance.in_force().stored_topology.clone() })
}

/// Stores another topology.
#[utoipa::path(put, path = "/v1/topology", security(("session" = ["administrator"])), request_body = TopologyText, responses(
    (status = 200, description = "Stored", body = TopologyText),
    (status = 422, description = "Cannot be built here", body = Problem),
    (status = 507, description = "The state partition cannot be written", body = Problem),
))]
pub(super) async fn change_topology(
    State(shared): State<Shared>,
    ApiJson(text): ApiJson<TopologyText>,
) -> Answer<(Extension<Detail>, Json<TopologyText>)> {
    let before = shared.appliance.in_force().stored_topology.clone();
    let yaml = text.yaml.clone();
    shared.appliance.change_topology(yaml).await.map_err(refused)?;
    let detail = json!({ "before": before, "after": text.yaml });
    Ok((Extension(Detail(detail)), Json(text)))
}

/// Restarts the machine or switches it off.
#[utoipa::path(post, path = "/v1/power", security(("session" = ["administrator"])), extensions(("x-step-up" = json!(true))), request_body = power::Order, responses(
    (status = 202, description = "Will go down", body = power::Order),
    (status = 422, description = "No reason given", body = Problem),
    (status = 503, description = "Refused by the system", body = Problem),
))]
pub(super) async fn order_power(
    State(shared): State<Shared>,
    ApiJson(order): ApiJson<power::Order>,
) -> Answer<(StatusCode, Extension<Detail>, Json<power::Order>)> {
    let ordered = order.clone();
    let asked = shared.appliance.power(ordered).await;
    let detail = Extension(Detail(json!({ "order": order })));
    asked.map(|()| (StatusCode::ACCEPTED, detail, Json(order))).map_err(|error| {
        let (status, code) = match &error {
            PowerError::Reason => (StatusCode::UNPROCESSABLE_ENTITY, "reason-refused"),
            PowerError::Refused(_) => (StatusCode::SERVICE_UNAVAILABLE, "power-refused"),
        };
        ApiError::new(status, code, error.to_string())
    })
}

pub(super) fn refused(error: ChangeError) -> ApiError {
    let (status, code) = match &error {
        ChangeError::Settings(_) => (StatusCode::UNPROCESSABLE_ENTITY, "settings-refused"),
        ChangeError::NoRoot => (StatusCode::UNPROCESSABLE_ENTITY, "isp-root-missing"),
        ChangeError::Topology(_) | ChangeError::SeveralBoxes(_) | ChangeError::Apart(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "topology-refused")
        }
        ChangeError::Ledger { source: LedgerError::Changed { .. }, .. } => (StatusCode::CONFLICT, "settings-changed"),
        ChangeError::Ledger { source: LedgerError::Full { .. }, .. } | ChangeError::File(_) => {
            (StatusCode::INSUFFICIENT_STORAGE, "state-not-writable")
        }
        ChangeError::OnTrial => (StatusCode::CONFLICT, "trial-under-way"),
        ChangeError::NoTrial => (StatusCode::CONFLICT, "no-trial"),
        ChangeError::TrialTime(_) => (StatusCode::UNPROCESSABLE_ENTITY, "trial-refused"),
        ChangeError::Ledger { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "database-failed"),
    };
    ApiError::new(status, code, error.to_string())
}
