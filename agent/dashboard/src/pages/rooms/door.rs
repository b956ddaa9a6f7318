//! Another certificate for the door: a request for a CA, what came back or was made elsewhere, and the way back to the door's own. A key that
//! was pasted is not shown again, whatever was wrong.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::access::Hidden;

use super::super::form::{Fields, SignedForm};
use super::super::frame::Frame;
use super::super::look::Look;
use super::super::refused::{Refused, Shown};
use super::super::visit::Visit;
use super::super::{Pages, html, see_other, unprocessable};
use super::certificates::{Door, door};
use super::client_certificate::has_key;
use super::{Wrong, because, no_action};
use crate::access::{CertificateOrder, Fault, RequestOrder, page};

#[derive(Template)]
#[template(path = "rooms/door.html")]
struct DoorPage {
    look: Look,
    frame: Frame,
    token: String,
    door: Door,
    request_pending: bool,
    names: String,
    chain: String,
    reason: String,
    /// A request that was made just now.
    request: Option<String>,
    error: Option<Wrong>,
    names_error: Option<Wrong>,
    chain_error: Option<Wrong>,
    key_error: Option<Wrong>,
    reason_error: Option<String>,
}

async fn page_of(pages: &Pages, visit: &Visit) -> Result<DoorPage, Refused> {
    let shown = page::door_certificate(&pages.desk, visit.who.clone());
    let (status, shown) = tokio::join!(visit.agent.status(), shown);
    let shown = shown?;
    Ok(DoorPage {
        frame: visit.frame("door-title", &status),
        token: visit.token().to_owned(),
        door: door(shown.shown, &visit.look),
        request_pending: shown.request_pending,
        names: String::new(),
        chain: String::new(),
        reason: String::new(),
        request: None,
        error: None,
        names_error: None,
        chain_error: None,
        key_error: None,
        reason_error: None,
        look: visit.look.clone(),
    })
}

/// Names as people write lists of them.
fn names(text: &str) -> Option<Vec<String>> {
    let names: Vec<String> = text
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | ';'))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    Some(names).filter(|names| !names.is_empty())
}

/// The forms.
pub(super) async fn show(State(pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    Ok(html(&page_of(&pages, &visit).await?))
}

/// Does what its forms ask for.
pub(super) async fn change(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/certificates/door");
    match fields.text("action") {
        "request" => request(&pages, &visit, &fields).await,
        "bring" => bring(&pages, &visit, &fields).await,
        "give-back" => give_back(&pages, &visit, &fields).await,
        _ => Err(no_action()),
    }
}

async fn request(pages: &Pages, visit: &Visit, fields: &Fields) -> Shown {
    let order = RequestOrder { names: names(fields.text("names")) };
    match page::request_door_certificate(&pages.desk, visit.who.clone(), order).await {
        Ok(made) => {
            let mut shown = page_of(pages, visit).await?;
            shown.names = made.names.join(" ");
            shown.request = Some(made.request_pem);
            Ok(html(&shown))
        }
        Err(fault) => {
            let mut shown = page_of(pages, visit).await?;
            fields.text("names").clone_into(&mut shown.names);
            at_field(&mut shown, fault)
        }
    }
}

async fn bring(pages: &Pages, visit: &Visit, fields: &Fields) -> Shown {
    let (chain, key) = (fields.text("chain"), fields.text("key").trim());
    let mut shown = page_of(pages, visit).await?;
    if has_key(chain) {
        shown.chain_error = Wrong::said(&visit.look, "door-chain-has-key");
        return Ok(unprocessable(&shown));
    }
    chain.clone_into(&mut shown.chain);
    if chain.trim().is_empty() {
        shown.chain_error = Wrong::said(&visit.look, "field-missing");
        return Ok(unprocessable(&shown));
    }
    let key = Some(key).filter(|key| !key.is_empty()).map(Hidden::new);
    let order = CertificateOrder { chain: chain.to_owned(), key };
    match page::bring_door_certificate(&pages.desk, visit.who.clone(), order).await {
        Ok(_view) => Ok(see_other("/certificates")),
        Err(fault) => at_field(&mut shown, fault),
    }
}

async fn give_back(pages: &Pages, visit: &Visit, fields: &Fields) -> Shown {
    let mut shown = page_of(pages, visit).await?;
    fields.text("reason").clone_into(&mut shown.reason);
    match because(&visit.look, fields) {
        Ok(reason) => match page::remove_door_certificate(&pages.desk, visit.who.clone(), &reason).await {
            Ok(_view) => Ok(see_other("/certificates")),
            Err(fault) => at_field(&mut shown, fault),
        },
        Err(words) => {
            shown.reason_error = Some(words);
            Ok(unprocessable(&shown))
        }
    }
}

fn at_field(shown: &mut DoorPage, fault: Fault) -> Shown {
    let wrong = |id: &str| Wrong::with(&shown.look, id, &fault.0.detail);
    match fault.0.code {
        "names-not-taken" => shown.names_error = wrong("door-names-wrong"),
        "no-key" | "key-encrypted" | "key-of-another" | "no-request" => shown.key_error = wrong("door-key-wrong"),
        "no-certificate"
        | "certificate-damaged"
        | "chain-too-long"
        | "certificate-expired"
        | "certificate-not-yet-valid"
        | "chain-out-of-order"
        | "certificate-unusable" => shown.chain_error = wrong("door-chain-wrong"),
        "certificate-by-flags" | "state-not-writable" => shown.error = wrong("door-not-now"),
        _ => return Err(Refused::from(fault)),
    }
    Ok(unprocessable(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_people_write_lists() {
        let read = |text: &str| names(text).map(|names| names.join("|"));
        assert_eq!(read("a.example, b.example;\n 192.0.2.7\r\n"), Some("a.example|b.example|192.0.2.7".to_owned()));
        assert_eq!(read(" ,; \n"), None);
    }
}
