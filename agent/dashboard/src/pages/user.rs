//! One account, for administrators: its role, whether it may log in, another password, its second factor, its sessions, its end. To remove an
//! account its name is typed, because nothing brings it back; why is asked for that, for ending its sessions and for switching off its second
//! factor.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use http::StatusCode;
use tbi_api::access::{Account, Hidden, Role};

use super::form::SignedForm;
use super::frame::{Choice, Frame};
use super::look::Look;
use super::new_user::roles;
use super::refused::{Refused, Shown};
use super::visit::Visit;
use super::{Pages, html, rooms, see_other, unprocessable};
use crate::access::{Fault, UserChange, page};

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    look: Look,
    frame: Frame,
    token: String,
    account: String,
    roles: Vec<Choice>,
    enabled: bool,
    second_factor: bool,
    /// Words at the whole page.
    error: Option<String>,
    role_error: Option<String>,
    password_error: Option<String>,
    again_error: Option<String>,
    confirm: String,
    confirm_error: Option<String>,
    reason: String,
    reason_error: Option<String>,
    end_reason: String,
    end_reason_error: Option<String>,
    factor_off: bool,
    factor_reason: String,
    factor_reason_error: Option<String>,
}

async fn page_of(visit: &Visit, account: &Account, role: Option<Role>, enabled: bool) -> UserPage {
    let mut frame = visit.frame("user-title", &visit.agent.status().await);
    frame.title = format!("{} {}", visit.look.say("user-title"), account.name);
    UserPage {
        frame,
        look: visit.look.clone(),
        token: visit.token().to_owned(),
        account: account.name.to_string(),
        roles: roles(&visit.look, role),
        enabled,
        second_factor: account.second_factor,
        error: None,
        role_error: None,
        password_error: None,
        again_error: None,
        confirm: String::new(),
        confirm_error: None,
        reason: String::new(),
        reason_error: None,
        end_reason: String::new(),
        end_reason_error: None,
        factor_off: false,
        factor_reason: String::new(),
        factor_reason_error: None,
    }
}

/// The page.
pub(super) async fn show(State(pages): State<Arc<Pages>>, visit: Visit, Path(name): Path<String>) -> Shown {
    let account = page::user(&pages.access, visit.who.clone(), &name).await?;
    Ok(html(&page_of(&visit, &account, Some(account.role), account.enabled).await))
}

/// Does what its forms ask for.
pub(super) async fn change(State(pages): State<Arc<Pages>>, Path(name): Path<String>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let account = page::user(&pages.access, who.clone(), &name).await?;
    let path = format!("/users/account/{}", account.name);
    let visit = Visit::new(&pages, who, &path);
    let (asker, say) = (visit.who.clone(), |id: &str| Some(visit.look.say(id).into_owned()));
    let mut shown = page_of(&visit, &account, Some(account.role), account.enabled).await;
    let done = match fields.text("action") {
        "change" => {
            let (role, enabled) = (fields.text("role").parse::<Role>().ok(), fields.text("enabled") == "yes");
            (shown.roles, shown.enabled) = (roles(&visit.look, role), enabled);
            let password = Some(fields.text("password")).filter(|password| !password.is_empty());
            if role.is_none() {
                shown.role_error = say("user-role-wrong");
            }
            if fields.text("password") != fields.text("again") {
                shown.again_error = say("welcome-again-differs");
            }
            shown.factor_off = account.second_factor && fields.text("remove_second_factor") == "yes";
            fields.text("reason").clone_into(&mut shown.factor_reason);
            let reason = shown.factor_off.then(|| rooms::because(&visit.look, &fields)).transpose();
            shown.factor_reason_error = reason.as_ref().err().cloned();
            if shown.role_error.is_some() || shown.again_error.is_some() {
                return Ok(unprocessable(&shown));
            }
            let Ok(reason) = reason else { return Ok(unprocessable(&shown)) };
            let order = UserChange {
                // What stays as it is ends no session.
                role: role.filter(|role| *role != account.role),
                enabled: Some(enabled).filter(|enabled| *enabled != account.enabled),
                password: password.map(Hidden::new),
                remove_second_factor: shown.factor_off,
            };
            page::change_user(&pages.access, asker, &name, reason.as_ref(), order).await.map(|_account| path)
        }
        "end-sessions" => {
            fields.text("reason").clone_into(&mut shown.end_reason);
            match rooms::because(&visit.look, &fields) {
                Ok(reason) => page::end_sessions(&pages.access, asker, &name, &reason).await.map(|()| path),
                Err(words) => {
                    shown.end_reason_error = Some(words);
                    return Ok(unprocessable(&shown));
                }
            }
        }
        "remove" => {
            shown.confirm = fields.text("confirm").trim().to_owned();
            if shown.confirm != account.name.as_str() {
                shown.confirm_error = say("user-remove-differs");
            }
            fields.text("reason").clone_into(&mut shown.reason);
            let reason = rooms::because(&visit.look, &fields);
            shown.reason_error = reason.as_ref().err().cloned();
            let (Ok(reason), None) = (reason, &shown.confirm_error) else { return Ok(unprocessable(&shown)) };
            page::remove_user(&pages.access, asker, &name, &reason).await.map(|()| "/users".to_owned())
        }
        _ => {
            let detail = "the form does not say what is to be done; load the page again";
            return Err(Refused::new(StatusCode::BAD_REQUEST, "malformed-request", detail));
        }
    };
    match done {
        Ok(path) => Ok(see_other(&path)),
        Err(fault) => refused(&mut shown, fault),
    }
}

fn refused(shown: &mut UserPage, fault: Fault) -> Shown {
    let say = |id: &str| Some(shown.look.say(id).into_owned());
    match fault.0.code {
        "password-not-taken" => shown.password_error = say("password-rule"),
        "last-administrator" => shown.error = say("user-last-administrator"),
        "account-changed" => shown.error = say("user-changed"),
        _ => return Err(Refused::from(fault)),
    }
    Ok(unprocessable(shown))
}
