//! Why the ledger did not do what it was asked to.

use rusqlite::ErrorCode;

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
            _ => Self::Sqlite { doing, source },
        }
    }
}
