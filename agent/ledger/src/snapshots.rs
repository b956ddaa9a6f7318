//! Settings and topology as text with growing versions. A change names the version it is based on; with a newer one in force it is
//! refused, so that two operators never overwrite each other unseen.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use crate::{Ledger, LedgerError};

/// Older versions than this many are forgotten: enough to see what was changed last, bounded for a box that runs for years.
const KEPT: u64 = 50;

/// A stored text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Starts at 1 and grows with each change.
    pub version: u64,
    /// When, RFC 3339.
    pub changed: String,
    /// The text as it was given.
    pub body: String,
}

#[derive(Debug, Clone, Copy)]
enum Table {
    Settings,
    Topology,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Topology => "topology",
        }
    }
}

impl Ledger {
    /// Settings in force; `None` when none were ever stored.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`].
    pub fn settings(&self) -> Result<Option<Stored>, LedgerError> {
        newest(&self.connection, Table::Settings).map_err(LedgerError::when("read the settings"))
    }

    /// Stores settings on top of version `based_on` (0: none yet).
    ///
    /// # Errors
    /// [`LedgerError`]; [`LedgerError::Changed`] when another version is in force.
    pub fn store_settings(&mut self, based_on: u64, body: &str, now: Timestamp) -> Result<Stored, LedgerError> {
        store(&mut self.connection, Table::Settings, "store the settings", based_on, body, now)
    }

    /// Topology in force; `None` when none was ever stored.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`].
    pub fn topology(&self) -> Result<Option<Stored>, LedgerError> {
        newest(&self.connection, Table::Topology).map_err(LedgerError::when("read the topology"))
    }

    /// Stores a topology on top of version `based_on` (0: none yet).
    ///
    /// # Errors
    /// [`LedgerError`]; [`LedgerError::Changed`] when another version is in force.
    pub fn store_topology(&mut self, based_on: u64, body: &str, now: Timestamp) -> Result<Stored, LedgerError> {
        store(&mut self.connection, Table::Topology, "store the topology", based_on, body, now)
    }
}

fn newest(connection: &Connection, table: Table) -> rusqlite::Result<Option<Stored>> {
    let query = format!("SELECT version, changed, body FROM {} ORDER BY version DESC LIMIT 1", table.name());
    connection
        .query_row(&query, [], |row| {
            // SQLite's integers are signed; versions start at 1.
            let version = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
            Ok(Stored { version, changed: row.get(1)?, body: row.get(2)? })
        })
        .optional()
}

fn store(
    connection: &mut Connection,
    table: Table,
    doing: &'static str,
    based_on: u64,
    body: &str,
    now: Timestamp,
) -> Result<Stored, LedgerError> {
    let failed = LedgerError::when;
    // Immediate: the version is read under the lock under which the next one is written.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed(doing))?;
    let current = newest(&transaction, table).map_err(failed(doing))?.map_or(0, |stored| stored.version);
    if current != based_on {
        return Err(LedgerError::Changed { based_on, current });
    }
    let stored = Stored { version: current + 1, changed: now.to_string(), body: body.to_owned() };
    let version = i64::try_from(stored.version).unwrap_or(i64::MAX);
    transaction
        .execute(
            &format!("INSERT INTO {} (version, changed, body) VALUES (?1, ?2, ?3)", table.name()),
            (version, &stored.changed, body),
        )
        .map_err(failed(doing))?;
    let forgotten = i64::try_from(stored.version.saturating_sub(KEPT)).unwrap_or(0);
    transaction
        .execute(&format!("DELETE FROM {} WHERE version <= ?1", table.name()), [forgotten])
        .map_err(failed(doing))?;
    transaction.commit().map_err(failed(doing))?;
    Ok(stored)
}
