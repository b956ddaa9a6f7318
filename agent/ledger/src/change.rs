//! One change, one IMMEDIATE transaction; and how numbers, times and bytes lie in the tables. Decides nothing.
//!
//! Invariant: what a change reads it reads under the lock under which it writes. A change inside [`Ledger::together`] is a savepoint of the
//! one outside, so that a change and its audit entry are stored both or neither.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior};

use crate::bytes::Hash;
use crate::error::Failed;
use crate::{Ledger, LedgerError};

impl Ledger {
    /// Makes several changes one: all of them are stored, or none when `work` fails.
    ///
    /// # Errors
    /// What `work` says; [`LedgerError`] when the whole cannot be stored.
    pub fn together<T, E: From<LedgerError>>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        const DOING: &str = "store the change";
        let failed = |error| E::from(LedgerError::when(DOING)(error));
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        self.together = true;
        let open = Open(self);
        let done = work(open.0)?;
        if open.0.connection.is_autocommit() {
            return Err(E::from(LedgerError::Full { doing: DOING }));
        }
        open.0.connection.execute_batch("COMMIT").map_err(failed)?;
        Ok(done)
    }

    /// Runs `work` in a transaction of its own, or in a savepoint of the one that is open.
    pub(crate) fn change<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Failed>,
    ) -> Result<T, LedgerError> {
        let db = &self.connection;
        if self.together && db.is_autocommit() {
            // SQLite gave the whole transaction up when an earlier part of it found no room; nothing may be stored outside of it now.
            return Err(LedgerError::Full { doing });
        }
        let done = if db.is_autocommit() { alone(db, work) } else { nested(db, work) };
        done.map_err(Failed::when(doing))
    }

    /// Reads, with the same way of failing.
    pub(crate) fn read<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Failed>,
    ) -> Result<T, LedgerError> {
        work(&self.connection).map_err(Failed::when(doing))
    }
}

/// The transaction of [`Ledger::together`]; whatever leaves it early, a panic as well, leaves nothing behind.
struct Open<'a>(&'a mut Ledger);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.together = false;
        if !self.0.connection.is_autocommit()
            && let Err(error) = self.0.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a change of the database could not be taken back");
        }
    }
}

fn alone<T>(db: &Connection, work: impl FnOnce(&Connection) -> Result<T, Failed>) -> Result<T, Failed> {
    let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

/// A part of a transaction that can fail alone.
pub(crate) fn nested<T>(db: &Connection, work: impl FnOnce(&Connection) -> Result<T, Failed>) -> Result<T, Failed> {
    db.execute_batch("SAVEPOINT part")?;
    match work(db) {
        Ok(done) => {
            db.execute_batch("RELEASE part")?;
            Ok(done)
        }
        Err(failed) => {
            // Fails only when SQLite has rolled back everything already; the reason is the one that is told.
            if let Err(error) = db.execute_batch("ROLLBACK TO part; RELEASE part") {
                tracing::debug!(%error, "the transaction was given up as a whole");
            }
            Err(failed)
        }
    }
}

/// SQLite's integers are signed; ours stay far below the limit, and one that does not is refused by a CHECK or stored as the largest.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Times lie in the tables as microseconds, because text of different precision does not sort.
pub(crate) fn micros(when: Timestamp) -> i64 {
    when.as_microsecond()
}

/// The time as it comes back from a table.
pub(crate) fn stored_time(when: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(when.as_microsecond()).unwrap_or(when)
}

pub(crate) fn time(micros: i64) -> Result<Timestamp, Failed> {
    Timestamp::from_microsecond(micros).map_err(|_| Failed::Damaged("time"))
}

pub(crate) fn time_at(row: &Row<'_>, column: usize) -> Result<Timestamp, Failed> {
    time(row.get(column)?)
}

pub(crate) fn maybe_time_at(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Failed> {
    row.get::<_, Option<i64>>(column)?.map(time).transpose()
}

pub(crate) fn hash_at(row: &Row<'_>, column: usize) -> Result<Hash, Failed> {
    Hash::from_slice(&row.get::<_, Vec<u8>>(column)?).ok_or(Failed::Damaged("hash"))
}

pub(crate) fn maybe_hash_at(row: &Row<'_>, column: usize) -> Result<Option<Hash>, Failed> {
    let bytes = row.get::<_, Option<Vec<u8>>>(column)?;
    bytes.map(|bytes| Hash::from_slice(&bytes).ok_or(Failed::Damaged("hash"))).transpose()
}

/// All rows of a query, each read by `read`.
pub(crate) fn rows<T>(
    db: &Connection,
    query: &str,
    parameters: impl rusqlite::Params,
    mut read: impl FnMut(&Row<'_>) -> Result<T, Failed>,
) -> Result<Vec<T>, Failed> {
    let mut statement = db.prepare(query)?;
    let mut found = statement.query(parameters)?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

/// The row of a query, when there is one.
pub(crate) fn row<T>(
    db: &Connection,
    query: &str,
    parameters: impl rusqlite::Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, Failed>,
) -> Result<Option<T>, Failed> {
    let mut statement = db.prepare(query)?;
    let mut found = statement.query(parameters)?;
    found.next()?.map(read).transpose()
}

pub(crate) fn meta(db: &Connection, key: &str) -> Result<Option<String>, Failed> {
    Ok(db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()?)
}

pub(crate) fn set_meta(db: &Connection, key: &str, value: &str) -> Result<(), Failed> {
    db.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", (key, value))?;
    Ok(())
}

/// Text between one and `most` bytes without control characters.
pub(crate) fn checked_text(what: &'static str, text: &str, most: usize) -> Result<(), LedgerError> {
    if text.is_empty() || text.len() > most {
        return Err(LedgerError::invalid(what, format!("it must have 1 to {most} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(LedgerError::invalid(what, "it must not contain control characters"));
    }
    Ok(())
}
