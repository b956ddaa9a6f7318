//! The tables, as a list of migrations: entry n brings a file of version n to version n+1. Entries are never edited once released, and
//! they only add, so that after a rollback the older program still finds its tables; one that cannot keep this raises `readable_by`.

use rusqlite::Connection;

/// `PRAGMA application_id` of our files ("TBI1"), so that somebody else's database is never taken for ours.
pub(crate) const APPLICATION_ID: i32 = 0x5442_4931;

const MIGRATIONS: [&str; 2] = [
    "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    -- The oldest schema version whose program can still work with this file.
    INSERT INTO meta VALUES ('readable_by', '1');
    CREATE TABLE settings (version INTEGER PRIMARY KEY, changed TEXT NOT NULL, body TEXT NOT NULL) STRICT;
    CREATE TABLE topology (version INTEGER PRIMARY KEY, changed TEXT NOT NULL, body TEXT NOT NULL) STRICT;
    CREATE TABLE boots (
        number INTEGER PRIMARY KEY, boot_id TEXT NOT NULL UNIQUE, started TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('first', 'ordered', 'clean', 'unclean')), sentence TEXT NOT NULL, version TEXT NOT NULL
    ) STRICT;
    -- How a boot ended, as far as it was said before its end.
    CREATE TABLE ends (
        boot INTEGER PRIMARY KEY REFERENCES boots (number) ON DELETE CASCADE, ordered TEXT, clean INTEGER NOT NULL DEFAULT 0
    ) STRICT;
",
    include_str!("v2.sql"),
];

/// Version this program writes.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;

/// What a file is, before anything is written to it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing in it yet.
    Empty,
    /// Ours, of this version.
    Ours(i64),
    /// Ours, of a later version that this program can use.
    Later,
    /// Not for us; why.
    Foreign(String),
}

pub(crate) fn kind(connection: &Connection) -> rusqlite::Result<Kind> {
    let number = |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let (id, version) = (number("application_id")?, number("user_version")?);
    if tables == 0 && id == 0 && version == 0 {
        return Ok(Kind::Empty);
    }
    if id != i64::from(APPLICATION_ID) || version < 1 {
        return Ok(Kind::Foreign("it belongs to another program".to_owned()));
    }
    if version <= VERSION {
        return Ok(Kind::Ours(version));
    }
    let readable_by: String =
        connection.query_row("SELECT value FROM meta WHERE key = 'readable_by'", [], |row| row.get(0))?;
    Ok(match readable_by.parse::<i64>() {
        Ok(oldest) if oldest <= VERSION => Kind::Later,
        _ => Kind::Foreign(format!("it is of version {version} of a later release, which this one cannot use")),
    })
}

/// Brings a file from `version` to [`VERSION`], all or nothing.
pub(crate) fn migrate(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
    let done = usize::try_from(version).unwrap_or(0);
    let transaction = connection.transaction()?;
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
