//! A new account, made by an administrator.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::access::{Hidden, Role};

use super::form::SignedForm;
use super::frame::{Choice, Frame};
use super::look::Look;
use super::refused::{Refused, Shown};
use super::visit::Visit;
use super::{Pages, html, see_other, unprocessable};
use crate::access::{NewUser, page};

#[derive(Template)]
#[template(path = "new_user.html")]
struct NewUserPage {
    look: Look,
    frame: Frame,
    token: String,
    account: String,
    roles: Vec<Choice>,
    account_error: Option<String>,
    role_error: Option<String>,
    password_error: Option<String>,
    again_error: Option<String>,
}

impl NewUserPage {
    fn has_errors(&self) -> bool {
        [&self.account_error, &self.role_error, &self.password_error, &self.again_error]
            .into_iter()
            .any(Option::is_some)
    }
}

/// Roles to choose from, the least first.
pub(super) fn roles(look: &Look, chosen: Option<Role>) -> Vec<Choice> {
    let choice = |role: Role| Choice {
        value: role.to_string(),
        text: look.word("role-", role).into_owned(),
        chosen: Some(role) == chosen,
    };
    Role::ALL.map(choice).into()
}

async fn page_of(visit: &Visit, account: &str, role: Option<Role>) -> NewUserPage {
    NewUserPage {
        frame: visit.frame("new-user-title", &visit.agent.status().await),
        look: visit.look.clone(),
        token: visit.token().to_owned(),
        account: account.to_owned(),
        roles: roles(&visit.look, role),
        account_error: None,
        role_error: None,
        password_error: None,
        again_error: None,
    }
}

/// The form.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    Ok(html(&page_of(&visit, "", Some(Role::Viewer)).await))
}

/// Makes it.
pub(super) async fn make(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/users/new");
    let (account, role) = (fields.text("account").trim(), fields.text("role").parse::<Role>().ok());
    let mut shown = page_of(&visit, account, role).await;
    let say = |id: &str| Some(visit.look.say(id).into_owned());
    if account.is_empty() {
        shown.account_error = say("field-missing");
    }
    if fields.text("password").is_empty() {
        shown.password_error = say("field-missing");
    } else if fields.text("password") != fields.text("again") {
        shown.again_error = say("welcome-again-differs");
    }
    let Some(role) = role else {
        shown.role_error = say("user-role-wrong");
        return Ok(unprocessable(&shown));
    };
    if shown.has_errors() {
        return Ok(unprocessable(&shown));
    }
    let order = NewUser { name: account.to_owned(), role, password: Hidden::new(fields.text("password")) };
    let Err(fault) = page::create_user(&pages.access, visit.who.clone(), order).await else {
        return Ok(see_other("/users"));
    };
    match fault.0.code {
        "name-not-taken" => shown.account_error = say("account-rule"),
        "account-exists" => shown.account_error = say("user-exists"),
        "password-not-taken" => shown.password_error = say("password-rule"),
        _ => return Err(Refused::from(fault)),
    }
    Ok(unprocessable(&shown))
}
