//! The fresh proof of the person that dangerous pages take: the code where there is a second factor, else the password. It counts for ten
//! minutes. The session gets a new id with it, as with a login. A form that came without the proof waits in the page ([`super::late`]).

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use tbi_api::access::Hidden;

use super::form::{Asked, SignedForm};
use super::frame::Frame;
use super::late::Late;
use super::login::waiting;
use super::look::Look;
use super::next::Next;
use super::refused::{Refused, Shown};
use super::visit::Visit;
use super::{Pages, html, see_other, unprocessable};
use crate::access::{StepUp, page};

#[derive(Template)]
#[template(path = "step_up.html")]
struct StepUpPage {
    look: Look,
    frame: Frame,
    token: String,
    next: String,
    second_factor: bool,
    /// Fields of a form that waits for the proof.
    late: Vec<(String, String)>,
    error: Option<String>,
    field_error: Option<String>,
}

async fn page_of(visit: &Visit, next: &str, late: Option<&Late>) -> StepUpPage {
    StepUpPage {
        frame: visit.frame("step-up-title", &visit.agent.status().await),
        look: visit.look.clone(),
        token: visit.token().to_owned(),
        next: Next::after_login(next).as_str().to_owned(),
        second_factor: visit.who.identity.account().second_factor,
        late: late.map(Late::hidden).unwrap_or_default(),
        error: None,
        field_error: None,
    }
}

/// The form.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit, Asked(asked): Asked) -> Shown {
    Ok(html(&page_of(&visit, asked.text("next"), None).await))
}

/// The same for a form that came without a proof.
pub(super) async fn with_form(visit: &Visit, next: &str, late: Late) -> Response {
    html(&page_of(visit, next, Some(&late)).await)
}

/// Takes the proof.
pub(super) async fn prove(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/step-up");
    let given = |name: &str| Some(fields.text(name)).filter(|text| !text.is_empty());
    let order = StepUp {
        password: given("password").map(Hidden::new),
        code: given("code").map(|code| Hidden::new(code.trim())),
    };
    let late = Late::carried_by(&fields);
    let fault = match page::step_up(&pages.access, &visit.who, order).await {
        Ok((cookies, token)) => {
            let mut response = match late {
                Some(late) => {
                    let frame = visit.frame("onward-title", &visit.agent.status().await);
                    late.onward(&visit, frame, token.reveal())
                }
                None => see_other(Next::after_login(fields.text("next")).as_str()),
            };
            cookies.put(&mut response);
            return Ok(response);
        }
        Err(fault) => fault,
    };
    let mut shown = page_of(&visit, fields.text("next"), late.as_ref()).await;
    match fault.0.code {
        "step-up-refused" => shown.field_error = Some(shown.look.say("step-up-refused").into_owned()),
        "login-throttled" => shown.error = Some(waiting(&shown.look, &fault)),
        _ => return Err(Refused::from(fault)),
    }
    let mut response = unprocessable(&shown);
    if fault.0.status == StatusCode::TOO_MANY_REQUESTS {
        *response.status_mut() = fault.0.status;
        response.headers_mut().extend(fault.0.headers);
    }
    Ok(response)
}
