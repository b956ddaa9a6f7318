//! Tokens, sessions and client certificates: one's own, and for administrators those of others. Whose something is is not told to those whom
//! it does not concern: for them it does not exist.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tbi_api::access::{
    AccountName, Certificate, Digest, Hidden, NewCertificate, NewToken, Role, Scope, Session, Token, TokenId,
};
use tbi_daemon::ApiJson;
use utoipa::ToSchema;

use super::Access;
use super::accounts::found;
use super::answer::{Answer, Fault, reason};
use super::clock::after;
use super::token::{self, may_grant};
use super::users::name_of;
use super::who::Who;

/// A token lives no longer than this.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// Longest label, characters.
const LABEL: usize = 100;

/// Asks for a token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenOrder {
    /// Whose; absent: one's own. Others' only by administrators.
    pub(crate) account: Option<String>,
    /// What it is for, 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) label: String,
    /// What it may do; no more than its owner's role.
    #[schema(min_items = 1)]
    pub(crate) scopes: Vec<Scope>,
    /// When it ends: in the future, and no later than in a year.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) expires: Timestamp,
}

/// A new token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeToken {
    /// To be sent as `Authorization: Bearer`. Shown this once.
    #[schema(value_type = String)]
    pub(crate) secret: Hidden,
    /// What is kept of it.
    pub(crate) token: Token,
}

/// Whether the caller sees what belongs to others.
fn sees_all(who: &Who) -> bool {
    matches!(who.role, Role::Administrator | Role::Auditor)
}

fn may_end(who: &Who, owner: &AccountName) -> bool {
    who.role == Role::Administrator || *owner == who.identity.account().name
}

fn checked_label(label: &str) -> Answer<String> {
    let label = label.trim();
    let good = (1..=LABEL).contains(&label.chars().count()) && !label.chars().any(char::is_control);
    if good {
        return Ok(label.to_owned());
    }
    Err(Fault::unprocessable("label-not-taken", "the label says what it is for in 1 to 100 printable characters"))
}

/// Tokens: one's own; all for administrators and auditors.
#[utoipa::path(get, path = "/api/v1/access/tokens", tag = "access",
    security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    responses((status = 200, body = [Token])))]
pub(crate) async fn tokens(State(access): State<Arc<Access>>, who: Who) -> Answer<Json<Vec<Token>>> {
    let mut tokens = access.accounts.tokens().await?;
    tokens.retain(|token| sees_all(&who) || token.account == who.identity.account().name);
    Ok(Json(tokens))
}

/// Makes a token. The scope `administer` takes a fresh proof of the person.
#[utoipa::path(post, path = "/api/v1/access/tokens", tag = "access", request_body = TokenOrder,
    security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    responses(
        (status = 201, body = MadeToken),
        (status = 403, description = "`needs-session`, `not-permitted`, `step-up-required`, `csrf`"),
        (status = 404, description = "`no-such-account`"),
        (status = 409, description = "`token-exists`: try again"),
        (status = 422, description = "`label-not-taken`, `scopes-not-taken`, `expiry-not-taken`"),
    ))]
pub(crate) async fn create_token(
    State(access): State<Arc<Access>>,
    who: Who,
    ApiJson(order): ApiJson<TokenOrder>,
) -> Answer<(StatusCode, Json<MadeToken>)> {
    let (_id, _session, stepped_up) = who.session()?;
    let own = who.identity.account();
    let (account, role) = match &order.account {
        None => (own.name.clone(), own.role),
        Some(name) if name == own.name.as_str() => (own.name.clone(), own.role),
        Some(name) if who.role == Role::Administrator => {
            let other = access.accounts.account(&name_of(name)?).await?.account;
            (other.name, other.role)
        }
        Some(_) => {
            return Err(Fault::not_permitted("only an administrator makes tokens for others; leave out 'account'"));
        }
    };
    let label = checked_label(&order.label)?;
    let mut scopes = order.scopes;
    scopes.sort_unstable();
    scopes.dedup();
    if let Some(scope) = scopes.iter().find(|scope| !may_grant(role, **scope)) {
        let detail = format!("the scope '{scope}' is more than the role {role} of its owner; leave it out");
        return Err(Fault::unprocessable("scopes-not-taken", detail));
    }
    if scopes.is_empty() {
        return Err(Fault::unprocessable("scopes-not-taken", "a token without scopes may nothing; give one"));
    }
    if scopes.contains(&Scope::Administer) && !stepped_up {
        return Err(Fault::step_up_required());
    }
    let created = access.clock.wall();
    if order.expires <= created || order.expires > after(created, LONGEST) {
        let detail = "the expiry is in the future, and no later than in a year; give another one";
        return Err(Fault::unprocessable("expiry-not-taken", detail));
    }
    let (secret, id, hash) = token::new().map_err(|_error| Fault::unavailable())?;
    let new = NewToken { id, hash, account, label, scopes, created, expires: order.expires };
    let token = access.accounts.create_token(&new, &who.by).await?;
    access.changed();
    Ok((StatusCode::CREATED, Json(MadeToken { secret, token })))
}

