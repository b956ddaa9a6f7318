//! Licences: installed, listed, removed.

use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;
use tbi_api::licence::{Document, Installed, Licences};
use tbi_bench::control::Problem;
use tbi_daemon::{ApiError, ApiJson};
use tbi_ledger::LedgerError;
use tbi_ledger::licence::{self, Standing};

use super::{Answer, Shared};
use crate::appliance::trail::{self, Detail};

/// What is installed, and the units that are left.
#[utoipa::path(get, path = "/v1/licences", security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses(
    (status = 200, body = Licences), (status = 500, description = "The database failed", body = Problem),
))]
pub(super) async fn licences(State(shared): State<Shared>) -> Answer<Json<Licences>> {
    let policy = shared.appliance.policy();
    let read = shared.appliance.ledger(move |ledger, _| {
        let installed = ledger.licences(&policy.issuers, Timestamp::now())?;
        let balance = ledger.balance()?;
        Ok(Licences { enforced: policy.enforce, balance, installed: installed.iter().map(shown).collect() })
    });
    read.await.map(Json).map_err(refused)
}

/// Installs an envelope. Its units are granted once, however often it is installed.
#[utoipa::path(post, path = "/v1/licences", security(("session" = ["administrator"])), extensions(("x-step-up" = json!(true))), request_body = Document, responses(
    (status = 201, description = "Installed", body = Installed),
    (status = 409, description = "Another envelope has its id", body = Problem),
    (status = 422, description = "Forged, expired or not readable", body = Problem),
    (status = 507, description = "The state partition cannot be written", body = Problem),
))]
pub(super) async fn install_licence(
    State(shared): State<Shared>,
    ApiJson(given): ApiJson<Document>,
) -> Answer<(StatusCode, Extension<Detail>, Json<Installed>)> {
    let policy = shared.appliance.policy();
    let installed = shared
        .appliance
        .ledger(move |ledger, _| ledger.install_licence(&given.document, &policy.issuers, Timestamp::now()));
    let installed = shown(&installed.await.map_err(refused)?);
    let detail = json!({ "after": installed });
    Ok((StatusCode::CREATED, Extension(Detail(detail)), Json(installed)))
}

/// Removes an envelope. Its units stay; they were granted.
#[utoipa::path(delete, path = "/v1/licences/{id}", security(("session" = ["administrator"])), extensions(("x-step-up" = json!(true))),
    params(("id" = String, Path)), responses(
    (status = 204, description = "Removed"), (status = 404, body = Problem),
    (status = 507, description = "The state partition cannot be written", body = Problem),
))]
pub(super) async fn remove_licence(State(shared): State<Shared>, Path(id): Path<String>) -> Answer<StatusCode> {
    let removed = shared.appliance.ledger(move |ledger, _| ledger.remove_licence(&id, Timestamp::now()));
    removed.await.map(|()| StatusCode::NO_CONTENT).map_err(refused)
}

fn shown(installed: &licence::Installed) -> Installed {
    let envelope = &installed.envelope;
    Installed {
        id: envelope.id.clone(),
        customer: envelope.customer.clone(),
        features: envelope.features.clone(),
        concurrency: envelope.concurrency,
        not_before: envelope.not_before,
        expires: envelope.expires,
        grace_days: envelope.grace_days.into(),
        tsu: envelope.tsu,
        standing: word(&installed.standing).to_owned(),
    }
}

fn word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Valid => "valid",
        Standing::Grace { .. } => "grace",
        Standing::Expired { .. } => "expired",
        Standing::NotYet { .. } => "not_yet",
        Standing::Forged | Standing::UnknownIssuer | Standing::Unreadable => "forged",
    }
}

fn refused(error: LedgerError) -> ApiError {
    let (status, code) = match &error {
        LedgerError::Invalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "licence-refused"),
        LedgerError::Exists { .. } => (StatusCode::CONFLICT, "licence-exists"),
        LedgerError::Missing { .. } => (StatusCode::NOT_FOUND, "no-such-licence"),
        _ => return trail::database(&error),
    };
    ApiError::new(status, code, error.to_string())
}
