//! Accounts of others, for administrators. That the last enabled administrator stays is decided by the agent, in its transaction.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use http::StatusCode;
use serde::Deserialize;
use tbi_api::access::{Account, AccountChange, AccountName, Hidden, NewAccount, Role, SecondFactorChange};
use tbi_daemon::ApiJson;
use utoipa::ToSchema;

use super::Access;
use super::answer::{Answer, Fault, reason};
use super::password::may_be_set;
use super::who::Who;

/// Asks for an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    /// 1 to 32 of `a-z`, `0-9`, `.`, `_`, `-`, beginning with a letter.
    #[schema(pattern = "^[a-z][a-z0-9._-]{0,31}$")]
    pub(crate) name: String,
    /// Role.
    pub(crate) role: Role,
    /// 12 to 256 characters.
    #[schema(value_type = String, min_length = 12, max_length = 256)]
    pub(crate) password: Hidden,
}

/// What is to be different; what is absent stays. Each change ends the account's sessions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserChange {
    /// Another role.
    pub(crate) role: Option<Role>,
    /// Whether it may be used.
    pub(crate) enabled: Option<bool>,
    /// Another password.
    #[schema(value_type = Option<String>, min_length = 12, max_length = 256)]
    pub(crate) password: Option<Hidden>,
    /// Takes the second factor away, for somebody who lost telephone and codes.
    #[serde(default)]
    pub(crate) remove_second_factor: bool,
}

pub(super) fn name_of(text: &str) -> Answer<AccountName> {
    text.parse().map_err(|_error| {
        Fault::new(
            StatusCode::NOT_FOUND,
            "no-such-account",
            "there is no account of this name; GET /api/v1/access/users lists them",
        )
    })
}

pub(super) async fn hash(access: &Access, name: &AccountName, password: &Hidden) -> Answer<Hidden> {
    may_be_set(name.as_str(), password).map_err(|rule| Fault::unprocessable("password-not-taken", rule.to_string()))?;
    Ok(access.passwords.hash(password).await?)
}

/// All accounts.
#[utoipa::path(get, path = "/api/v1/access/users", tag = "access", operation_id = "users",
    security(("session" = ["administrator", "auditor"])), responses((status = 200, body = [Account])))]
pub(crate) async fn list(State(access): State<Arc<Access>>, _who: Who) -> Answer<Json<Vec<Account>>> {
    Ok(Json(access.accounts.accounts().await?))
}

/// One account.
#[utoipa::path(get, path = "/api/v1/access/users/{name}", tag = "access", operation_id = "user",
    params(("name" = String, Path, description = "Name of the account")),
    security(("session" = ["administrator", "auditor"])),
    responses((status = 200, body = Account), (status = 404, description = "`no-such-account`")))]
pub(crate) async fn one(
    State(access): State<Arc<Access>>,
    _who: Who,
    Path(name): Path<String>,
) -> Answer<Json<Account>> {
    Ok(Json(access.accounts.account(&name_of(&name)?).await?.account))
}

/// Makes an account.
#[utoipa::path(post, path = "/api/v1/access/users", tag = "access", operation_id = "create_user", request_body = NewUser,
    security(("session" = ["administrator"])), extensions(("x-step-up" = json!(true))),
    responses(
        (status = 201, body = Account),
        (status = 409, description = "`account-exists`"),
        (status = 422, description = "`name-not-taken`, `password-not-taken`, with the rule"),
        (status = 503, description = "`login-busy`, `accounts-unavailable`, with Retry-After"),
    ))]
pub(crate) async fn create(
    State(access): State<Arc<Access>>,
    who: Who,
    ApiJson(order): ApiJson<NewUser>,
) -> Answer<(StatusCode, Json<Account>)> {
    let name: AccountName =
        order.name.parse().map_err(|rule| Fault::unprocessable("name-not-taken", format!("{rule}")))?;
    let password = hash(&access, &name, &order.password).await?;
    let new = NewAccount { name, role: order.role, password, first: false };
    let account = access.accounts.create_account(&new, &who.by).await?;
    access.changed();
    Ok((StatusCode::CREATED, Json(account)))
}

/// Changes an account.
#[utoipa::path(patch, path = "/api/v1/access/users/{name}", tag = "access", operation_id = "change_user", request_body = UserChange,
    params(("name" = String, Path, description = "Name of the account"), ("reason" = Option<String>, Query, description = "Why, for the audit chain", min_length = 1, max_length = 200, pattern = "^[ -~]*[!-~][ -~]*$")),
    security(("session" = ["administrator"])), extensions(("x-step-up" = json!(true))),
    responses(
        (status = 200, body = Account),
        (status = 404, description = "`no-such-account`"),
        (status = 409, description = "`last-administrator`: there would be none left"),
        (status = 422, description = "`password-not-taken`, `reason-refused`, with the rule"),
        (status = 503, description = "`login-busy`, `accounts-unavailable`, with Retry-After"),
    ))]
pub(crate) async fn change(
    State(access): State<Arc<Access>>,
    who: Who,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    ApiJson(order): ApiJson<UserChange>,
) -> Answer<Json<Account>> {
    let (name, reason) = (name_of(&name)?, reason(query.as_deref())?);
    let password = match &order.password {
        Some(password) => Some(hash(&access, &name, password).await?),
        None => None,
    };
    let change = AccountChange {
        role: order.role,
        enabled: order.enabled,
        password,
        second_factor: order.remove_second_factor.then_some(SecondFactorChange::None),
        reason,
        ..AccountChange::default()
    };
    let account = access.accounts.change_account(&name, &change, &who.by).await?;
    access.changed();
    Ok(Json(account))
}

/// Removes an account with its sessions, tokens and certificates.
#[utoipa::path(delete, path = "/api/v1/access/users/{name}", tag = "access", operation_id = "remove_user",
    params(("name" = String, Path, description = "Name of the account"), ("reason" = Option<String>, Query, description = "Why, for the audit chain", min_length = 1, max_length = 200, pattern = "^[ -~]*[!-~][ -~]*$")),
    security(("session" = ["administrator"])), extensions(("x-step-up" = json!(true))),
    responses(
        (status = 204),
        (status = 404, description = "`no-such-account`"),
        (status = 409, description = "`last-administrator`: there would be none left"),
        (status = 422, description = "`reason-refused`, with the rule"),
    ))]
pub(crate) async fn remove(
    State(access): State<Arc<Access>>,
    who: Who,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<StatusCode> {
    let reason = reason(query.as_deref())?;
    access.accounts.remove_account(&name_of(&name)?, reason.as_ref(), &who.by).await?;
    access.changed();
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all sessions of an account.
#[utoipa::path(delete, path = "/api/v1/access/users/{name}/sessions", tag = "access", operation_id = "end_sessions",
    params(("name" = String, Path, description = "Name of the account"), ("reason" = Option<String>, Query, description = "Why, for the audit chain", min_length = 1, max_length = 200, pattern = "^[ -~]*[!-~][ -~]*$")),
    security(("session" = ["administrator"])),
    responses((status = 204), (status = 404, description = "`no-such-account`"), (status = 422, description = "`reason-refused`")))]
pub(crate) async fn end_sessions(
    State(access): State<Arc<Access>>,
    who: Who,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<StatusCode> {
    let reason = reason(query.as_deref())?;
    let change = AccountChange { end_sessions: true, reason, ..AccountChange::default() };
    access.accounts.change_account(&name_of(&name)?, &change, &who.by).await?;
    access.changed();
    Ok(StatusCode::NO_CONTENT)
}
