//! Setting up, confirming and removing one's own second factor, and new recovery codes. All of it takes a fresh proof of the person. A secret
//! that was offered and not confirmed is kept here for ten minutes, in memory: it is worth nothing to anybody yet.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tbi_api::access::{AccountChange, Hidden, SecondFactorChange, Totp};
use tbi_daemon::ApiJson;
use utoipa::ToSchema;

use super::answer::{Answer, Fault, reason};
use super::clock::lock;
use super::cookie::SessionId;
use super::login::Whoami;
use super::totp::{self, Code};
use super::who::Who;
use super::{Access, Enrolment};

/// An offer is good for so long.
const OFFERED: std::time::Duration = std::time::Duration::from_secs(600);
/// Offers at once.
const OFFERS: usize = 1000;

/// A second factor to put into an authenticator app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Offer {
    /// Shared secret, base32.
    #[schema(value_type = String)]
    pub(super) secret: Hidden,
    /// The same as `otpauth://` address, for a QR code.
    #[schema(value_type = String)]
    pub(super) uri: Hidden,
}

/// Confirms an offer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Confirmation {
    /// Six digits that the app shows.
    #[schema(value_type = String)]
    code: Hidden,
}

/// Codes for the day the app is lost. Shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecoveryCodes {
    /// Each counts once.
    #[schema(value_type = Vec<String>)]
    pub(super) recovery_codes: Vec<Hidden>,
    /// New token for changes, when the session got a new id.
    #[schema(value_type = Option<String>)]
    csrf: Option<Hidden>,
}

/// Offers a second factor; it counts when it is confirmed.
#[utoipa::path(post, path = "/api/v1/access/second-factor", tag = "access", operation_id = "offer_second_factor",
    security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    extensions(("x-step-up" = json!(true))),
    responses((status = 200, body = Offer), (status = 409, description = "`second-factor-exists`")))]
pub(crate) async fn enrol(State(access): State<Arc<Access>>, who: Who) -> Answer<Json<Offer>> {
    let _session = who.session()?;
    let account = who.identity.account();
    if account.second_factor {
        return Err(Fault::new(
            StatusCode::CONFLICT,
            "second-factor-exists",
            "the account has a second factor; remove it first",
        ));
    }
    let secret = totp::new_secret().map_err(|_error| Fault::unavailable())?;
    let now = access.clock.steady();
    let mut enrolments = lock(&access.enrolments);
    enrolments.retain(|_name, offer| now < offer.until);
    if enrolments.len() >= OFFERS {
        return Err(Fault::unavailable());
    }
    enrolments.insert(account.name.clone(), Enrolment { secret: secret.clone(), until: now + OFFERED });
    Ok(Json(Offer { uri: totp::uri(account.name.as_str(), &secret), secret }))
}

/// Confirms the second factor with a code of it. Every other session of the account ends; this one gets a new id.
#[utoipa::path(post, path = "/api/v1/access/second-factor/confirm", tag = "access", operation_id = "confirm_second_factor", request_body = Confirmation,
    security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    extensions(("x-step-up" = json!(true))),
    responses(
        (status = 200, body = RecoveryCodes),
        (status = 409, description = "`no-second-factor-offered`: or too long ago; `account-changed`"),
        (status = 422, description = "`code-wrong`"),
    ))]
pub(crate) async fn confirm(
    State(access): State<Arc<Access>>,
    who: Who,
    ApiJson(order): ApiJson<Confirmation>,
) -> Answer<Response> {
    let (recovery_codes, id) = confirmed(&access, &who, &order.code).await?;
    let body = RecoveryCodes { recovery_codes, csrf: Some(access.csrf_of(&id)) };
    Ok(access.with_session(Json(body), &id))
}

