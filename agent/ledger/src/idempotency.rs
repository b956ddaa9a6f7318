//! Idempotency keys: a mutation that carries one is done once, and whoever asks again gets the answer of the first time. Knows nothing of
//! HTTP beyond what an answer is made of.
//!
//! A key belongs to an account; the same key for another operation or body is refused. Answers are kept for [`RETENTION_HOURS`]. A key
//! whose request was under way when the agent died is free again at the next opening, because nobody will finish it. A clock that goes
//! backwards keeps keys longer, never shorter; one begun in the future (the clock was wrong then) counts from when it is met again.

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

use crate::bytes::Hash;
use crate::change::{checked_text, hash_at, micros, row};
use crate::error::Failed;
use crate::{Ledger, LedgerError};

/// How long an answer is given again.
pub const RETENTION_HOURS: i64 = 24;
/// Largest body of an answer that is kept.
pub const LARGEST_ANSWER: usize = 1024 * 1024;

/// Most answers that are kept, and most bytes of them; the oldest go first, so that a client with many keys cannot fill the disk.
const MOST_ANSWERS: i64 = 10_000;
const MOST_BYTES: i64 = 64 * 1024 * 1024;

/// A request that carries a key.
#[derive(Debug, Clone, Copy)]
pub struct NewRequest<'a> {
    /// The key: 1 to 255 bytes without control characters.
    pub key: &'a str,
    /// Whose it is.
    pub account: &'a str,
    /// Method and path.
    pub operation: &'a str,
    /// SHA-256 of its body.
    pub body_sha256: Hash,
}

/// An answer that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Media type.
    pub content_type: String,
    /// Body.
    pub body: Vec<u8>,
}

/// How a request with a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Never seen: do it, then [`Ledger::finish_request`] or [`Ledger::abandon_request`].
    Fresh,
    /// Done before: give this answer.
    Replay(Answer),
    /// The first one is not answered yet.
    InProgress,
    /// The key was used for another operation or body.
    Reused,
}

impl Ledger {
    /// Takes the key for a request, or tells what became of the first one with it.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn begin_request(&mut self, new: &NewRequest<'_>, now: Timestamp) -> Result<Begun, LedgerError> {
        checked_text("the idempotency key", new.key, 255)?;
        self.change("note the idempotency key", |db| {
            forget(db, now)?;
            let query = "SELECT operation, body_hash, status, content_type, body FROM idempotency
                         WHERE account = ?1 AND key = ?2";
            let before = row(db, query, (new.account, new.key), |row| {
                let same = row.get::<_, String>(0)? == new.operation && hash_at(row, 1)? == new.body_sha256;
                let status: Option<u16> = row.get(2)?;
                Ok(match (same, status) {
                    (false, _) => Begun::Reused,
                    (true, None) => Begun::InProgress,
                    (true, Some(status)) => {
                        Begun::Replay(Answer { status, content_type: row.get(3)?, body: row.get(4)? })
                    }
                })
            })?;
            if let Some(before) = before {
                return Ok(before);
            }
            db.execute(
                "INSERT INTO idempotency (account, key, operation, body_hash, begun) VALUES (?1, ?2, ?3, ?4, ?5)",
                (new.account, new.key, new.operation, &new.body_sha256.0, micros(now)),
            )?;
            Ok(Begun::Fresh)
        })
    }

    /// Keeps the answer of a request that [`Begun::Fresh`] let through.
    ///
    /// # Errors
    /// [`LedgerError::Invalid`] for a body larger than [`LARGEST_ANSWER`] (the key then stays taken, so that nothing is done twice);
    /// [`LedgerError::Missing`] when no such request is under way.
    pub fn finish_request(&mut self, account: &str, key: &str, answer: &Answer) -> Result<(), LedgerError> {
        if answer.body.len() > LARGEST_ANSWER {
            return Err(LedgerError::invalid("an answer to keep", format!("it has more than {LARGEST_ANSWER} bytes")));
        }
        self.change("keep the answer", |db| {
            let kept = db.execute(
                "UPDATE idempotency SET status = ?3, content_type = ?4, body = ?5
                 WHERE account = ?1 AND key = ?2 AND status IS NULL",
                (account, key, answer.status, &answer.content_type, &answer.body),
            )?;
            if kept != 1 {
                return Err(LedgerError::missing("request under way with key", key).into());
            }
            db.execute(
                "DELETE FROM idempotency WHERE rowid IN (
                    SELECT rowid FROM (
                        SELECT rowid, count(*) OVER newest AS answers, sum(length(body)) OVER newest AS bytes FROM idempotency
                        WHERE status IS NOT NULL WINDOW newest AS (ORDER BY begun DESC, rowid DESC)
                    ) WHERE answers > ?1 OR bytes > ?2)",
                (MOST_ANSWERS, MOST_BYTES),
            )?;
            Ok(())
        })
    }

    /// Frees the key of a request that was let through and did nothing.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn abandon_request(&mut self, account: &str, key: &str) -> Result<(), LedgerError> {
        self.change("free the idempotency key", |db| {
            db.execute("DELETE FROM idempotency WHERE account = ?1 AND key = ?2 AND status IS NULL", (account, key))?;
            Ok(())
        })
    }
}

/// Forgets what is older than the retention. How many keys went.
pub(crate) fn forget(db: &Connection, now: Timestamp) -> Result<u64, Failed> {
    let kept = SignedDuration::from_hours(RETENTION_HOURS);
    let oldest = now.checked_sub(kept).unwrap_or(Timestamp::MIN);
    db.execute("UPDATE idempotency SET begun = ?1 WHERE begun > ?1", [micros(now)])?;
    Ok(db.execute("DELETE FROM idempotency WHERE begun <= ?1", [micros(oldest)])? as u64)
}

/// Frees what was under way when the agent died.
pub(crate) fn release(db: &Connection) -> rusqlite::Result<()> {
    db.execute("DELETE FROM idempotency WHERE status IS NULL", []).map(|_released| ())
}
