//! Settings and topology as text with growing versions. A change names the version it is based on; with a newer one in force it is
//! refused, so that two operators never overwrite each other unseen.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use crate::change::int;
use crate::error::Failed;
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
        self.change("store the settings", |db| store(db, Table::Settings, based_on, body, now))
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
        self.change("store the topology", |db| store(db, Table::Topology, based_on, body, now))
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

/// The version is read under the lock under which the next one is written.
fn store(db: &Connection, table: Table, based_on: u64, body: &str, now: Timestamp) -> Result<Stored, Failed> {
    let current = newest(db, table)?.map_or(0, |stored| stored.version);
    if current != based_on {
        return Err(LedgerError::Changed { based_on, current }.into());
    }
    let stored = Stored { version: current + 1, changed: now.to_string(), body: body.to_owned() };
    db.execute(
        &format!("INSERT INTO {} (version, changed, body) VALUES (?1, ?2, ?3)", table.name()),
        (int(stored.version), &stored.changed, body),
    )?;
    let forgotten = int(stored.version.saturating_sub(KEPT));
    db.execute(&format!("DELETE FROM {} WHERE version <= ?1", table.name()), [forgotten])?;
    Ok(stored)
}
