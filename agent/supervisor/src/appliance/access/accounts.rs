//! Accounts with what their logins are checked against.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tbi_api::access::{
    Account, AccountChange, AccountName, Hidden, NewAccount, Role, SecondFactorChange, Secrets, TotpStep,
};
use tbi_daemon::ApiJson;
use tbi_ledger::{AccountChange as RowChange, Ledger, LedgerError, NewAccount as NewRow, SecondFactor};

use super::{AccessError, Answer, Shared, ask, because, change as make_change, parsed, rows, trail};

pub(super) async fn list(State(appliance): State<Shared>) -> Answer<Json<Vec<Account>>> {
    ask(&appliance, |ledger| ledger.accounts()?.iter().map(rows::account).collect()).await.map(Json)
}

pub(super) async fn secrets(State(appliance): State<Shared>, Path(name): Path<String>) -> Answer<Json<Secrets>> {
    let name: AccountName = parsed(&name)?;
    ask(&appliance, move |ledger| rows::secrets(&found(ledger, name.as_str())?)).await.map(Json)
}

pub(super) async fn create(
    State(appliance): State<Shared>,
    headers: HeaderMap,
    ApiJson(new): ApiJson<NewAccount>,
) -> Answer<(StatusCode, Json<Account>)> {
    let action = if new.first { "account.create-first" } else { "account.create" };
    let made = make_change(&appliance, &headers, action, new.name.to_string(), move |ledger, now| {
        let row = NewRow { name: new.name.as_str(), role: new.role.as_str(), password: Some(new.password.reveal()) };
        let made = if new.first { first(ledger, &new, now)? } else { ledger.create_account(&row, now)? };
        let account = rows::account(&made)?;
        let detail = json!({ "after": seen(&account) });
        Ok((account, detail))
    });
    let made = made.await?;
    // Whoever made it, from now on the code makes none.
    appliance.claim().used();
    Ok((StatusCode::CREATED, Json(made)))
}

fn first(ledger: &mut Ledger, new: &NewAccount, now: Timestamp) -> Result<tbi_ledger::Account, AccessError> {
    if new.role != Role::Administrator {
        let sentence = "the first account is an administrator; ask for that role";
        return Err(AccessError::said(StatusCode::UNPROCESSABLE_ENTITY, "refused", sentence));
    }
    match ledger.create_first_administrator(new.name.as_str(), new.password.reveal(), now) {
        Err(LedgerError::Exists { .. }) => Err(AccessError::said(
            StatusCode::CONFLICT,
            "not-the-first",
            "there is an account already; log in as an administrator to make another",
        )),
        made => Ok(made?),
    }
}

pub(super) async fn change(
    State(appliance): State<Shared>,
    headers: HeaderMap,
    Path(name): Path<String>,
    ApiJson(wanted): ApiJson<AccountChange>,
) -> Answer<Json<Account>> {
    let name: AccountName = parsed(&name)?;
    let action = action_of(&wanted);
    let changed = make_change(&appliance, &headers, action, name.to_string(), move |ledger, now| {
        let before = found(ledger, name.as_str())?;
        carry_out(ledger, &before, &wanted, now)?;
        let after = rows::account(&found(ledger, name.as_str())?)?;
        let mut detail = json!({ "before": seen(&rows::account(&before)?), "after": seen(&after) });
        detail["changed"] = changed_words(&wanted);
        Ok((after, because(detail, wanted.reason.as_ref())))
    });
    changed.await.map(Json)
}

