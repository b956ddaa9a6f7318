//! Sessions as rows, found by the SHA-256 of their id; the id itself is never stored. Limits and cookies are the door's business.
//!
//! Invariant: a session ends with its account, with its absolute end, or when it is revoked; a time noted for it never goes backwards.

use jiff::Timestamp;
use rusqlite::{Connection, Row};

use crate::bytes::Hash;
use crate::change::{checked_text, hash_at, int, maybe_time_at, micros, row, rows, stored_time, time_at, uint};
use crate::error::Failed;
use crate::{Ledger, LedgerError, accounts};

/// Most sessions of one account; the one seen longest ago makes room.
const MOST: i64 = 100;

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of its id.
    pub hash: Hash,
    /// Whose.
    pub account: String,
    /// Epoch of the account when it began.
    pub epoch: u64,
    /// When it began.
    pub created: Timestamp,
    /// When it was last used.
    pub last_seen: Timestamp,
    /// When it ends whatever happens.
    pub ends: Timestamp,
    /// Address it began from.
    pub source: String,
    /// Program it began with.
    pub user_agent: String,
    /// Until when a fresh proof of the person holds.
    pub stepped_up_until: Option<Timestamp>,
}

/// A session to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<'a> {
    /// SHA-256 of its id.
    pub hash: Hash,
    /// Whose.
    pub account: &'a str,
    /// Epoch the login was checked against; refused when the account has moved on.
    pub epoch: u64,
    /// When it ends whatever happens.
    pub ends: Timestamp,
    /// Address.
    pub source: &'a str,
    /// Program; cut to 256 characters.
    pub user_agent: &'a str,
}

impl Ledger {
    /// Begins a session.
    ///
    /// # Errors
    /// [`LedgerError::Missing`] when there is no such account, or not enabled; [`LedgerError::Changed`] when its epoch is another one.
    pub fn begin_session(&mut self, new: &NewSession<'_>, now: Timestamp) -> Result<Session, LedgerError> {
        checked_text("the source of a session", new.source, 128)?;
        self.change("begin the session", |db| {
            let account = accounts::find(db, new.account)?.filter(|account| account.enabled);
            let account = account.ok_or_else(|| LedgerError::missing("enabled account", new.account))?;
            if account.epoch != new.epoch {
                return Err(LedgerError::Changed { based_on: new.epoch, current: account.epoch }.into());
            }
            db.execute(
                "DELETE FROM sessions WHERE hash IN
                 (SELECT hash FROM sessions WHERE account = ?1 ORDER BY last_seen DESC LIMIT -1 OFFSET ?2)",
                (new.account, MOST - 1),
            )?;
            let session = Session {
                hash: new.hash,
                account: new.account.to_owned(),
                epoch: new.epoch,
                created: stored_time(now),
                last_seen: stored_time(now),
                ends: stored_time(new.ends),
                source: new.source.to_owned(),
                user_agent: new.user_agent.chars().take(256).collect(),
                stepped_up_until: None,
            };
            let query = format!("INSERT INTO sessions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL)");
            db.execute(
                &query,
                (
                    &session.hash.0,
                    &session.account,
                    int(session.epoch),
                    micros(now),
                    micros(now),
                    micros(session.ends),
                    &session.source,
                    &session.user_agent,
                ),
            )?;
            Ok(session)
        })
    }

    /// A session, when it is there; whether it has ended is for the caller to say.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn session(&self, hash: &Hash) -> Result<Option<Session>, LedgerError> {
        let query = format!("SELECT {COLUMNS} FROM sessions WHERE hash = ?1");
        self.read("read the session", |db| row(db, &query, [&hash.0], session))
    }

    /// Sessions of an account, or of all; the one used last comes first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn sessions(&self, account: Option<&str>) -> Result<Vec<Session>, LedgerError> {
        let query =
            format!("SELECT {COLUMNS} FROM sessions WHERE ?1 IS NULL OR account = ?1 ORDER BY last_seen DESC, hash");
        self.read("list the sessions", |db| rows(db, &query, [account], session))
    }

    /// Notes that a session was used.
    ///
    /// # Errors
    /// [`LedgerError::Missing`].
    pub fn see_session(&mut self, hash: &Hash, seen: Timestamp) -> Result<(), LedgerError> {
        self.change("note the session", |db| {
            let query = "UPDATE sessions SET last_seen = max(last_seen, ?2) WHERE hash = ?1";
            found(hash, db.execute(query, (&hash.0, micros(seen)))?)
        })
    }

    /// Notes that the person has proven itself again, until then; `None` takes it back.
    ///
    /// # Errors
    /// [`LedgerError::Missing`].
    pub fn step_up_session(&mut self, hash: &Hash, until: Option<Timestamp>) -> Result<(), LedgerError> {
        self.change("note the step-up", |db| {
            let query = "UPDATE sessions SET stepped_up_until = ?2 WHERE hash = ?1";
            found(hash, db.execute(query, (&hash.0, until.map(micros)))?)
        })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`LedgerError::Missing`].
    pub fn end_session(&mut self, hash: &Hash) -> Result<(), LedgerError> {
        self.change("end the session", |db| found(hash, db.execute("DELETE FROM sessions WHERE hash = ?1", [&hash.0])?))
    }

    /// Ends all sessions of an account but one. How many ended.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn end_sessions_of(&mut self, account: &str, but: Option<&Hash>) -> Result<u64, LedgerError> {
        self.change("end the sessions", |db| {
            let query = "DELETE FROM sessions WHERE account = ?1 AND (?2 IS NULL OR hash <> ?2)";
            Ok(db.execute(query, (account, but.map(|hash| hash.0)))? as u64)
        })
    }

    /// Forgets sessions that are past their end or older than their account's epoch. How many went.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn purge_sessions(&mut self, now: Timestamp) -> Result<u64, LedgerError> {
        self.change("forget the ended sessions", |db| purge(db, now))
    }
}

const COLUMNS: &str = "hash, account, epoch, created, last_seen, ends, source, user_agent, stepped_up_until";

fn session(row: &Row<'_>) -> Result<Session, Failed> {
    Ok(Session {
        hash: hash_at(row, 0)?,
        account: row.get(1)?,
        epoch: uint(row.get(2)?),
        created: time_at(row, 3)?,
        last_seen: time_at(row, 4)?,
        ends: time_at(row, 5)?,
        source: row.get(6)?,
        user_agent: row.get(7)?,
        stepped_up_until: maybe_time_at(row, 8)?,
    })
}

fn found(hash: &Hash, rows: usize) -> Result<(), Failed> {
    if rows == 0 { Err(LedgerError::missing("session", hash.to_string()).into()) } else { Ok(()) }
}

pub(crate) fn purge(db: &Connection, now: Timestamp) -> Result<u64, Failed> {
    let query = "DELETE FROM sessions WHERE ends <= ?1
                 OR epoch < (SELECT epoch FROM accounts WHERE accounts.name = sessions.account)";
    Ok(db.execute(query, [micros(now)])? as u64)
}
