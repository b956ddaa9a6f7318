//! That a database was restored: a mark in the file itself, put there before the file takes its place, and an entry of the audit chain at the
//! first opening that can make one. The program that restores has no key, so it cannot make the entry.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};

use crate::audit::{self, Entry, NewEntry};
use crate::bytes::Hash;
use crate::change::{meta, set_meta};
use crate::error::Failed;
use crate::sign::Signer;
use crate::{Ledger, LedgerError};

const KEY: &str = "restored";

/// The last entry of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    seq: u64,
    hash: Hash,
}

impl Head {
    /// Of a database, when it can be read.
    pub(crate) fn of(db: &Connection) -> Option<Self> {
        audit::head(db).ok().map(|(seq, hash)| Self { seq, hash })
    }
}

/// What the entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restored {
    /// Name of the backup.
    pub(crate) backup: String,
    /// When its file was written, as far as the file system knows.
    pub(crate) backup_written: Option<Timestamp>,
    /// When it was restored.
    pub(crate) restored: Timestamp,
    /// Head of the chain of the database of before; `None` when there was none that could be read.
    pub(crate) head_before: Option<Head>,
    /// Head of the backup's chain, on which it goes on.
    pub(crate) head_after: Option<Head>,
    /// Where the database of before is.
    pub(crate) aside: Option<String>,
}

/// Marks a database that nobody has open.
pub(crate) fn mark(path: &Path, mut restored: Restored) -> Result<(), LedgerError> {
    const DOING: &str = "mark the backup as restored";
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(LedgerError::when(DOING))?;
    restored.head_after = Head::of(&connection);
    let marked = serde_json::to_string(&restored).map_err(|_| Failed::Damaged("restore"));
    marked.and_then(|text| set_meta(&connection, KEY, &text)).map_err(Failed::when(DOING))
}

impl Ledger {
    /// Says in the chain that this database was restored, once, and signs it. Call it after opening.
    ///
    /// # Errors
    /// [`LedgerError`]; the next call tries again.
    pub fn note_restore(&mut self, signer: &dyn Signer, now: Timestamp) -> Result<Option<Entry>, LedgerError> {
        self.change("note that the database was restored", |db| {
            let Some(text) = meta(db, KEY)? else { return Ok(None) };
            // Written by this program; if not, its text is all there is to say.
            let detail = serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
            let target = detail["backup"].as_str().unwrap_or("unknown").to_owned();
            let new = NewEntry {
                actor: "local",
                role: "none",
                source: "local",
                action: "backup.restore",
                target: &target,
                outcome: "done",
                detail: &detail,
                correlation: "",
            };
            let entry = audit::append(db, &new, signer, now)?;
            audit::checkpoint(db, signer, now)?;
            db.execute("DELETE FROM meta WHERE key = ?1", [KEY])?;
            Ok(Some(entry))
        })
    }
}