fn carry_out(
    ledger: &mut Ledger,
    before: &tbi_ledger::Account,
    wanted: &AccountChange,
    now: Timestamp,
) -> Result<(), AccessError> {
    let name = before.name.as_str();
    let text = |hidden: &Hidden| hidden.reveal().to_owned();
    if let Some(code) = &wanted.recovery_used
        && !ledger.use_recovery_code(name, code.reveal())?
    {
        return Err(AccessError::said(
            StatusCode::CONFLICT,
            "code-used",
            "this recovery code is used or none of the account's",
        ));
    }
    let second_factor = wanted.second_factor.as_ref().map(|to| match to {
        SecondFactorChange::Set { totp, .. } => {
            Some(SecondFactor { secret: text(&totp.secret), last_step: totp.last_step })
        }
        SecondFactorChange::None => None,
    });
    let recovery = match &wanted.second_factor {
        Some(SecondFactorChange::Set { recovery, .. }) => Some(recovery),
        _ => wanted.recovery.as_ref(),
    };
    let change = RowChange {
        based_on: wanted.based_on,
        role: wanted.role.map(|role| role.as_str().to_owned()),
        enabled: wanted.enabled,
        password: wanted.password.as_ref().map(text),
        second_factor,
        recovery: recovery.map(|codes| codes.iter().map(text).collect()),
        end_sessions: wanted.end_sessions,
    };
    if change != RowChange::default() {
        ledger.change_account(name, &change, now)?;
    }
    if let (Some(hash), Some(stored)) = (&wanted.rehashed, &before.password) {
        // When another one was set meanwhile, there is nothing to make stronger.
        let _done = ledger.rehash_password(name, stored, hash.reveal())?;
    }
    if let Some(when) = wanted.logged_in {
        ledger.note_login(name, when)?;
    }
    Ok(())
}

/// One word for what a change is mainly about.
fn action_of(change: &AccountChange) -> &'static str {
    match change {
        AccountChange { second_factor: Some(_), .. } => "account.second-factor",
        AccountChange { password: Some(_), .. } => "account.password",
        AccountChange { recovery_used: Some(_), .. } => "account.recovery-code",
        AccountChange {
            role: None, enabled: None, recovery: None, end_sessions: false, logged_in: Some(_), ..
        } => "login",
        AccountChange { role: None, enabled: None, recovery: None, end_sessions: false, .. } => "account.rehash",
        _ => "account.change",
    }
}

/// What was named in a change, without what it was set to.
fn changed_words(change: &AccountChange) -> Value {
    let words = [
        ("role", change.role.is_some()),
        ("enabled", change.enabled.is_some()),
        ("password", change.password.is_some()),
        ("password hash", change.rehashed.is_some()),
        ("second factor", change.second_factor.is_some()),
        ("recovery codes", change.recovery.is_some()),
        ("recovery code used", change.recovery_used.is_some()),
        ("sessions ended", change.end_sessions),
    ];
    words.into_iter().filter(|(_, is)| *is).map(|(word, _)| Value::from(word)).collect()
}

/// Of an account, what an audit entry shows.
fn seen(account: &Account) -> Value {
    json!({
        "role": account.role, "enabled": account.enabled, "second_factor": account.second_factor,
        "recovery_codes_left": account.recovery_codes_left, "epoch": account.epoch,
    })
}

pub(super) async fn remove(
    State(appliance): State<Shared>,
    headers: HeaderMap,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<StatusCode> {
    let name: AccountName = parsed(&name)?;
    let reason = trail::reason(query.as_deref())?;
    let removed = make_change(&appliance, &headers, "account.remove", name.to_string(), move |ledger, _now| {
        let before = rows::account(&found(ledger, name.as_str())?)?;
        ledger.remove_account(name.as_str())?;
        Ok(((), because(json!({ "before": seen(&before) }), reason.as_ref())))
    });
    removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn use_totp_step(
    State(appliance): State<Shared>,
    Path(name): Path<String>,
    ApiJson(used): ApiJson<TotpStep>,
) -> Answer<StatusCode> {
    let name: AccountName = parsed(&name)?;
    // Part of a login, which has its own entry.
    ask(&appliance, move |ledger| {
        if ledger.use_totp_step(name.as_str(), used.step)? {
            return Ok(());
        }
        Err(AccessError::said(StatusCode::CONFLICT, "code-used", "this code was used; wait for the next one"))
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn found(ledger: &Ledger, name: &str) -> Result<tbi_ledger::Account, AccessError> {
    let account = ledger.account(name)?;
    Ok(account.ok_or_else(|| LedgerError::Missing { what: "account", name: name.to_owned() })?)
}
