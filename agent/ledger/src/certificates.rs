//! Client certificates as rows: the SHA-256 of a certificate names the account that may come in with it. Trust in the certificate itself is
//! the door's business.

use jiff::Timestamp;

use crate::bytes::Hash;
use crate::change::{checked_text, hash_at, micros, row, rows, stored_time, time_at};
use crate::{Ledger, LedgerError, accounts};

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its DER.
    pub fingerprint: Hash,
    /// Whose.
    pub account: String,
    /// What for, in its owner's words.
    pub label: String,
    /// When it was added.
    pub created: Timestamp,
}

impl Ledger {
    /// Adds a certificate.
    ///
    /// # Errors
    /// [`LedgerError::Missing`] without such an account; [`LedgerError::Exists`] when it names an account already.
    pub fn add_certificate(
        &mut self,
        fingerprint: Hash,
        account: &str,
        label: &str,
        now: Timestamp,
    ) -> Result<Certificate, LedgerError> {
        checked_text("the label of a certificate", label, 128)?;
        self.change("add the certificate", |db| {
            accounts::find(db, account)?.ok_or_else(|| LedgerError::missing("account", account))?;
            let query = "SELECT account FROM certificates WHERE fingerprint = ?1";
            if row(db, query, [&fingerprint.0], |_row| Ok(()))?.is_some() {
                return Err(LedgerError::Exists { what: "certificate", name: fingerprint.to_string() }.into());
            }
            db.execute(
                "INSERT INTO certificates (fingerprint, account, label, created) VALUES (?1, ?2, ?3, ?4)",
                (&fingerprint.0, account, label, micros(now)),
            )?;
            let (account, label) = (account.to_owned(), label.to_owned());
            Ok(Certificate { fingerprint, account, label, created: stored_time(now) })
        })
    }

    /// Certificates of an account, or of all.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn certificates(&self, account: Option<&str>) -> Result<Vec<Certificate>, LedgerError> {
        let query = "SELECT fingerprint, account, label, created FROM certificates
                     WHERE ?1 IS NULL OR account = ?1 ORDER BY account, fingerprint";
        self.read("list the certificates", |db| {
            rows(db, query, [account], |row| {
                Ok(Certificate {
                    fingerprint: hash_at(row, 0)?,
                    account: row.get(1)?,
                    label: row.get(2)?,
                    created: time_at(row, 3)?,
                })
            })
        })
    }

    /// Account that a certificate names.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn certificate_account(&self, fingerprint: &Hash) -> Result<Option<String>, LedgerError> {
        self.read("read the certificate", |db| {
            row(db, "SELECT account FROM certificates WHERE fingerprint = ?1", [&fingerprint.0], |row| Ok(row.get(0)?))
        })
    }

    /// Removes a certificate.
    ///
    /// # Errors
    /// [`LedgerError::Missing`].
    pub fn remove_certificate(&mut self, fingerprint: &Hash) -> Result<(), LedgerError> {
        self.change("remove the certificate", |db| {
            match db.execute("DELETE FROM certificates WHERE fingerprint = ?1", [&fingerprint.0])? {
                0 => Err(LedgerError::missing("certificate", fingerprint.to_string()).into()),
                _ => Ok(()),
            }
        })
    }
}
