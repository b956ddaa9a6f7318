//! Small documents of the agent, each by its name: what is one thing of the box and has no history of its own (how far the setup is, a change
//! on trial, the device under test). They lie in the table `meta` beside what the ledger notes for itself, under names of their own, so that
//! no older release stumbles over a table it does not know. What is in them is the agent's business; nothing secret belongs here, because
//! backups carry it.

use crate::change::{meta, set_meta};
use crate::{Ledger, LedgerError};

/// Longest document, bytes: a handful of certificates fits.
pub const LARGEST_DOCUMENT: usize = 256 * 1024;

/// Keeps the agent's names apart from the ledger's own.
fn key(name: &str) -> String {
    format!("document:{name}")
}

impl Ledger {
    /// The document of this name, when there is one.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`].
    pub fn document(&self, name: &str) -> Result<Option<String>, LedgerError> {
        self.read("read a document", |db| meta(db, &key(name)))
    }

    /// Keeps a document in the place of the one before; on disk when this returns, like every change.
    ///
    /// # Errors
    /// [`LedgerError`]; [`LedgerError::Invalid`] when it is too large.
    pub fn keep_document(&mut self, name: &str, body: &str) -> Result<(), LedgerError> {
        if body.len() > LARGEST_DOCUMENT {
            let why = format!("it has {} bytes, more than {LARGEST_DOCUMENT}", body.len());
            return Err(LedgerError::invalid("document", why));
        }
        self.change("keep a document", |db| set_meta(db, &key(name), body))
    }

    /// Forgets a document; one that is not there is forgotten already.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn forget_document(&mut self, name: &str) -> Result<(), LedgerError> {
        self.change("forget a document", |db| {
            db.execute("DELETE FROM meta WHERE key = ?1", [key(name)])?;
            Ok(())
        })
    }
}