/// Confirms it; gives the recovery codes and the new id of the session.
pub(super) async fn confirmed(access: &Access, who: &Who, code: &Hidden) -> Answer<(Vec<Hidden>, SessionId)> {
    let (_id, _session, stepped_up) = who.session()?;
    let account = who.identity.account();
    let now = access.clock.steady();
    let offered = lock(&access.enrolments).get(&account.name).filter(|offer| now < offer.until).cloned();
    let Some(Enrolment { secret, .. }) = offered else {
        return Err(Fault::new(
            StatusCode::CONFLICT,
            "no-second-factor-offered",
            "no second factor waits to be confirmed; ask for one with POST /api/v1/access/second-factor",
        ));
    };
    let mut offered = Totp { secret, last_step: None };
    let step = match Code::parse(code) {
        Some(Code::Totp(code)) => totp::step_of(&code, &offered, access.clock.wall().as_second()),
        Some(Code::Recovery(_)) | None => None,
    };
    if step.is_none() {
        return Err(Fault::unprocessable(
            "code-wrong",
            "this is not the code of now; check that the clocks of the box and of the telephone agree, and try again",
        ));
    }
    offered.last_step = step;
    let codes = totp::recovery_codes().map_err(|_error| Fault::unavailable())?;
    let (shown, recovery): (Vec<Hidden>, Vec<Hidden>) = codes.into_iter().unzip();
    let change = AccountChange {
        based_on: Some(account.epoch),
        second_factor: Some(SecondFactorChange::Set { totp: offered, recovery }),
        ..AccountChange::default()
    };
    let account = access.accounts.change_account(&account.name, &change, &who.by).await?;
    lock(&access.enrolments).remove(&account.name);
    access.changed();
    let (id, _session) = access.renew(who, &account, stepped_up).await?;
    Ok((shown, id))
}

/// Removes the second factor. Every other session of the account ends; this one gets a new id.
#[utoipa::path(delete, path = "/api/v1/access/second-factor", tag = "access", operation_id = "remove_second_factor",
    security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    params(("reason" = Option<String>, Query, description = "Why, for the audit chain", min_length = 1, max_length = 200, pattern = "^[ -~]*[!-~][ -~]*$")),
    extensions(("x-step-up" = json!(true))),
    responses(
        (status = 200, body = Whoami),
        (status = 409, description = "`no-second-factor`; `account-changed`"),
        (status = 422, description = "`reason-refused`"),
    ))]
pub(crate) async fn remove(State(access): State<Arc<Access>>, who: Who, RawQuery(query): RawQuery) -> Answer<Response> {
    let reason = reason(query.as_deref())?;
    let (_id, _session, stepped_up) = who.session()?;
    let account = with_second_factor(&who)?;
    let change = AccountChange {
        based_on: Some(account.epoch),
        second_factor: Some(SecondFactorChange::None),
        reason,
        ..AccountChange::default()
    };
    let account = access.accounts.change_account(&account.name, &change, &who.by).await?;
    access.changed();
    access.renewed(&who, &account, stepped_up).await
}

/// Gives new recovery codes; the old ones are worth nothing afterwards.
#[utoipa::path(post, path = "/api/v1/access/second-factor/recovery-codes", tag = "access",
    security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    extensions(("x-step-up" = json!(true))),
    responses((status = 200, body = RecoveryCodes), (status = 409, description = "`no-second-factor`; `account-changed`")))]
pub(crate) async fn new_recovery_codes(State(access): State<Arc<Access>>, who: Who) -> Answer<Json<RecoveryCodes>> {
    let _session = who.session()?;
    let account = with_second_factor(&who)?;
    let codes = totp::recovery_codes().map_err(|_error| Fault::unavailable())?;
    let (shown, recovery): (Vec<Hidden>, Vec<Hidden>) = codes.into_iter().unzip();
    let change = AccountChange { based_on: Some(account.epoch), recovery: Some(recovery), ..AccountChange::default() };
    access.accounts.change_account(&account.name, &change, &who.by).await?;
    access.changed();
    Ok(Json(RecoveryCodes { recovery_codes: shown, csrf: None }))
}

/// What this account was offered and did not confirm yet.
pub(super) fn offered(access: &Access, who: &Who) -> Option<Offer> {
    let (name, now) = (&who.identity.account().name, access.clock.steady());
    let secret = lock(&access.enrolments).get(name).filter(|offer| now < offer.until)?.secret.clone();
    Some(Offer { uri: totp::uri(name.as_str(), &secret), secret })
}

fn with_second_factor(who: &Who) -> Answer<&tbi_api::access::Account> {
    let account = who.identity.account();
    if account.second_factor {
        return Ok(account);
    }
    let detail = "the account has no second factor; set one up with POST /api/v1/access/second-factor";
    Err(Fault::new(StatusCode::CONFLICT, "no-second-factor", detail))
}
