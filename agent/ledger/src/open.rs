//! Opens the ledger, whatever is there. A file that cannot be used is moved aside, never deleted; a directory that cannot be written gives
//! a ledger in memory. Either way the caller learns what happened and what to do, and the box comes up.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::schema::{self, Kind};
use crate::{Ledger, Past, idempotency};

/// Name of the file.
pub const FILE: &str = "tbi.db";
/// Nobody else opens the file; a reader by hand (`sqlite3`) is waited for this long.
const BUSY: Duration = Duration::from_secs(2);

/// Bytes kept free inside the file for changes to come: a topology of the largest size, settings, and markers.
const ROOM: i64 = 96 * 1024;

/// An open ledger and how it was found.
#[derive(Debug)]
pub struct Opened {
    /// The ledger.
    pub ledger: Ledger,
    /// What was there.
    pub found: Found,
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The file of before, sound.
    Existing,
    /// No file; a new one was made.
    Fresh,
    /// A file that cannot be used; it was moved aside and a new one made.
    MovedAside {
        /// Where it is now.
        to: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing can be stored; the ledger is in memory, with a copy of what the file held when it could be read.
    Memory {
        /// What the system says.
        why: String,
        /// Whether there was no room.
        full: bool,
    },
}

impl Found {
    /// What is wrong and what to do, when something is.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        match self {
            Self::Existing | Self::Fresh => None,
            Self::MovedAside { to, why } => Some(format!(
                "The database could not be used ({why}); it was moved to {} and a new one was made: check settings and topology, and keep \
                 the old file for support.",
                to.display()
            )),
            Self::Memory { why, full: true } => Some(format!(
                "The database cannot be written because the state partition is full ({why}); what is changed now is forgotten at the next \
                 start: delete old runs, then restart."
            )),
            Self::Memory { why, full: false } => Some(format!(
                "The database cannot be written ({why}); what is changed now is forgotten at the next start: restart, and if it stays so, \
                 check the disk."
            )),
        }
    }

    /// What of the audit chain and of spent units will be lost, when something will.
    #[must_use]
    pub fn trail_sentence(&self) -> Option<String> {
        matches!(self, Self::Memory { .. }).then(|| {
            "The audit chain and what runs spend are kept in memory only and are lost at the next start: export the chain if it is needed, then \
             do what the part 'database' says."
                .to_owned()
        })
    }

    /// Whether what was known before is still known.
    #[must_use]
    pub fn past(&self) -> Past {
        match self {
            Self::Existing | Self::Fresh => Past::Kept,
            Self::MovedAside { .. } | Self::Memory { .. } => Past::Lost,
        }
    }
}

/// Why a file is not in use.
#[derive(Debug)]
enum Trouble {
    /// The file itself is bad.
    Unusable(String),
    /// The place is bad; the connection is there when the file could at least be read.
    Unwritable { why: String, full: bool, readable: Option<Connection> },
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let why = error.to_string();
        match error.sqlite_error_code() {
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OutOfMemory,
            ) => Self::Unwritable { why, full: false, readable: None },
            Some(ErrorCode::DiskFull) => Self::Unwritable { why, full: true, readable: None },
            _ => Self::Unusable(why),
        }
    }
}

impl Ledger {
    /// Opens `tbi.db` in `dir`, which is made when it is missing. `now` names a file that is moved aside.
    #[must_use]
    pub fn open(dir: &Path, now: Timestamp) -> Opened {
        if let Err(error) = fs::create_dir_all(dir) {
            return Self::in_memory(None, error.to_string(), is_full(&error));
        }
        let path = dir.join(FILE);
        let existed = path.exists();
        let why = match use_file(&path) {
            Ok(connection) => {
                let found = if existed { Found::Existing } else { Found::Fresh };
                return Opened { ledger: Self::on(connection, None), found };
            }
            Err(Trouble::Unwritable { why, full, readable }) => return Self::in_memory(readable, why, full),
            Err(Trouble::Unusable(why)) => why,
        };
        let to = match move_aside(&path, now) {
            Ok(to) => to,
            Err(error) => {
                return Self::in_memory(None, format!("{why}; it cannot be moved aside: {error}"), is_full(&error));
            }
        };
        match use_file(&path) {
            Ok(connection) => Opened { ledger: Self::on(connection, None), found: Found::MovedAside { to, why } },
            Err(Trouble::Unwritable { why, full, .. }) => Self::in_memory(None, why, full),
            Err(Trouble::Unusable(again)) => Self::in_memory(None, again, false),
        }
    }

    fn on(connection: Connection, volatile: Option<String>) -> Self {
        Self { connection, together: false, volatile }
    }

