//! The rooms around measuring: one's own account, tokens, certificates, licence and usage, support, the machine, what the box is made of.
//!
//! | module | page |
//! |---|---|
//! | [`account`], [`second_factor`] | one's own password and second factor |
//! | [`tokens`], [`new_token`] | API tokens |
//! | [`certificates`], [`client_certificate`], [`door`] | certificates of clients, and the one that the door shows |
//! | [`licence`], [`usage`] | what runs may, what they used, where that is reported |
//! | [`about`] | what the box is, and whose work is in it |
//! | [`support`], [`system`] | what a supporter is given; restart and power off |
//!
//! What only some may change is on a page of its own with their roles in its claim, so that a page that everybody reads has no control on it
//! that a reader may not use. What cannot be undone asks for a reason, which goes into the audit entry.

mod about;
mod account;
mod certificates;
mod client_certificate;
mod door;
mod licence;
mod new_token;
pub(super) mod qr;
mod second_factor;
mod support;
mod system;
mod tokens;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;
use tbi_api::reason::Reason;
use tbi_daemon::ClientError;

use super::form::Fields;
use super::look::Look;
use super::refused::Refused;
use super::{ADMINISTRATORS, EVERYBODY, Page, Pages, Proof};

/// The pages, with their claims.
pub(super) const PAGES: &[Page] = &[
    Page("/account", &["get", "post"], EVERYBODY, Proof::Usual),
    Page("/account/second-factor", &["get", "post"], EVERYBODY, Proof::Fresh),
    Page("/tokens", &["get"], EVERYBODY, Proof::Usual),
    Page("/tokens/new", &["get", "post"], EVERYBODY, Proof::Fresh),
    Page("/tokens/revoke/{id}", &["get", "post"], EVERYBODY, Proof::Usual),
    Page("/certificates", &["get"], EVERYBODY, Proof::Usual),
    Page("/certificates/door", &["get", "post"], ADMINISTRATORS, Proof::Fresh),
    Page("/certificates/client/new", &["get", "post"], ADMINISTRATORS, Proof::Fresh),
    Page("/certificates/client/remove/{fingerprint}", &["get", "post"], ADMINISTRATORS, Proof::Fresh),
    Page("/licence", &["get"], EVERYBODY, Proof::Usual),
    Page("/licence/install", &["get", "post"], ADMINISTRATORS, Proof::Fresh),
    Page("/licence/remove/{id}", &["get", "post"], ADMINISTRATORS, Proof::Fresh),
    Page("/licence/settings", &["get", "post"], ADMINISTRATORS, Proof::Usual),
    Page("/licence/report", &["post"], ADMINISTRATORS, Proof::Usual),
    Page("/about", &["get"], EVERYBODY, Proof::Usual),
    Page("/about/licences", &["get"], EVERYBODY, Proof::Usual),
    Page("/support", &["get"], EVERYBODY, Proof::Usual),
    Page("/system", &["get", "post"], ADMINISTRATORS, Proof::Fresh),
];

/// Their routes.
pub(super) fn routes() -> Router<Arc<Pages>> {
    Router::new()
        .route("/account", get(account::show).post(account::change))
        .route("/account/second-factor", get(second_factor::show).post(second_factor::change))
        .route("/tokens", get(tokens::show))
        .route("/tokens/new", get(new_token::show).post(new_token::make))
        .route("/tokens/revoke/{id}", get(tokens::ask).post(tokens::revoke))
        .route("/certificates", get(certificates::show))
        .route("/certificates/door", get(door::show).post(door::change))
        .route("/certificates/client/new", get(client_certificate::show).post(client_certificate::enter))
        .route(
            "/certificates/client/remove/{fingerprint}",
            get(client_certificate::ask).post(client_certificate::remove),
        )
        .route("/licence", get(licence::show))
        .route("/licence/install", get(licence::form).post(licence::install))
        .route("/licence/remove/{id}", get(licence::ask).post(licence::remove))
        .route("/licence/settings", get(usage::show).post(usage::change))
        .route("/licence/report", post(usage::report))
        .route("/about", get(about::show))
        .route("/about/licences", get(about::licences))
        .route("/support", get(support::show))
        .route("/system", get(system::show).post(system::order))
}

/// What is wrong with what was typed: our words, and the English sentence of whoever refused it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wrong {
    words: String,
    sentence: String,
}

impl Wrong {
    fn said(look: &Look, id: &str) -> Option<Self> {
        Self::with(look, id, "")
    }

    fn with(look: &Look, id: &str, sentence: &str) -> Option<Self> {
        Some(Self { words: look.say(id).into_owned(), sentence: sentence.to_owned() })
    }
}

/// Why something is to be done, or what to say at its field.
pub(super) fn because(look: &Look, fields: &Fields) -> Result<Reason, String> {
    fields.text("reason").parse().map_err(|_no_reason| look.say("reason-wrong").into_owned())
}

/// A form that does not say which of its page's deeds it is for.
fn no_action() -> Refused {
    let detail = "the form does not say what is to be done; load the page again";
    Refused::new(StatusCode::BAD_REQUEST, "malformed-request", detail)
}

/// Something that a page was asked for and that is not there.
pub(super) fn missing(detail: &str) -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "not-found", detail)
}

/// A change that the agent did not make, where no field is at fault.
fn unanswered(error: &ClientError) -> Refused {
    match error {
        ClientError::Problem(problem) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_GATEWAY);
            Refused::new(status, "refused-by-agent", problem.detail.clone())
        }
        silent => Refused::new(StatusCode::SERVICE_UNAVAILABLE, "daemon-down", silent.to_string()),
    }
}
