//! Certificates exchanged: the persona CA for the device, the device's CA for the box.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse as _;
use http::{StatusCode, header};
use tbi_api::access::Digest;
use tbi_api::device::{Authority, Bundle};
use tbi_daemon::ClientError;
use x509_parser::pem::Pem;

use super::super::Pages;
use super::super::form::Fields;
use super::super::look::Look;
use super::super::refused::{Refused, Shown};
use super::super::visit::Visit;
use super::certificate::pairs;
use super::view::{Cell, Field, Kind, Problems, Table, View};
use super::{Kept, PERSONA_CA};

pub(super) async fn view(visit: &Visit, typed: Option<&Fields>) -> View {
    let look = &visit.look;
    let mut view = View::new(look, "authorities");
    let (persona, known) = tokio::join!(visit.agent.persona_ca(), visit.agent.authorities());
    match persona {
        Ok(pem) => {
            view.code(look.say("setup-persona-ca"), fingerprint(&pem));
            view.links.push((PERSONA_CA.to_owned(), look.say("setup-persona-ca-download").into_owned()));
        }
        Err(_not_up) => view.fact(look.say("setup-persona-ca"), look.say("setup-persona-ca-unknown")),
    }
    match known {
        Ok(known) if known.is_empty() => view.fact(look.say("setup-device-ca"), look.say("setup-device-ca-none")),
        Ok(known) => view.tables.push(table(look, &known, true)),
        Err(error) => view.unknown(look, &error),
    }
    let field = Field::new("pem", Kind::Area { rows: 8 }, look.say("setup-device-ca-new"), typed, "");
    view.fields.push(field.hint(look.say("setup-device-ca-rule")));
    view.keep = Some(look.say("setup-device-ca-add").into_owned());
    view.done = Some(look.say("setup-go-on").into_owned());
    view
}

/// SHA-256 of the first certificate of a PEM text; nothing when there is none.
pub(super) fn fingerprint(pem: &str) -> String {
    let first = Pem::iter_from_buffer(pem.as_bytes()).next().and_then(Result::ok);
    first.map(|pem| pairs(crate::digest::sha256(&pem.contents).as_str())).unwrap_or_default()
}

pub(super) fn table(look: &Look, known: &[Authority], may_remove: bool) -> Table {
    let row = |one: &Authority| {
        vec![
            Cell::text(one.subject.clone()),
            Cell::text(one.issuer.clone()),
            Cell::text(look.time_of(&one.not_after)),
            Cell::text(pairs(&one.sha256)),
        ]
    };
    let mut heads = vec![
        look.say("setup-subject").into_owned(),
        look.say("setup-issuer").into_owned(),
        look.say("setup-until").into_owned(),
        look.say("setup-fingerprint").into_owned(),
    ];
    let action = may_remove.then(|| {
        heads.push(look.say("setup-remove").into_owned());
        let values = known.iter().map(|one| one.sha256.clone()).collect();
        ("remove", look.say("setup-remove").into_owned(), values)
    });
    let title = look.say("setup-device-ca").into_owned();
    Table { id: "authorities", title, heads, rows: known.iter().map(row).collect(), action }
}

pub(super) async fn keep(visit: &Visit, fields: &Fields) -> Result<Kept, ClientError> {
    let look = &visit.look;
    let pem = fields.text("pem").trim();
    if pem.is_empty() {
        return Ok(Problems::at("pem", look.say("field-missing")).into());
    }
    match visit.agent.add_authorities(&Bundle { pem: format!("{pem}\n") }).await {
        Ok(_all) => Ok(Kept::Stay),
        Err(error) if error.code() == Some("authority-refused") => {
            Ok(Problems::of(look, &error).and("pem", look.say("setup-device-ca-rule")).into())
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn remove(visit: &Visit, fields: &Fields) -> Result<Kept, ClientError> {
    // Parsed, so that nothing else gets into the path.
    let Ok(sha256) = fields.text("value").to_owned().try_into() else {
        return Ok(Problems::page(visit.look.say("setup-device-ca-gone")).into());
    };
    let sha256: Digest = sha256;
    match visit.agent.remove_authority(sha256.as_str()).await {
        Ok(()) => Ok(Kept::Stay),
        Err(error) if error.code() == Some("no-such-authority") => {
            Ok(Problems::page(visit.look.say("setup-device-ca-gone")).into())
        }
        Err(error) => Err(error),
    }
}

/// The persona CA, to be put into the device.
pub(super) async fn persona_ca(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    match visit.agent.persona_ca().await {
        Ok(pem) => {
            let headers = [
                (header::CONTENT_TYPE, "application/x-pem-file"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"tbi-persona-ca.pem\""),
            ];
            Ok((headers, pem).into_response())
        }
        Err(error) => Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "personas-silent", error.to_string())),
    }
}
