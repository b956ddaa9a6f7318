//! A form that comes more than ten minutes after the proof of the person: what was typed goes through the page that asks for the proof again,
//! and is sent on afterwards, also without JavaScript.
//!
//! The gate lets such a form through to here and marks its [`Caller`] as unproven; [`layer`] stands before every handler, so that none of
//! them is reached. The form has passed the same look as any other (origin of this box, token of the session) before anything of it is shown.
//! Nothing is kept at the box: the fields stand in the page, which only its reader has, and come back with the proof. After it they stand in a
//! form like any other, with the token of the session's new id, and it is the reader who sends it. So there is nothing to replay, and nobody
//! can have a reader prove themselves for fields that are not their own.
//!
//! What is secret is never written into a page ([`SECRETS`], and whatever looks like a private key): it is typed again.

use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequest as _, Request, State};
use axum::middleware::Next as Inner;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use super::form::{Fields, SignedForm, TOKEN};
use super::frame::Frame;
use super::look::Look;
use super::next::Next;
use super::refused::{Refused, Shown};
use super::visit::Visit;
use super::{Pages, Proof, all_pages, html, step_up};
use crate::gate::Caller;

/// Most that is carried, bytes of names and values: with the escapes of a form it is still within what a form may have.
const MOST: usize = 20 << 10;
/// Before the name of a field that is carried.
const CARRIED: &str = "kept.";
/// Before the name of a field that was filled and is not carried.
const AGAIN: &str = "again.";
/// The page that the form is for.
const TO: &str = "to";

/// Fields that are never carried, by name, with the words at the field where each is typed again.
pub(super) const SECRETS: [(&str, &str); 8] = [
    ("again", "welcome-again"),
    ("claim_code", "welcome-code"),
    ("code", "login-code"),
    ("key", "door-key"),
    ("new", "account-new-password"),
    ("old", "account-old-password"),
    ("password", "password"),
    ("secret", "setup-device-secret"),
];

fn is_secret(name: &str, value: &str) -> bool {
    SECRETS.iter().any(|(secret, _words)| *secret == name) || value.contains("PRIVATE KEY")
}

/// A form on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Late {
    /// Path of its page.
    to: String,
    carried: Vec<(String, String)>,
    /// Names of filled fields that are typed again.
    again: Vec<String>,
}

/// Whether a form to this path may be sent on: only those that take a fresh proof.
fn takes_proof(path: &str) -> bool {
    let fits = |template: &str| {
        template.split('/').count() == path.split('/').count()
            && template.split('/').zip(path.split('/')).all(|(part, given)| part == given || part.starts_with('{'))
    };
    let page = all_pages().find(|page| fits(page.0));
    page.is_some_and(|page| page.1.contains(&"post") && page.3 == Proof::Fresh) && Next::of(path).is_some()
}

impl Late {
    /// Of what was sent to `to`; `None` when it is more than is carried.
    fn of(to: &str, fields: &Fields) -> Option<Self> {
        let (mut carried, mut again, mut size) = (Vec::new(), Vec::new(), 0);
        for name in fields.names().filter(|name| *name != TOKEN) {
            let value = fields.text(name);
            if is_secret(name, value) {
                // Whether it was filled is all that is said of it.
                again.extend(Some(name.to_owned()).filter(|_name| !value.is_empty()));
            } else {
                size += name.len() + value.len();
                carried.push((name.to_owned(), value.to_owned()));
            }
        }
        (size <= MOST && takes_proof(to)).then(|| Self { to: to.to_owned(), carried, again })
    }

    /// Of the form that carries it; `None` when it carries none, or one to where none is sent on.
    pub(super) fn carried_by(fields: &Fields) -> Option<Self> {
        let to = Some(fields.text(TO)).filter(|to| takes_proof(to))?;
        let of = |lead: &'static str| fields.names().filter_map(move |name| Some((name, name.strip_prefix(lead)?)));
        let carried = of(CARRIED).map(|(whole, name)| (name.to_owned(), fields.text(whole).to_owned()));
        let carried = carried.filter(|(name, value)| name != TOKEN && !is_secret(name, value));
        let again = of(AGAIN).map(|(_whole, name)| name.to_owned());
        let again = again.filter(|name| SECRETS.iter().any(|(secret, _words)| secret == name));
        Some(Self { to: to.to_owned(), carried: carried.collect(), again: again.collect() })
    }

