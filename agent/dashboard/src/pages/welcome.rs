//! The first visit to a new box: whoever holds the claim code that the console shows makes the first administrator, and is logged in.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use http::StatusCode;
use tbi_api::access::Hidden;

use super::form::OwnForm;
use super::frame::Frame;
use super::login::waiting;
use super::look::Look;
use super::refused::{Refused, Shown};
use super::visit::Guest;
use super::{Pages, html, see_other, unprocessable};
use crate::access::{Claim, Login, page};

#[derive(Template)]
#[template(path = "welcome.html")]
struct WelcomePage {
    look: Look,
    frame: Frame,
    account: String,
    claim_code: String,
    error: Option<String>,
    code_error: Option<String>,
    account_error: Option<String>,
    password_error: Option<String>,
    again_error: Option<String>,
}

impl WelcomePage {
    fn new(look: Look) -> Self {
        let frame = Frame::new(&look, &look.say("welcome-title"), "/welcome");
        Self {
            look,
            frame,
            account: String::new(),
            claim_code: String::new(),
            error: None,
            code_error: None,
            account_error: None,
            password_error: None,
            again_error: None,
        }
    }

    fn has_errors(&self) -> bool {
        [&self.error, &self.code_error, &self.account_error, &self.password_error, &self.again_error]
            .into_iter()
            .any(Option::is_some)
    }
}

/// The form, while there is no account.
pub(super) async fn show(State(pages): State<Arc<Pages>>, Guest(visitor): Guest) -> Shown {
    if pages.is_claimed().await? {
        return Ok(see_other("/login"));
    }
    Ok(html(&WelcomePage::new(Look::of(&visitor.headers))))
}

/// Makes the first administrator and logs in.
pub(super) async fn claim(State(pages): State<Arc<Pages>>, form: OwnForm) -> Shown {
    let OwnForm { visitor, fields, .. } = form;
    if pages.is_claimed().await? {
        return Ok(see_other("/login"));
    }
    let mut shown = WelcomePage::new(Look::of(&visitor.headers));
    let say = |look: &Look, id: &str| Some(look.say(id).into_owned());
    let missing =
        |name: &str| fields.text(name).trim().is_empty().then(|| shown.look.say("field-missing").into_owned());
    let (no_code, no_account, no_password) = (missing("claim_code"), missing("account"), missing("password"));
    (shown.code_error, shown.account_error, shown.password_error) = (no_code, no_account, no_password);
    shown.account = fields.text("account").trim().to_owned();
    // A claim code is read from a screen and typed; it opens nothing once it was used, so it is kept like any other field.
    shown.claim_code = fields.text("claim_code").trim().to_owned();
    if shown.password_error.is_none() && fields.text("password") != fields.text("again") {
        shown.again_error = say(&shown.look, "welcome-again-differs");
    }
    if shown.has_errors() {
        return Ok(unprocessable(&shown));
    }
    let password = Hidden::new(fields.text("password"));
    let order = Claim {
        claim_code: Hidden::new(shown.claim_code.as_str()),
        account: shown.account.clone(),
        password: password.clone(),
    };
    let fault = match page::claim(&pages.access, visitor.clone(), order).await {
        Ok(account) => {
            let order = Login { account: account.name.to_string(), password, code: None };
            let mut response = see_other("/setup");
            // The account is made either way; without a session the setup leads to the login.
            match page::log_in(&pages.access, visitor, order).await {
                Ok(cookies) => cookies.put(&mut response),
                Err(fault) => tracing::warn!(code = fault.0.code, "the first administrator has to log in"),
            }
            return Ok(response);
        }
        Err(fault) => fault,
    };
    match fault.0.code {
        "claim-code-wrong" => shown.code_error = say(&shown.look, "welcome-code-wrong"),
        "no-claim-code" => shown.error = say(&shown.look, "welcome-no-code"),
        "name-not-taken" => shown.account_error = say(&shown.look, "account-rule"),
        "password-not-taken" => shown.password_error = say(&shown.look, "password-rule"),
        "login-throttled" => shown.error = Some(waiting(&shown.look, &fault)),
        "administrator-exists" => return Ok(see_other("/login")),
        _ => return Err(Refused::from(fault)),
    }
    let mut response = unprocessable(&shown);
    if fault.0.status == StatusCode::TOO_MANY_REQUESTS {
        *response.status_mut() = fault.0.status;
        response.headers_mut().extend(fault.0.headers);
    }
    Ok(response)
}
