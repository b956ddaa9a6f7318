//! Backups of the database, one a day, and the way back. A backup is made with SQLite's backup API under another name, checked, and only
//! then given its name; what has the name is whole. Restoring refuses a file that does not pass the same check, and moves the present
//! database aside, never away.
//!
//! A restored database is an earlier one: units spent since then are unspent again and the audit chain goes on from its earlier head.
//! The chain says so ([`Ledger::note_restore`]); receipts and exports made since then show it, too.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};

use crate::change::uint;
use crate::open::{FILE, aside, beside};
use crate::restored::{self, Head, Restored};
use crate::schema::{self, Kind};
use crate::{Ledger, LedgerError};

const PARTIAL: &str = ".partial";

/// A backup that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Name within the directory: `tbi-YYYY-MM-DD.db`.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// A backup was not made or not restored; the database in use is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The disk.
    #[error("cannot {doing} {}: {source}; check that the state partition has room and can be written", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// File.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The copy is not sound.
    #[error("the backup {name} cannot be used: {why}; choose another one")]
    Unusable {
        /// Which.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not the name of a backup.
    #[error("'{0}' is not the name of a backup; choose one of the list")]
    Name(String),
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Ledger {
    /// Copies the database to `dir` as the backup of the day of `now`, in place of an earlier one of that day, and keeps the newest `keep`.
    ///
    /// # Errors
    /// [`BackupError`]; an earlier backup is untouched then.
    pub fn backup(&self, dir: &Path, now: Timestamp, keep: usize) -> Result<Backup, BackupError> {
        fs::create_dir_all(dir).map_err(failed("make", dir))?;
        forget_partial(dir)?;
        let name = format!("tbi-{}.db", now.strftime("%Y-%m-%d"));
        let (path, partial) = (dir.join(&name), dir.join(format!("{name}{PARTIAL}")));
        copy(&self.connection, &partial).map_err(LedgerError::when("back up the database"))?;
        if let Err(why) = check(&partial) {
            fs::remove_file(&partial).map_err(failed("delete", &partial))?;
            return Err(BackupError::Unusable { name, why });
        }
        let bytes = sync(&partial)?;
        fs::rename(&partial, &path).map_err(failed("rename", &partial))?;
        sync_dir(dir)?;
        let others = backups(dir)?.into_iter().filter(|backup| backup.name != name);
        for old in others.skip(keep.saturating_sub(1)) {
            let path = dir.join(&old.name);
            fs::remove_file(&path).map_err(failed("delete", &path))?;
        }
        Ok(Backup { name, bytes })
    }
}

/// Backups in `dir`, the newest name first.
///
/// # Errors
/// [`BackupError::Io`].
pub fn backups(dir: &Path) -> Result<Vec<Backup>, BackupError> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(failed("list", dir))?,
    };
    for entry in entries {
        let entry = entry.map_err(failed("list", dir))?;
        let Some(name) = entry.file_name().to_str().filter(|name| is_name(name)).map(str::to_owned) else { continue };
        let bytes = entry.metadata().map_err(failed("read", &entry.path()))?.len();
        found.push(Backup { name, bytes });
    }
    found.sort_by(|a, b| b.name.cmp(&a.name));
    Ok(found)
}

/// Puts the backup `name` of `backups` in place of the database in `state`, which nobody may have open. Gives where the present one is now.
///
/// # Errors
/// [`BackupError`]; the database is as it was then.
pub fn restore(state: &Path, backups: &Path, name: &str, now: Timestamp) -> Result<Option<PathBuf>, BackupError> {
    if !is_name(name) {
        return Err(BackupError::Name(name.to_owned()));
    }
    let (path, partial) = (state.join(FILE), state.join(format!("{FILE}{PARTIAL}")));
    let source = backups.join(name);
    fs::copy(&source, &partial).map_err(failed("copy", &source))?;
    if let Err(why) = check(&partial) {
        fs::remove_file(&partial).map_err(failed("delete", &partial))?;
        return Err(BackupError::Unusable { name: name.to_owned(), why });
    }
    let (kept, head_before) = keep_present(&path, now)?;
    let aside = kept.as_ref().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let written = fs::metadata(&source).and_then(|file| file.modified()).ok();
    let marking = Restored {
        backup: name.to_owned(),
        backup_written: written.and_then(|time| Timestamp::try_from(time).ok()),
        restored: now,
        head_before,
        head_after: None,
        aside,
    };
    restored::mark(&partial, marking)?;
    sync(&partial)?;
    // From here on the old log must not lie beside the new file, or it would be taken for its own.
    for suffix in ["-wal", "-shm"] {
        let beside = beside(&path, suffix);
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("delete", &beside)(error)),
            Ok(()) | Err(_) => {}
        }
    }
    fs::rename(&partial, &path).map_err(failed("rename", &partial))?;
    sync_dir(state)?;
    Ok(kept)
}

