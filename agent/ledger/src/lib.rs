//! The agent's memory in SQLite: what was decided, who may do what, what was done, and what it cost.
//!
//! It stores and proves; it knows no network, no HTTP and no clock (the time comes from the caller, and one that goes backwards breaks
//! nothing). What settings or roles mean is the agent's business. Nobody but the agent opens the file.
//!
//! | module | job |
//! |---|---|
//! | [`open`] | finds, checks or replaces the file; what happened is said, never hidden |
//! | [`schema`] | the tables, as a list of migrations |
//! | [`change`] | one change, one transaction; several made one by [`Ledger::together`] |
//! | [`snapshots`], [`boots`] | settings and topology; boots and the markers that explain the next one |
//! | [`audit`] | the hash chain of what was done, its export, and the proof of both |
//! | [`notes`], [`licence`] | units that are granted and burned; the envelopes that grant them |
//! | [`authorize`], [`receipt`] | the one gate of every run, and what it hands out |
//! | [`idempotency`] | answers that are given again instead of doing it twice |
//! | [`accounts`], [`sessions`], [`tokens`], [`certificates`] | who may come in |
//! | [`runs`] | the list of runs |
//! | [`documents`] | small documents of the agent, by name |
//! | [`spool`] | usage ticks in files of their own |
//! | [`backup`], [`restored`], [`retention`] | copies and their way back, which the chain tells; what is forgotten, and when |
//! | [`bytes`], [`sign`] | hashes, encodings, signatures |
//!
//! Invariants: what a method returned `Ok` for is on disk (WAL, `synchronous=FULL`), unless [`Found::Memory`] said that nothing is; a
//! power cut loses at most the change that was not confirmed; opening never fails, because the box must come up to say what is wrong.

mod accounts;
pub mod audit;
mod authorize;
mod backup;
mod boots;
mod bytes;
mod certificates;
mod change;
mod documents;
mod error;
mod idempotency;
pub mod licence;
mod notes;
mod open;
mod receipt;
mod restored;
mod retention;
mod runs;
mod schema;
mod sessions;
mod sign;
mod snapshots;
pub mod spool;
mod tokens;

pub use accounts::{ADMINISTRATOR, Account, AccountChange, NewAccount, SecondFactor};
pub use authorize::{Policy, Refused, Request};
pub use backup::{Backup, BackupError, backups, restore};
pub use boots::{Boot, BootKind, NewBoot, Past};
pub use bytes::{Bytes, Hash, from_hex, to_hex};
pub use certificates::Certificate;
pub use documents::LARGEST_DOCUMENT;
pub use error::LedgerError;
pub use idempotency::{Answer, Begun, LARGEST_ANSWER, NewRequest, RETENTION_HOURS};
pub use notes::{Minted, Note, Spent};
pub use open::{FILE, Found, Opened};
pub use receipt::{Receipt, ReceiptError};
pub use retention::{Pruned, Retention};
pub use runs::{Run, RunFilter, RunPage};
pub use sessions::{NewSession, Session};
pub use sign::{SignError, Signer, is_signed_by, key_id};
pub use snapshots::Stored;
pub use tokens::{NewToken, Token};

/// The open database.
#[derive(Debug)]
pub struct Ledger {
    connection: rusqlite::Connection,
    /// Within [`Ledger::together`]: a change then belongs to the open transaction, or fails with it.
    together: bool,
    /// Why nothing outlives this process, when nothing does, with the remedy.
    volatile: Option<String>,
}
