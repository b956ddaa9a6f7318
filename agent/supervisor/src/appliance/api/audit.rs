//! The audit chain: read, proven, taken along.

use std::io;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, header};
use jiff::Timestamp;
use serde_json::json;
use tbi_api::audit::{Entry, Filter, Verification};
use tbi_bench::control::Problem;
use tbi_ledger::LedgerError;
use tbi_ledger::audit::AuditFilter;
use tokio::sync::mpsc;

use super::{Answer, Shared};
use crate::appliance::trail;

/// Pieces of an export that wait for a slow reader.
const WAITING: usize = 8;

/// Entries of the audit chain, newest first.
#[utoipa::path(get, path = "/v1/audit", security(("session" = ["administrator", "auditor"])), params(Filter), responses(
    (status = 200, body = Vec<Entry>), (status = 400, description = "A filter is wrong", body = Problem),
    (status = 500, description = "The database failed", body = Problem),
))]
pub(super) async fn audit(State(shared): State<Shared>, Query(filter): Query<Filter>) -> Answer<Json<Vec<Entry>>> {
    let read = shared.appliance.ledger(move |ledger, _| {
        let wanted = AuditFilter {
            before: filter.before,
            actor: filter.actor.as_deref(),
            action: filter.action.as_deref(),
            correlation: filter.correlation.as_deref(),
            from: None,
            to: None,
            limit: filter.limit.unwrap_or(100).into(),
        };
        ledger.audit_entries(&wanted)
    });
    let entries = read.await.map_err(|error: LedgerError| trail::database(&error))?;
    let entry = |entry: tbi_ledger::audit::Entry| Entry {
        seq: entry.seq,
        when: entry.when,
        actor: entry.actor,
        role: entry.role,
        source: entry.source,
        action: entry.action,
        target: entry.target,
        outcome: entry.outcome,
        detail: entry.detail,
        correlation: entry.correlation,
        hash: entry.hash.to_string(),
    };
    Ok(Json(entries.into_iter().map(entry).collect()))
}

/// Looks through the whole chain: whether every entry follows from the one before and every signature is good.
#[utoipa::path(get, path = "/v1/audit/verification", security(("session" = ["administrator", "auditor"])), responses(
    (status = 200, body = Verification), (status = 500, description = "The database failed", body = Problem),
))]
pub(super) async fn verification(State(shared): State<Shared>) -> Answer<Json<Verification>> {
    let proven = shared.appliance.ledger(|ledger, _| match ledger.verify_chain() {
        Err(LedgerError::Chain { seq, why }) => {
            let sentence = LedgerError::Chain { seq, why }.to_string();
            Ok(Verification { intact: false, entries: seq.saturating_sub(1), sentence })
        }
        Ok(proven) => Ok(Verification { intact: true, entries: proven.entries, sentence: String::new() }),
        Err(error) => Err(error),
    });
    proven.await.map(Json).map_err(|error| trail::database(&error))
}

/// The whole chain as JSON lines, signed at its end, for `tbi-agent audit verify FILE`. That it was taken is an entry, too.
#[utoipa::path(get, path = "/v1/audit/export", security(("session" = ["administrator", "auditor"])), responses(
    (status = 200, body = String, content_type = "application/x-ndjson"),
    (status = 500, description = "The database failed", body = Problem),
))]
pub(super) async fn export(State(shared): State<Shared>, headers: HeaderMap) -> Answer<Response> {
    let by = trail::by(&headers);
    let appliance = std::sync::Arc::clone(&shared.appliance);
    let box_id = appliance.node().identity.node_id.clone();
    let begun = appliance.ledger(move |ledger, key| {
        let detail = json!({});
        let entry = trail::entry(&by, "audit.export", "/v1/audit/export", "done", &detail);
        ledger.append(&entry, key, Timestamp::now())?;
        tbi_ledger::audit::Export::begin(ledger, &box_id, key)
    });
    let mut export = begun.await.map_err(|error: LedgerError| trail::database(&error))?;
    let (pieces, waiting) = mpsc::channel::<io::Result<Bytes>>(WAITING);
    // Page by page: the database is free for others between two pages, and a slow reader holds nothing but its place.
    tokio::spawn(async move {
        loop {
            let page = appliance.ledger(move |ledger, key| {
                let piece = export.page(ledger, key, Timestamp::now())?;
                Ok::<_, LedgerError>((export, piece))
            });
            let piece = match page.await {
                Ok((_, None)) => return,
                Ok((next, Some(piece))) => {
                    export = next;
                    Ok(Bytes::from(piece))
                }
                // Without its signed end the file is found to be cut.
                Err(error) => {
                    let _reader_gone = pieces.send(Err(io::Error::other(error.to_string()))).await;
                    return;
                }
            };
            if pieces.send(piece).await.is_err() {
                return;
            }
        }
    });
    let body = Body::from_stream(futures_util::stream::unfold(waiting, |mut waiting| async move {
        waiting.recv().await.map(|piece| (piece, waiting))
    }));
    let name = "attachment; filename=\"audit.jsonl\"";
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson"), (header::CONTENT_DISPOSITION, name)], body).into_response())
}
