//! A person's own password. Changing it ends all other sessions of the account, because somebody else may sit in one of them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use tbi_api::access::{AccountChange, Hidden};
use tbi_daemon::ApiJson;
use utoipa::ToSchema;

use super::Access;
use super::answer::{Answer, Fault};
use super::login::Whoami;
use super::password::may_be_set;
use super::who::Who;

/// Asks for another password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordChange {
    /// As it is now.
    #[schema(value_type = String)]
    pub(crate) old: Hidden,
    /// As it is to be: 12 to 256 characters, not the account's name, none that everybody tries.
    #[schema(value_type = String)]
    pub(crate) new: Hidden,
}

/// Changes one's own password. Every other session of the account ends; this one gets a new id.
#[utoipa::path(post, path = "/api/v1/access/password", tag = "access", request_body = PasswordChange,
    security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    responses(
        (status = 200, body = Whoami),
        (status = 403, description = "`password-wrong`: the old one; `needs-session`, `csrf`"),
        (status = 409, description = "`account-changed`: the account was changed at the same moment"),
        (status = 422, description = "`password-not-taken`, with the rule"),
        (status = 429, description = "`login-throttled`, with Retry-After"),
        (status = 503, description = "`login-busy`, `accounts-unavailable`, with Retry-After"),
    ))]
pub(crate) async fn change_password(
    State(access): State<Arc<Access>>,
    who: Who,
    ApiJson(order): ApiJson<PasswordChange>,
) -> Answer<Response> {
    let (_id, _session, stepped_up) = who.session()?;
    let name = &who.identity.account().name;
    may_be_set(name.as_str(), &order.new)
        .map_err(|rule| Fault::unprocessable("password-not-taken", rule.to_string()))?;
    let candidate = access.candidate(&who)?;
    access.begin(&candidate.attempt)?;
    let Some(secrets) = access.password_is(&candidate, &order.old).await? else {
        access.note_refusal(&candidate, "password.refused", "old password").await;
        let detail = "the old password is not right; check it and try again";
        return Err(Fault::new(StatusCode::FORBIDDEN, "password-wrong", detail));
    };
    access.succeeded(&candidate.attempt);
    let hash = access.passwords.hash(&order.new).await?;
    let based_on = Some(secrets.account.epoch);
    let change = AccountChange { based_on, password: Some(hash), ..AccountChange::default() };
    let account = access.accounts.change_account(name, &change, &who.by).await?;
    access.changed();
    access.renewed(&who, &account, stepped_up).await
}