    /// Fields that carry it, for the form that asks for the proof.
    pub(super) fn hidden(&self) -> Vec<(String, String)> {
        let carried = self.carried.iter().map(|(name, value)| (format!("{CARRIED}{name}"), value.clone()));
        let again = self.again.iter().map(|name| (format!("{AGAIN}{name}"), String::new()));
        std::iter::once((TO.to_owned(), self.to.clone())).chain(carried).chain(again).collect()
    }

    /// The form as it is sent on, on the answer to the proof.
    pub(super) fn onward(self, visit: &Visit, mut frame: Frame, token: &str) -> Response {
        if let Some(person) = &mut frame.person {
            token.clone_into(&mut person.token);
        }
        let again =
            self.again.iter().filter_map(|name| SECRETS.iter().find(|(secret, _words)| secret == name).copied());
        html(&OnwardPage {
            again: again.collect(),
            look: visit.look.clone(),
            frame,
            token: token.to_owned(),
            to: self.to,
            carried: self.carried,
        })
    }
}

#[derive(Template)]
#[template(path = "onward.html")]
struct OnwardPage {
    look: Look,
    frame: Frame,
    token: String,
    to: String,
    carried: Vec<(String, String)>,
    again: Vec<(&'static str, &'static str)>,
}

/// Asks for the proof, with the form on its page.
async fn ask(pages: &Arc<Pages>, request: Request) -> Shown {
    let path = request.uri().path().to_owned();
    let SignedForm { who, fields, .. } = SignedForm::from_request(request, pages).await?;
    let visit = Visit::new(pages, who, &path);
    let required = || Refused::new(StatusCode::FORBIDDEN, "step-up-required", "prove once more that it is you");
    let late = Late::of(&path, &fields).ok_or_else(required)?;
    let mut response = step_up::with_form(&visit, &path, late).await;
    *response.status_mut() = StatusCode::FORBIDDEN;
    Ok(response)
}

/// Stands before the handlers of all pages.
pub(super) async fn layer(State(pages): State<Arc<Pages>>, request: Request, inner: Inner) -> Response {
    match request.extensions().get::<Caller>() {
        Some(caller) if caller.unproven => ask(&pages, request).await.unwrap_or_else(|refused| refused.into_response()),
        _ => inner.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_was_typed_is_carried_and_what_is_secret_is_typed_again() {
        let form = fields("csrf=T&account=eve&role=viewer&password=p&again=&chain=-----BEGIN+PRIVATE+KEY-----");
        let late = Late::of("/users/new", &form).unwrap();
        assert_eq!(late.carried, [("account", "eve"), ("role", "viewer")].map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!(late.again, ["chain", "password"]);
        let hidden = late.hidden();
        let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(&hidden).finish();
        assert!(!text.contains("PRIVATE") && !text.contains("csrf"), "{text}");
        let back = Late::carried_by(&fields(&text)).unwrap();
        assert_eq!((back.to.as_str(), &back.carried), ("/users/new", &late.carried));
        assert_eq!(back.again, ["password"], "only what has words at its field");
    }

    #[test]
    fn nothing_is_sent_on_to_where_no_proof_is_taken_nor_more_than_fits() {
        for to in [
            "/logout",
            "/step-up",
            "/runs/new",
            "https://evil.example/",
            "//evil.example",
            "/users/new/x",
            "",
            "/users",
        ] {
            assert_eq!(Late::of(to, &fields("a=1")), None, "{to}");
            let carried = form_urlencoded::Serializer::new(String::new()).append_pair("to", to).finish();
            assert_eq!(Late::carried_by(&fields(&carried)), None, "{to}");
        }
        assert!(Late::of("/users/account/vera", &fields("action=remove")).is_some());
        assert_eq!(Late::of("/users/new", &fields(&format!("account={}", "a".repeat(MOST)))), None);
        // What somebody writes into the page by hand is no way around.
        let late = Late::carried_by(&fields("to=/users/new&kept.csrf=x&kept.password=y&again.csrf=")).unwrap();
        assert_eq!((late.carried, late.again), (Vec::new(), Vec::new()));
    }
}