/// Ends a token: one's own, or any for administrators.
#[utoipa::path(delete, path = "/api/v1/access/tokens/{id}", tag = "access",
    params(("id" = String, Path, description = "The eight characters that name it"), ("reason" = Option<String>, Query, description = "Why, for the audit chain", min_length = 1, max_length = 200, pattern = "^[ -~]*[!-~][ -~]*$")),
    security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    responses((status = 204), (status = 404, description = "`no-such-token`"), (status = 422, description = "`reason-refused`")))]
pub(crate) async fn remove_token(
    State(access): State<Arc<Access>>,
    who: Who,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<StatusCode> {
    let missing =
        || Fault::new(StatusCode::NOT_FOUND, "no-such-token", "there is no such token of yours; GET lists them");
    let reason = reason(query.as_deref())?;
    let id: TokenId = id.parse().map_err(|_error| missing())?;
    let tokens = access.accounts.tokens().await?;
    let mine = tokens.iter().any(|token| token.id == id && may_end(&who, &token.account));
    if !mine {
        return Err(missing());
    }
    access.accounts.remove_token(&id, reason.as_ref(), &who.by).await?;
    access.changed();
    Ok(StatusCode::NO_CONTENT)
}

/// Sessions: one's own; all for administrators and auditors.
#[utoipa::path(get, path = "/api/v1/access/sessions", tag = "access",
    security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    responses((status = 200, body = [Session])))]
pub(crate) async fn sessions(State(access): State<Arc<Access>>, who: Who) -> Answer<Json<Vec<Session>>> {
    let mut sessions = access.accounts.sessions().await?;
    sessions.retain(|session| sees_all(&who) || session.account == who.identity.account().name);
    Ok(Json(sessions))
}

/// Ends a session: one's own, or any for administrators.
#[utoipa::path(delete, path = "/api/v1/access/sessions/{hash}", tag = "access",
    params(("hash" = String, Path, description = "Hash of the session, as listed"), ("reason" = Option<String>, Query, description = "Why, for the audit chain", min_length = 1, max_length = 200, pattern = "^[ -~]*[!-~][ -~]*$")),
    security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    responses((status = 204), (status = 404, description = "`no-such-session`"), (status = 422, description = "`reason-refused`")))]
pub(crate) async fn end_session(
    State(access): State<Arc<Access>>,
    who: Who,
    Path(hash): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<StatusCode> {
    let reason = reason(query.as_deref())?;
    let missing =
        || Fault::new(StatusCode::NOT_FOUND, "no-such-session", "there is no such session of yours; GET lists them");
    let hash: Digest = hash.parse().map_err(|_error| missing())?;
    let known = found(access.accounts.session(&hash).await)?.ok_or_else(missing)?;
    if !may_end(&who, &known.session.account) {
        return Err(missing());
    }
    access.accounts.end_session(&hash, reason.as_ref(), &who.by).await?;
    access.session_changed();
    Ok(StatusCode::NO_CONTENT)
}

/// Client certificates that stand for accounts.
#[utoipa::path(get, path = "/api/v1/access/certificates", tag = "access",
    security(("session" = ["administrator", "auditor"])), responses((status = 200, body = [Certificate])))]
pub(crate) async fn certificates(State(access): State<Arc<Access>>, _who: Who) -> Answer<Json<Vec<Certificate>>> {
    Ok(Json(access.accounts.certificates().await?))
}

/// Lets a client certificate stand for an account.
#[utoipa::path(post, path = "/api/v1/access/certificates", tag = "access", request_body = NewCertificate,
    security(("session" = ["administrator"])), extensions(("x-step-up" = json!(true))),
    responses(
        (status = 201, body = Certificate),
        (status = 404, description = "`no-such-account`"),
        (status = 409, description = "`certificate-exists`"),
        (status = 422, description = "`label-not-taken`, or not of the expected form"),
    ))]
pub(crate) async fn create_certificate(
    State(access): State<Arc<Access>>,
    who: Who,
    ApiJson(mut order): ApiJson<NewCertificate>,
) -> Answer<(StatusCode, Json<Certificate>)> {
    order.label = checked_label(&order.label)?;
    let certificate = access.accounts.create_certificate(&order, &who.by).await?;
    access.changed();
    Ok((StatusCode::CREATED, Json(certificate)))
}

/// Takes a client certificate its account.
#[utoipa::path(delete, path = "/api/v1/access/certificates/{fingerprint}", tag = "access",
    params(("fingerprint" = String, Path, description = "SHA-256 of its DER form, 64 hex digits"), ("reason" = Option<String>, Query, description = "Why, for the audit chain", min_length = 1, max_length = 200, pattern = "^[ -~]*[!-~][ -~]*$")),
    security(("session" = ["administrator"])),
    responses((status = 204), (status = 404, description = "`no-such-certificate`"), (status = 422, description = "`reason-refused`")))]
pub(crate) async fn remove_certificate(
    State(access): State<Arc<Access>>,
    who: Who,
    Path(fingerprint): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<StatusCode> {
    let reason = reason(query.as_deref())?;
    let fingerprint: Digest = fingerprint.parse().map_err(|_error| {
        Fault::new(StatusCode::NOT_FOUND, "no-such-certificate", "there is no such certificate; GET lists them")
    })?;
    access.accounts.remove_certificate(&fingerprint, reason.as_ref(), &who.by).await?;
    access.changed();
    Ok(StatusCode::NO_CONTENT)
}