    fn in_memory(readable: Option<Connection>, why: String, full: bool) -> Opened {
        let volatile = Some(match full {
            true => format!("the state partition is full ({why}): delete old runs, then restart the box"),
            false => format!("the disk cannot be written ({why}): restart the box, and if it stays so, check the disk"),
        });
        let found = Found::Memory { why, full };
        let copied = readable
            .and_then(|file| copy(&file).inspect_err(|error| tracing::warn!(%error, "no copy of the database")).ok());
        let connection = copied.map_or_else(fresh_memory, Ok);
        match connection {
            Ok(connection) => Opened { ledger: Self::on(connection, volatile), found },
            // SQLite in memory needs nothing but memory. Without it this program is about to end anyway; what remains is a database
            // without tables, in which each request fails with its sentence.
            Err(error) => {
                tracing::error!(%error, "no database, not even in memory");
                Opened { ledger: Self::on(bare_memory(), volatile), found }
            }
        }
    }
}

/// Opens, checks, migrates and proves that it can be written.
fn use_file(path: &Path) -> Result<Connection, Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(Trouble::Unusable(sound));
    }
    let kind = schema::kind(&connection)?;
    if let Kind::Foreign(why) = kind {
        return Err(Trouble::Unusable(why));
    }
    match make_ready(&mut connection, &kind) {
        Ok(()) => Ok(connection),
        Err(error) => match Trouble::from(error) {
            Trouble::Unwritable { why, full, .. } if kind == Kind::Ours(schema::VERSION) || kind == Kind::Later => {
                Err(Trouble::Unwritable { why, full, readable: Some(connection) })
            }
            trouble => Err(trouble),
        },
    }
}

fn make_ready(connection: &mut Connection, kind: &Kind) -> rusqlite::Result<()> {
    durable(connection)?;
    match kind {
        Kind::Empty => schema::migrate(connection, 0)?,
        Kind::Ours(version) if *version < schema::VERSION => schema::migrate(connection, *version)?,
        Kind::Ours(_) | Kind::Later | Kind::Foreign(_) => {}
    }
    // Only a write shows whether writing works, and only one of some size whether it will go on working: what is written and deleted here
    // stays as free pages in the file and as length of the log, so that later changes find their room even when the disk fills up.
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('room', hex(zeroblob(?1)))", [ROOM / 2])?;
    connection.execute("DELETE FROM meta WHERE key = 'room'", [])?;
    // A later release may have done away with this table; then there is nothing of ours in it.
    if connection.table_exists(None, "idempotency")? {
        idempotency::release(connection)?;
    }
    // The log begins anew at its present length.
    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_row| Ok(()))
}

fn durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_row| Ok(()))?;
    // FULL: a confirmed change survives a power cut, not only a crash (sqlite.org/pragma.html#pragma_synchronous).
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // The agent's memory is counted; this file is a few kB.
    connection.pragma_update(None, "cache_size", -256)
}

fn copy(file: &Connection) -> rusqlite::Result<Connection> {
    let mut memory = Connection::open_in_memory()?;
    rusqlite::backup::Backup::new(file, &mut memory)?.run_to_completion(64, Duration::ZERO, None)?;
    memory.pragma_update(None, "foreign_keys", true)?;
    Ok(memory)
}

fn fresh_memory() -> rusqlite::Result<Connection> {
    let mut memory = Connection::open_in_memory()?;
    memory.pragma_update(None, "foreign_keys", true)?;
    schema::migrate(&mut memory, 0)?;
    Ok(memory)
}

#[expect(
    clippy::expect_used,
    reason = "sqlite3_open of ':memory:' fails only without memory, like every allocation of this program"
)]
fn bare_memory() -> Connection {
    Connection::open_in_memory().expect("memory for an empty database")
}

/// Renames the file and what SQLite keeps beside it. The log goes along because it may hold what the file does not.
fn move_aside(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let to = aside(path, "corrupt", now);
    for suffix in ["-wal", "-shm"] {
        match fs::rename(beside(path, suffix), beside(&to, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    fs::rename(path, &to)?;
    path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())?;
    Ok(to)
}

/// A name for a file that makes room. A clock that stands still must not make a second such file overwrite the first.
pub(crate) fn aside(path: &Path, why: &str, now: Timestamp) -> PathBuf {
    let name = format!("{FILE}.{why}-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let free = |name: &str| !path.with_file_name(name).exists();
    let name = (1..).map(|n| if n == 1 { name.clone() } else { format!("{name}-{n}") }).find(|name| free(name));
    path.with_file_name(name.unwrap_or_default())
}

/// What SQLite keeps beside a file.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
