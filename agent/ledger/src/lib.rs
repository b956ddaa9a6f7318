//! The agent's memory in SQLite: settings and topology with their versions, boots, and why the next boot happens.
//!
//! It stores text and numbers and understands neither: what settings mean is the agent's business. Nobody but the agent opens the file.
//!
//! | module | job |
//! |---|---|
//! | [`open`] | finds, checks or replaces the file; what happened is said, never hidden |
//! | [`schema`] | the tables, as a list of migrations |
//! | [`snapshots`] | settings and topology, compare-and-set on the version |
//! | [`boots`] | boots and the markers that explain the next one |
//!
//! Invariants: what a method returned `Ok` for is on disk (WAL, `synchronous=FULL`), unless [`Found::Memory`] said that nothing is; a
//! power cut loses at most the change that was not confirmed; opening never fails, because the box must come up to say what is wrong.

mod boots;
mod error;
mod open;
mod schema;
mod snapshots;

pub use boots::{Boot, BootKind, NewBoot, Past};
pub use error::LedgerError;
pub use open::{FILE, Found, Opened};
pub use snapshots::Stored;

/// The open database.
#[derive(Debug)]
pub struct Ledger {
    connection: rusqlite::Connection,
}
