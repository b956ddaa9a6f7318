//! Words of `tbi_api::access` from rows of the ledger. A row that holds no such word is damage, and said as such.

use http::StatusCode;
use jiff::Timestamp;
use tbi_api::access::{self, AccountName, Digest, Hidden, Role, Scope, TokenId};
use tbi_ledger::{Account, Certificate, Hash, Session, Token};

use super::AccessError;

type Row<T> = Result<T, AccessError>;

fn damaged(what: &str) -> AccessError {
    AccessError::said(
        StatusCode::INTERNAL_SERVER_ERROR,
        "database-failed",
        format!("a stored {what} cannot be read; restore a backup of the database"),
    )
}

fn name(text: &str) -> Row<AccountName> {
    text.parse().map_err(|_| damaged("account name"))
}

pub(super) fn digest(hash: &Hash) -> Digest {
    Digest::of_bytes(&hash.0)
}

/// A digest has the form of a hash.
pub(super) fn hash(digest: &Digest) -> Row<Hash> {
    Hash::parse(digest.as_str()).ok_or_else(|| damaged("hash"))
}

pub(super) fn account(row: &Account) -> Row<access::Account> {
    let role: Role = row.role.parse().map_err(|_| damaged("role"))?;
    Ok(access::Account {
        name: name(&row.name)?,
        role,
        enabled: row.enabled,
        second_factor: row.totp_secret.is_some(),
        recovery_codes_left: u32::try_from(row.recovery.len()).unwrap_or(u32::MAX),
        epoch: row.epoch,
        created: row.created,
        password_changed: row.password_changed.unwrap_or(row.created),
        last_login: row.last_login,
    })
}

pub(super) fn secrets(row: &Account) -> Row<access::Secrets> {
    let totp = row
        .totp_secret
        .as_ref()
        .map(|secret| access::Totp { secret: Hidden::new(secret.clone()), last_step: row.totp_step });
    Ok(access::Secrets {
        account: account(row)?,
        // An account without a password cannot be logged in to with one: nothing verifies against an empty hash.
        password: Hidden::new(row.password.clone().unwrap_or_default()),
        totp,
        recovery: row.recovery.iter().cloned().map(Hidden::new).collect(),
    })
}

pub(super) fn session(row: &Session) -> Row<access::Session> {
    Ok(access::Session {
        hash: digest(&row.hash),
        account: name(&row.account)?,
        epoch: row.epoch,
        created: row.created,
        last_seen: row.last_seen,
        ends: row.ends,
        source: row.source.clone(),
        user_agent: row.user_agent.clone(),
        stepped_up_until: row.stepped_up_until,
    })
}

/// Whether it still counts.
pub(super) fn lives(session: &Session, account: &Account, now: Timestamp) -> bool {
    session.ends > now && session.epoch == account.epoch && account.enabled
}

pub(super) fn scopes(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
}

pub(super) fn token(row: &Token) -> Row<access::Token> {
    let id: TokenId = row.id.parse().map_err(|_| damaged("token id"))?;
    let scopes = row.scopes.split(' ').map(|word| word.parse::<Scope>().map_err(|_| damaged("scope")));
    Ok(access::Token {
        id,
        account: name(&row.account)?,
        label: row.label.clone(),
        scopes: scopes.collect::<Row<_>>()?,
        created: row.created,
        expires: row.expires,
        last_used: row.last_used,
    })
}

pub(super) fn certificate(row: &Certificate) -> Row<access::Certificate> {
    Ok(access::Certificate {
        fingerprint: digest(&row.fingerprint),
        account: name(&row.account)?,
        label: row.label.clone(),
        created: row.created,
    })
}
