//! API tokens as rows, found by the SHA-256 of their secret; the secret itself is never stored. Scopes are text to this crate.

use jiff::Timestamp;
use rusqlite::{Connection, Row};

use crate::bytes::Hash;
use crate::change::{checked_text, hash_at, maybe_time_at, micros, row, rows, stored_time, time_at};
use crate::error::Failed;
use crate::{Ledger, LedgerError, accounts};

/// Most tokens of one account that are in force.
const MOST: i64 = 100;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Names it in lists; not secret.
    pub id: String,
    /// Whose.
    pub account: String,
    /// What for, in its owner's words.
    pub label: String,
    /// The part of it that is shown.
    pub prefix: String,
    /// SHA-256 of it.
    pub hash: Hash,
    /// Scopes, in the agent's words.
    pub scopes: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// When it was last used.
    pub last_used: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

/// A token to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewToken<'a> {
    /// Unique.
    pub id: &'a str,
    /// Whose.
    pub account: &'a str,
    /// What for.
    pub label: &'a str,
    /// The part of it that is shown.
    pub prefix: &'a str,
    /// SHA-256 of it.
    pub hash: Hash,
    /// Scopes.
    pub scopes: &'a str,
    /// When it ends.
    pub expires: Timestamp,
}

impl Ledger {
    /// Makes a token.
    ///
    /// # Errors
    /// [`LedgerError::Missing`] without such an account; [`LedgerError::Exists`] when the id or the secret is taken.
    pub fn create_token(&mut self, new: &NewToken<'_>, now: Timestamp) -> Result<Token, LedgerError> {
        checked_text("the id of a token", new.id, 64)?;
        checked_text("the label of a token", new.label, 128)?;
        checked_text("the prefix of a token", new.prefix, 64)?;
        checked_text("the scopes of a token", new.scopes, 256)?;
        if new.expires <= now {
            return Err(LedgerError::invalid("the token", "it would have expired already; choose a later end"));
        }
        self.change("make the token", |db| {
            accounts::find(db, new.account)?.ok_or_else(|| LedgerError::missing("account", new.account))?;
            let query = "SELECT id FROM tokens WHERE id = ?1 OR hash = ?2";
            if row(db, query, (new.id, &new.hash.0), |_row| Ok(()))?.is_some() {
                return Err(LedgerError::Exists { what: "token", name: new.id.to_owned() }.into());
            }
            let query = "SELECT count(*) FROM tokens WHERE account = ?1 AND revoked IS NULL AND expires > ?2";
            if db.query_row(query, (new.account, micros(now)), |row| row.get::<_, i64>(0))? >= MOST {
                let why = format!("'{}' has {MOST} in force already; revoke some", new.account);
                return Err(LedgerError::invalid("the token", why).into());
            }
            let token = Token {
                id: new.id.to_owned(),
                account: new.account.to_owned(),
                label: new.label.to_owned(),
                prefix: new.prefix.to_owned(),
                hash: new.hash,
                scopes: new.scopes.to_owned(),
                created: stored_time(now),
                expires: stored_time(new.expires),
                last_used: None,
                revoked: None,
            };
            let query = format!("INSERT INTO tokens ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL, NULL)");
            db.execute(
                &query,
                (
                    &token.id,
                    &token.account,
                    &token.label,
                    &token.prefix,
                    &token.hash.0,
                    &token.scopes,
                    micros(now),
                    micros(token.expires),
                ),
            )?;
            Ok(token)
        })
    }

    /// The token with this hash, when it is there and not revoked; whether it has expired is for the caller to say.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn token(&self, hash: &Hash) -> Result<Option<Token>, LedgerError> {
        let query = format!("SELECT {COLUMNS} FROM tokens WHERE hash = ?1 AND revoked IS NULL");
        self.read("read the token", |db| row(db, &query, [&hash.0], token))
    }

    /// Tokens of an account, or of all; revoked ones as well. The newest comes first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn tokens(&self, account: Option<&str>) -> Result<Vec<Token>, LedgerError> {
        let query = format!("SELECT {COLUMNS} FROM tokens WHERE ?1 IS NULL OR account = ?1 ORDER BY created DESC, id");
        self.read("list the tokens", |db| rows(db, &query, [account], token))
    }

    /// Notes that a token was used.
    ///
    /// # Errors
    /// [`LedgerError::Missing`].
    pub fn note_token_used(&mut self, id: &str, now: Timestamp) -> Result<(), LedgerError> {
        self.change("note the use of the token", |db| {
            let query = "UPDATE tokens SET last_used = max(coalesce(last_used, ?2), ?2) WHERE id = ?1";
            match db.execute(query, (id, micros(now)))? {
                0 => Err(LedgerError::missing("token", id).into()),
                _ => Ok(()),
            }
        })
    }

    /// Revokes a token; it stays in the list.
    ///
    /// # Errors
    /// [`LedgerError::Missing`] when there is none in force.
    pub fn revoke_token(&mut self, id: &str, now: Timestamp) -> Result<(), LedgerError> {
        self.change("revoke the token", |db| {
            let query = "UPDATE tokens SET revoked = ?2 WHERE id = ?1 AND revoked IS NULL";
            match db.execute(query, (id, micros(now)))? {
                0 => Err(LedgerError::missing("token", id).into()),
                _ => Ok(()),
            }
        })
    }
}

const COLUMNS: &str = "id, account, label, prefix, hash, scopes, created, expires, last_used, revoked";

fn token(row: &Row<'_>) -> Result<Token, Failed> {
    Ok(Token {
        id: row.get(0)?,
        account: row.get(1)?,
        label: row.get(2)?,
        prefix: row.get(3)?,
        hash: hash_at(row, 4)?,
        scopes: row.get(5)?,
        created: time_at(row, 6)?,
        expires: time_at(row, 7)?,
        last_used: maybe_time_at(row, 8)?,
        revoked: maybe_time_at(row, 9)?,
    })
}

/// Forgets tokens that ended before `before`.
pub(crate) fn purge(db: &Connection, before: Timestamp) -> Result<u64, Failed> {
    Ok(db.execute("DELETE FROM tokens WHERE expires < ?1 OR revoked < ?1", [micros(before)])? as u64)
}
