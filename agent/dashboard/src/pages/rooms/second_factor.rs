//! One's own second factor: offered, confirmed with a code of it, new recovery codes, switched off. What is secret is shown where it was asked
//! for and nowhere else: the offer until it is confirmed, recovery codes on the answer that made them.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::access::Hidden;

use super::super::form::SignedForm;
use super::super::frame::Frame;
use super::super::look::Look;
use super::super::refused::{Refused, Shown};
use super::super::visit::Visit;
use super::super::{Pages, html, see_other, unprocessable};
use super::qr::{Picture, picture};
use super::{because, no_action};
use crate::access::page::{self, NewCodes};

const PATH: &str = "/account/second-factor";

/// A second factor that waits to be confirmed.
struct Offer {
    secret: String,
    uri: String,
    picture: Option<Picture>,
}

#[derive(Template)]
#[template(path = "rooms/second_factor.html")]
struct FactorPage {
    look: Look,
    frame: Frame,
    token: String,
    second_factor: bool,
    codes_left: String,
    offer: Option<Offer>,
    /// Just made; this is the only time they are shown.
    codes: Vec<String>,
    error: Option<String>,
    code_error: Option<String>,
    reason: String,
    reason_error: Option<String>,
}

/// In groups of four, as it is typed by hand.
fn grouped(secret: &str) -> String {
    let groups = secret.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok());
    groups.collect::<Vec<_>>().join(" ")
}

async fn page_of(pages: &Pages, visit: &Visit) -> FactorPage {
    let account = visit.who.identity.account();
    let offered = page::offered_second_factor(&pages.access, &visit.who).filter(|_offer| !account.second_factor);
    FactorPage {
        frame: visit.frame("factor-title", &visit.agent.status().await),
        token: visit.token().to_owned(),
        second_factor: account.second_factor,
        codes_left: visit.look.count(account.recovery_codes_left.into()),
        offer: offered.map(|(secret, uri)| Offer {
            secret: grouped(secret.reveal()),
            picture: picture(uri.reveal()),
            uri: uri.reveal().to_owned(),
        }),
        codes: Vec::new(),
        error: None,
        code_error: None,
        reason: String::new(),
        reason_error: None,
        look: visit.look.clone(),
    }
}

/// The page.
pub(super) async fn show(State(pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    Ok(html(&page_of(&pages, &visit).await))
}

/// Does what its forms ask for.
pub(super) async fn change(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, PATH);
    let access = &pages.access;
    let done = match fields.text("action") {
        "offer" => page::offer_second_factor(access, visit.who.clone()).await.map(|()| see_other(PATH)),
        "confirm" => {
            let code = Hidden::new(fields.text("code").trim());
            match page::confirm_second_factor(access, &visit.who, &code).await {
                Ok(made) => return Ok(once(&pages, &visit, made).await),
                Err(fault) => Err(fault),
            }
        }
        "codes" => match page::new_recovery_codes(access, visit.who.clone()).await {
            Ok(made) => return Ok(once(&pages, &visit, made).await),
            Err(fault) => Err(fault),
        },
        "remove" => {
            let reason = match because(&visit.look, &fields) {
                Ok(reason) => reason,
                Err(words) => {
                    let mut shown = page_of(&pages, &visit).await;
                    (shown.reason, shown.reason_error) = (fields.text("reason").to_owned(), Some(words));
                    return Ok(unprocessable(&shown));
                }
            };
            page::remove_second_factor(access, visit.who.clone(), &reason).await.map(|cookies| {
                let mut response = see_other("/account");
                cookies.put(&mut response);
                response
            })
        }
        _ => return Err(no_action()),
    };
    let fault = match done {
        Ok(response) => return Ok(response),
        Err(fault) => fault,
    };
    let mut shown = page_of(&pages, &visit).await;
    let say = |id: &str| Some(visit.look.say(id).into_owned());
    match fault.0.code {
        "code-wrong" => shown.code_error = say("factor-code-wrong"),
        "no-second-factor-offered" => shown.error = say("factor-offer-over"),
        "second-factor-exists" => shown.error = say("factor-exists"),
        "no-second-factor" => shown.error = say("factor-none"),
        "account-changed" => shown.error = say("user-changed"),
        _ => return Err(Refused::from(fault)),
    }
    Ok(unprocessable(&shown))
}

/// Recovery codes, on this answer and on no other.
async fn once(pages: &Pages, visit: &Visit, made: NewCodes) -> axum::response::Response {
    let mut shown = page_of(pages, visit).await;
    shown.second_factor = true;
    shown.offer = None;
    shown.codes_left = visit.look.count(made.codes.len() as u64);
    shown.codes = made.codes.iter().map(|code| code.reveal().to_owned()).collect();
    // The session has another id now, and with it another token for every form of this page.
    if let Some(token) = &made.token {
        token.reveal().clone_into(&mut shown.token);
        if let Some(person) = &mut shown.frame.person {
            token.reveal().clone_into(&mut person.token);
        }
    }
    let mut response = html(&shown);
    made.cookies.put(&mut response);
    response
}
