//! Licences and usage: what is installed and how long it holds, what is unspent, what was counted and who knows of it. Installing and removing
//! are pages of their own, because only administrators may.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use tbi_api::access::Role;
use tbi_api::licence::{Document, Installed, Licences};
use tbi_api::usage::Usage;

use super::super::form::{Asked, SignedForm};
use super::super::frame::Frame;
use super::super::look::Look;
use super::super::refused::{Refused, Shown};
use super::super::visit::Visit;
use super::super::why::{Deed, Fact, Why};
use super::super::{Pages, api_call, html, see_other, unprocessable};
use super::{Wrong, because, missing, unanswered};

/// An installed envelope.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    id: String,
    customer: String,
    features: String,
    concurrency: String,
    from: String,
    until: String,
    grace_days: u32,
    units: String,
    standing: String,
    class: &'static str,
    /// The identifier within a path.
    in_path: String,
}

/// How licences stand.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    enforced: bool,
    balance: String,
    rows: Vec<Row>,
}

/// How the meter stands.
#[derive(Debug, PartialEq, Eq)]
struct Meter {
    counted: String,
    pending: String,
    url: Option<String>,
    sentence: String,
    lost: String,
    has_lost: bool,
}

#[derive(Template)]
#[template(path = "rooms/licence.html")]
struct LicencePage {
    look: Look,
    frame: Frame,
    token: String,
    may_change: bool,
    reported: bool,
    licences: Option<Standing>,
    usage: Option<Meter>,
}

#[derive(Template)]
#[template(path = "rooms/install_licence.html")]
struct InstallPage {
    look: Look,
    frame: Frame,
    token: String,
    document: String,
    document_error: Option<Wrong>,
}

fn row(installed: Installed, look: &Look) -> Row {
    let id: String = form_urlencoded::byte_serialize(installed.id.as_bytes()).collect();
    Row {
        // In a path a blank is no plus.
        in_path: id.replace('+', "%20"),
        class: match installed.standing.as_str() {
            "valid" => "passed",
            "grace" | "not_yet" => "degraded",
            _ => "failed",
        },
        standing: match installed.standing.as_str() {
            known @ ("valid" | "grace" | "expired" | "not_yet" | "forged") => {
                look.word("standing-", known).into_owned()
            }
            other => other.to_owned(),
        },
        features: installed.features.join(", "),
        concurrency: look.count(installed.concurrency.into()),
        from: look.time(installed.not_before),
        until: look.time(installed.expires),
        grace_days: installed.grace_days,
        units: look.count(installed.tsu),
        customer: installed.customer,
        id: installed.id,
    }
}

fn standing(licences: Licences, look: &Look) -> Standing {
    Standing {
        enforced: licences.enforced,
        balance: look.count(licences.balance),
        rows: licences.installed.into_iter().map(|one| row(one, look)).collect(),
    }
}

fn meter(usage: Usage, look: &Look) -> Meter {
    Meter {
        counted: look.count(usage.last),
        pending: look.count(usage.last.saturating_sub(usage.acknowledged)),
        url: usage.url,
        sentence: usage.sentence,
        lost: look.count(usage.lost),
        has_lost: usage.lost > 0,
    }
}

/// The page.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit, Asked(asked): Asked) -> Shown {
    let (status, licences, usage) = tokio::join!(visit.agent.status(), visit.agent.licences(), visit.agent.usage());
    let look = visit.look.clone();
    let mut frame = visit.frame("licence-title", &status);
    for error in [licences.as_ref().err(), usage.as_ref().err()].into_iter().flatten() {
        frame.silent(&look, error);
    }
    Ok(html(&LicencePage {
        frame,
        token: visit.token().to_owned(),
        may_change: visit.who.role == Role::Administrator,
        reported: asked.text("reported") == "yes",
        licences: licences.ok().map(|licences| standing(licences, &look)),
        usage: usage.ok().map(|usage| meter(usage, &look)),
        look,
    }))
}

async fn install_page(visit: &Visit, document: &str) -> InstallPage {
    InstallPage {
        frame: visit.frame("licence-install", &visit.agent.status().await),
        token: visit.token().to_owned(),
        document: document.to_owned(),
        document_error: None,
        look: visit.look.clone(),
    }
}

/// The form to install one.
pub(super) async fn form(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    Ok(html(&install_page(&visit, "").await))
}

/// Installs one.
pub(super) async fn install(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/licence/install");
    let document = fields.text("document");
    if document.trim().is_empty() {
        let mut shown = install_page(&visit, document).await;
        shown.document_error = Wrong::said(&visit.look, "field-missing");
        return Ok(unprocessable(&shown));
    }
    let error = match visit.agent.install_licence(&Document { document: document.to_owned() }).await {
        Ok(_installed) => return Ok(see_other("/licence")),
        Err(error) => error,
    };
    let words = match error.code() {
        Some("licence-refused") => "licence-refused",
        Some("licence-exists") => "licence-exists",
        _ => return Err(unanswered(&error)),
    };
    let mut shown = install_page(&visit, document).await;
    shown.document_error = Wrong::with(&visit.look, words, &error.to_string());
    Ok(unprocessable(&shown))
}

async fn remove_page(visit: &Visit, id: &str) -> Result<Why, Refused> {
    let (status, licences) = tokio::join!(visit.agent.status(), visit.agent.licences());
    let licences = licences.map_err(|error| unanswered(&error))?;
    let found = licences.installed.into_iter().find(|installed| installed.id == id);
    let found = found.ok_or_else(|| missing("there is no such licence; the list has those there are"))?;
    let look = &visit.look;
    let row = row(found, look);
    let deed = Deed {
        title: "licence-remove",
        lead: "licence-remove-lead",
        button: "licence-remove",
        back_words: "cancel",
        back: "/licence".to_owned(),
        call: api_call::line("DELETE", format!("/api/v1/agent/licences/{}?reason=WHY", row.in_path), ""),
        action: format!("/licence/remove/{}", row.in_path),
        facts: vec![
            Fact::text(look, "licence-id", row.id).in_state(row.class, row.standing),
            Fact::text(look, "licence-customer", row.customer),
            Fact::text(look, "licence-until", row.until),
        ],
    };
    Ok(Why::new(visit, &status, deed))
}

/// Asks why one is to be removed.
pub(super) async fn ask(State(_pages): State<Arc<Pages>>, visit: Visit, Path(id): Path<String>) -> Shown {
    Ok(html(&remove_page(&visit, &id).await?))
}

/// Removes it.
pub(super) async fn remove(State(pages): State<Arc<Pages>>, Path(id): Path<String>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/licence");
    match because(&visit.look, &fields) {
        Ok(reason) => match visit.agent.remove_licence(&id, &reason).await {
            Ok(()) => Ok(see_other("/licence")),
            Err(error) => Err(unanswered(&error)),
        },
        Err(words) => Ok(remove_page(&visit, &id).await?.again(&fields, words)),
    }
}
