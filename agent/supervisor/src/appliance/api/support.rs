//! What a supporter is given: the agent's own answers in one file, freed of secrets. That it was taken is an entry of the audit chain.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse as _;
use axum::response::Response;
use http::{HeaderMap, header};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tbi_api::runs::Outline;
use tbi_api::status::Status;
use tbi_api::support::{Bundle, FORMAT};
use tbi_bench::control::Problem;
use tbi_ledger::LedgerError;

use super::{Answer, Shared, audit, licences, runs, usage};
use crate::appliance::support::without_secrets;
use crate::appliance::trail;

/// Runs that are told of.
const RUNS: usize = 10;

/// What a supporter needs: status, health, hardware, identity, capabilities, settings, licences, usage, the last runs, whether the audit chain
/// is whole. No secrets: no claim code, password, key, token or session is in it.
#[utoipa::path(get, path = "/v1/support/bundle", security(("session" = ["administrator", "auditor"])), responses(
    (status = 200, body = Bundle), (status = 500, description = "The database failed", body = Problem),
))]
pub(super) async fn bundle(State(shared): State<Shared>, headers: HeaderMap) -> Answer<Response> {
    let by = trail::by(&headers);
    let noted = shared.appliance.ledger(move |ledger, key| {
        let detail = json!({});
        let entry = trail::entry(&by, "support.bundle", "/v1/support/bundle", "done", &detail);
        ledger.append(&entry, key, Timestamp::now())
    });
    let mut missing = Vec::new();
    // A box whose database is broken is the one that needs support.
    if let Err(error) = noted.await.map_err(|error: LedgerError| error.to_string()) {
        missing.push(format!("the entry in the audit chain: {error}"));
    }
    let appliance = &shared.appliance;
    let licences = licences::licences(State(shared.clone())).await.map(|Json(licences)| licences);
    let chain = audit::verification(State(shared.clone())).await.map(|Json(verification)| verification);
    let mut told = Vec::new();
    for run in appliance.runs().list().into_iter().take(RUNS) {
        let outline: Option<Outline> = runs::record_of(&shared, &run.id).await.ok();
        told.push(freed(&json!({ "run": run, "outline": outline })));
    }
    let bundle = Bundle {
        format: FORMAT.to_owned(),
        made: Timestamp::now(),
        status: freed(&Status { claim_code: None, ..appliance.status().await }),
        health: freed(&appliance.health().await),
        hardware: freed(&appliance.hardware().await),
        identity: freed(&appliance.node().identity),
        capabilities: freed(&appliance.capabilities().await),
        settings: freed(&appliance.in_force().snapshot),
        licences: or_missing("licences", licences, &mut missing),
        usage: freed(&usage::usage(State(shared.clone())).await.0),
        runs: told,
        audit: or_missing("audit", chain, &mut missing),
        missing,
    };
    let name = "attachment; filename=\"tlsstress-support.json\"";
    Ok(([(header::CONTENT_DISPOSITION, name)], Json(bundle)).into_response())
}

fn freed<T: Serialize>(part: &T) -> Value {
    without_secrets(serde_json::to_value(part).unwrap_or_default())
}

fn or_missing<T: Serialize>(name: &str, read: Answer<T>, missing: &mut Vec<String>) -> Value {
    match read {
        Ok(part) => freed(&part),
        Err(why) => {
            missing.push(format!("{name}: {}", why.problem().detail));
            Value::Null
        }
    }
}
