//! Why the ledger did not do what it was asked to. Each sentence names the thing and what to do about it.

use rusqlite::ErrorCode;

use crate::sign::SignError;

/// A request to an open ledger failed; nothing of it was stored.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Somebody else changed the same thing since it was read.
    #[error(
        "it was changed by somebody else in the meantime (version {current} is in force, not {based_on}); read it again and repeat the change"
    )]
    Changed {
        /// Version the change was based on.
        based_on: u64,
        /// Version in force.
        current: u64,
    },
    /// No such thing.
    #[error("there is no {what} '{name}'; list what there is and choose one of it")]
    Missing {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The name is taken.
    #[error("{what} '{name}' exists already; choose another name or change the one there is")]
    Exists {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// What was given is outside its limits.
    #[error("{what} cannot be taken: {why}")]
    Invalid {
        /// What was given.
        what: &'static str,
        /// What is wrong and what would be right.
        why: String,
    },
    /// Nobody could administer the box any more.
    #[error(
        "'{name}' is the last enabled administrator and cannot be removed, disabled or given another role; make another administrator first"
    )]
    LastAdministrator {
        /// The account.
        name: String,
    },
    /// Not enough unspent notes.
    #[error(
        "{needed} test stress units are needed and {balance} are unspent; install a licence envelope that grants more"
    )]
    Insufficient {
        /// Units asked for.
        needed: u64,
        /// Units there are.
        balance: u64,
    },
    /// It was finished and sealed.
    #[error("{what} '{name}' is sealed and cannot be changed; make a new one")]
    Sealed {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The node key did not sign.
    #[error(transparent)]
    Signing(#[from] SignError),
    /// The audit chain in the database is not what was written to it.
    #[error("the audit chain is damaged at entry {seq}: {why}; keep the database for support and restore a backup")]
    Chain {
        /// Entry.
        seq: u64,
        /// What is wrong.
        why: String,
    },
    /// Whoever takes the exported bytes does not.
    #[error("the export cannot be written: {0}; make room or choose another place and repeat it")]
    Write(std::io::Error),
    /// A stored value is not one this program writes.
    #[error("cannot {doing}: a stored {what} cannot be read; restore a backup of the database")]
    Damaged {
        /// What was being done.
        doing: &'static str,
        /// Which value.
        what: &'static str,
    },
    /// Another connection holds the lock.
    #[error("cannot {doing}: the database is locked by another program; close what has it open and try again")]
    Busy {
        /// What was being done.
        doing: &'static str,
    },
    /// The file is bad.
    #[error(
        "cannot {doing}: the database is corrupt ({source}); restart the agent, which moves it aside, and restore a backup"
    )]
    Corrupt {
        /// What was being done.
        doing: &'static str,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// No room.
    #[error("cannot {doing}: the state partition is full; delete old runs and try again")]
    Full {
        /// What was being done.
        doing: &'static str,
    },
    /// Whoever asked the database died of it.
    #[error("the request to the database ended unexpectedly; restart the agent, which checks it")]
    Lost,
    /// Anything else SQLite says.
    #[error("cannot {doing}: {source}; if it stays so, restart the agent, which checks the database")]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// SQLite's words.
        source: rusqlite::Error,
    },
}

impl LedgerError {
    pub(crate) fn when(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { doing },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { doing },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt { doing, source },
            _ => Self::Sqlite { doing, source },
        }
    }

    pub(crate) fn invalid(what: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { what, why: why.into() }
    }

    pub(crate) fn missing(what: &'static str, name: impl Into<String>) -> Self {
        Self::Missing { what, name: name.into() }
    }
}

/// What the inside of a change may fail with, before it is known what was being done.
#[derive(Debug)]
pub(crate) enum Failed {
    /// SQLite.
    Sql(rusqlite::Error),
    /// A stored value.
    Damaged(&'static str),
    /// Has its sentence already.
    Said(LedgerError),
}

impl Failed {
    pub(crate) fn when(doing: &'static str) -> impl FnOnce(Self) -> LedgerError {
        move |failed| match failed {
            Self::Sql(source) => LedgerError::when(doing)(source),
            Self::Damaged(what) => LedgerError::Damaged { doing, what },
            Self::Said(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<LedgerError> for Failed {
    fn from(error: LedgerError) -> Self {
        Self::Said(error)
    }
}

impl From<SignError> for Failed {
    fn from(error: SignError) -> Self {
        Self::Said(error.into())
    }
}
