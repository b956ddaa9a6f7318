//! The audit chain: what was done, by whom, from where, before and after; and whether it is whole.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::audit::{Entry, Filter, Verification};

use super::form::{Asked, Fields};
use super::frame::Frame;
use super::look::Look;
use super::refused::Shown;
use super::visit::Visit;
use super::words::Said;
use super::{Pages, html, unprocessable};

/// Entries on one page.
const PAGE: u16 = 100;

/// One entry.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    seq: u64,
    when: String,
    actor: String,
    role: String,
    source: String,
    action: String,
    target: String,
    outcome: String,
    detail: String,
    correlation: String,
    hash: String,
}

/// What looking through the chain showed.
#[derive(Debug, PartialEq, Eq)]
struct Proven {
    intact: bool,
    words: String,
    /// The agent's sentence about the first fault.
    sentence: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    look: Look,
    frame: Frame,
    actor: String,
    action: String,
    before: String,
    before_error: Option<String>,
    /// Fields that take anything.
    no_error: Option<String>,
    rows: Option<Vec<Row>>,
    proven: Option<Proven>,
    older: Option<String>,
}

fn row(entry: Entry, look: &Look) -> Row {
    // Sealed text stays as it is; only the screen is told its shape.
    let pretty = serde_json::from_str(&entry.detail).and_then(|detail: serde_json::Value| match detail {
        serde_json::Value::Null => Ok(String::new()),
        detail => serde_json::to_string_pretty(&detail),
    });
    Row {
        seq: entry.seq,
        when: look.time(entry.when),
        actor: entry.actor,
        role: entry.role,
        source: entry.source,
        action: entry.action,
        target: entry.target,
        outcome: entry.outcome,
        detail: pretty.unwrap_or(entry.detail),
        correlation: entry.correlation,
        hash: entry.hash,
    }
}

fn proven(verification: Verification, look: &Look) -> Proven {
    let id = if verification.intact { "audit-intact" } else { "audit-broken" };
    // Plural rules need a number; beyond 2^53 entries they have the same plural.
    let words = look.tell(&Said::new(id).and("entries", verification.entries as f64)).into_owned();
    Proven { intact: verification.intact, words, sentence: verification.sentence }
}

fn older(fields: &Fields, last: u64) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in ["actor", "action"] {
        if !fields.text(name).is_empty() {
            query.append_pair(name, fields.text(name));
        }
    }
    format!("/audit?{}", query.append_pair("before", &last.to_string()).finish())
}

/// The page.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit, Asked(fields): Asked) -> Shown {
    let look = visit.look.clone();
    let given = |name: &str| Some(fields.text(name).trim().to_owned()).filter(|text| !text.is_empty());
    let before = given("before").map(|text| text.parse::<u64>());
    let mut page = AuditPage {
        frame: Frame::new(&look, "", "/audit"),
        actor: given("actor").unwrap_or_default(),
        action: given("action").unwrap_or_default(),
        before: given("before").unwrap_or_default(),
        before_error: None,
        no_error: None,
        rows: None,
        proven: None,
        older: None,
        look,
    };
    if let Some(Err(_no_number)) = before {
        page.before_error = Some(page.look.say("audit-before-wrong").into_owned());
        page.frame = visit.frame("audit-title", &visit.agent.status().await);
        return Ok(unprocessable(&page));
    }
    let filter = Filter {
        before: before.and_then(Result::ok),
        actor: given("actor"),
        action: given("action"),
        correlation: given("correlation"),
        limit: Some(PAGE),
    };
    let verify = async {
        match fields.text("verify") {
            "yes" => Some(visit.agent.audit_verification().await),
            _ => None,
        }
    };
    let (status, entries, verification) = tokio::join!(visit.agent.status(), visit.agent.audit(&filter), verify);
    page.frame = visit.frame("audit-title", &status);
    match entries {
        Ok(entries) => {
            let full = entries.len() >= usize::from(PAGE);
            // The first entry has number 1, and nothing is older.
            let last = entries.last().map(|entry| entry.seq).filter(|seq| full && *seq > 1);
            page.older = last.map(|last| older(&fields, last));
            page.rows = Some(entries.into_iter().map(|entry| row(entry, &page.look)).collect());
        }
        Err(error) => page.frame.silent(&page.look, &error),
    }
    match verification {
        Some(Ok(verification)) => page.proven = Some(proven(verification, &page.look)),
        Some(Err(error)) => page.frame.silent(&page.look, &error),
        None => {}
    }
    Ok(html(&page))
}