/// A second name for the present database, with its log. The first name stays until the new file takes it, so that a power cut between
/// the two leaves one or the other, never none.
fn keep_present(path: &Path, now: Timestamp) -> Result<(Option<PathBuf>, Option<Head>), BackupError> {
    let mut head = None;
    if !path.exists() {
        return Ok((None, head));
    }
    // A sound database brings its log into the file when it is closed; of another one the log is kept beside it.
    if let Ok(connection) = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE) {
        let written = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        if matches!(written, Ok(busy) if busy != 0) {
            return Err(LedgerError::Busy { doing: "restore the backup" }.into());
        }
        head = Head::of(&connection);
    }
    let to = aside(path, "before-restore", now);
    let wal = beside(path, "-wal");
    if wal.exists() {
        fs::copy(&wal, beside(&to, "-wal")).map_err(failed("copy", &wal))?;
    }
    fs::hard_link(path, &to).map_err(failed("link", &to))?;
    path.parent().map_or(Ok(()), sync_dir)?;
    Ok((Some(to), head))
}

fn is_name(name: &str) -> bool {
    let day = name.strip_prefix("tbi-").and_then(|rest| rest.strip_suffix(".db"));
    day.is_some_and(|day| day.len() == 10 && day.parse::<jiff::civil::Date>().is_ok_and(|date| date.to_string() == day))
}

fn copy(from: &Connection, to: &Path) -> rusqlite::Result<()> {
    let mut copy = Connection::open(to)?;
    copy.pragma_update(None, "synchronous", "OFF")?; // synced as a whole, before it gets its name
    rusqlite::backup::Backup::new(from, &mut copy)?.run_to_completion(1024, Duration::ZERO, None)?;
    // One file that needs no log beside it.
    copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_row| Ok(()))
}

/// Whether a file is a whole database of ours that this program can use.
fn check(path: &Path) -> Result<(), String> {
    let words = |error: rusqlite::Error| error.to_string();
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(words)?;
    let number =
        |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0).map(uint));
    // A file cut at the end of a page reads as a smaller one wherever the cut part is not asked for.
    let (pages, page) = (number("page_count").map_err(words)?, number("page_size").map_err(words)?);
    if size == 0 || pages * page != size {
        return Err("it was cut short".to_owned());
    }
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(words)?;
    if sound != "ok" {
        return Err(sound);
    }
    match schema::kind(&connection).map_err(words)? {
        Kind::Ours(_) | Kind::Later => Ok(()),
        Kind::Empty => Err("it is empty".to_owned()),
        Kind::Foreign(why) => Err(why),
    }
}

fn forget_partial(dir: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
        let entry = entry.map_err(failed("list", dir))?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("tbi-") && name.contains(PARTIAL)) {
            fs::remove_file(entry.path()).map_err(failed("delete", &entry.path()))?;
        }
    }
    Ok(())
}

fn sync(path: &Path) -> Result<u64, BackupError> {
    let file = File::open(path).map_err(failed("open", path))?;
    file.sync_all().map_err(failed("write", path))?;
    Ok(file.metadata().map_err(failed("read", path))?.len())
}

fn sync_dir(dir: &Path) -> Result<(), BackupError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("write", dir))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { doing, path, source }
}
