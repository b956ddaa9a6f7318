//! What keeps books beside the settings: the ledger's audit chain, licences, usage and backups. What is wrong with a book is a sentence in the
//! health; only a chain that cannot be written stops changes, because a change without an entry must not happen twice.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tbi_api::health::{Component, State};
use tbi_ledger::audit::NewEntry;
use tbi_ledger::licence::Issuers;
use tbi_ledger::{Found, Ledger, LedgerError, Policy, Signer};

use super::access::refusals::RefusalBook;
use super::claim::Claim;
use super::meter::Meter;
use super::node::{Appliance, Lost, Place};
use super::sysfs::Root;

/// Keys of licence issuers.
const ISSUERS: &str = "usr/lib/tlsstress/licence-issuers";

/// See the module.
#[derive(Debug)]
pub(super) struct Books {
    issuers: Issuers,
    meter: Meter,
    claim: Claim,
    refusals: RefusalBook,
    audit_trouble: Mutex<Option<String>>,
    upkeep_trouble: Mutex<Option<String>>,
}

impl Books {
    /// Opens what is beside the ledger.
    pub(super) fn open(place: &Place, ledger: &Ledger) -> Self {
        // A database that cannot be read lets nobody in by a code.
        let has_accounts = ledger.accounts().map_or(true, |accounts| !accounts.is_empty());
        Self {
            issuers: issuers(&place.root),
            meter: Meter::open(&place.state),
            claim: Claim::of_box(&place.run, has_accounts),
            refusals: RefusalBook::new(tokio::time::Instant::now()),
            audit_trouble: Mutex::new(None),
            upkeep_trouble: Mutex::new(None),
        }
    }

    /// Parts that only keep books: what is wrong with them never keeps the box from measuring.
    pub(super) fn components(&self, found: &Found) -> Vec<Component> {
        let said = |trouble: &Mutex<Option<String>>| trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let usage = Some(self.meter.standing(None).sentence).filter(|sentence| !sentence.is_empty());
        let audit = said(&self.audit_trouble).map(|why| {
            format!("A change is not in the audit chain ({why}); nothing is changed until entries can be made.")
        });
        let audit = audit.or_else(|| found.trail_sentence());
        let backup = said(&self.upkeep_trouble).map(|why| format!("The daily backup failed: {why}."));
        let part = |name: &str, sentence: Option<String>| Component {
            name: name.to_owned(),
            state: if sentence.is_some() { State::Degraded } else { State::Healthy },
            sentence: sentence.unwrap_or_default(),
            restarts: 0,
            memory_bytes: None,
        };
        vec![part("audit", audit), part("backup", backup), part("usage", usage)]
    }
}

impl Appliance {
    /// What a run needs to be allowed, as the settings in force say.
    pub(crate) fn policy(&self) -> Policy {
        Policy { enforce: self.in_force().snapshot.settings.licence.enforce, issuers: self.books.issuers.clone() }
    }

    /// What the first administrator is made with, while there is no account.
    pub(crate) fn claim(&self) -> &Claim {
        &self.books.claim
    }

    /// What the door refused.
    pub(super) fn refusals(&self) -> &RefusalBook {
        &self.books.refusals
    }

    /// Enters what waits to be told in one sum; failing that it waits on.
    pub(crate) async fn settle_refusals(&self) {
        let book = self.books.refusals.clone();
        let settled = self.ledger(move |ledger, key| book.settle(ledger, key)).await;
        if let Err(error) = settled.map_err(|error: LedgerError| error.to_string()) {
            tracing::warn!(error, "refusals of the door are not in the audit chain yet");
        }
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.books.meter
    }

    /// Asks the ledger on a blocking thread; the signer is the box's key.
    pub(crate) async fn ledger<T: Send + 'static, E: From<Lost> + Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Ledger, &dyn Signer) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let key = Arc::clone(&self.node().key);
        self.remembering(move |memory| ask(memory.ledger(), key.as_ref())).await
    }

    /// Notes that an entry could, or could not, be made in the audit chain.
    pub(crate) fn note_audit(&self, trouble: Option<String>) {
        *self.books.audit_trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Notes how the daily upkeep went.
    pub(crate) fn note_upkeep(&self, trouble: Option<String>) {
        *self.books.upkeep_trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Directory of everything that is kept.
    pub(crate) fn state(&self) -> &Path {
        &self.place().state
    }

    /// Whether entries can be made; after one that could not, this tries with an entry that says so.
    ///
    /// # Errors
    /// Why not.
    pub(crate) async fn audit_works(&self) -> Result<(), String> {
        let Some(trouble) = self.books.audit_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone() else {
            return Ok(());
        };
        let detail = serde_json::json!({ "why": trouble });
        let resumed = self.ledger(move |ledger, key| {
            let entry = NewEntry {
                actor: "agent",
                role: "none",
                source: "local",
                action: "audit.resume",
                target: "a change before this one has no entry",
                outcome: "done",
                detail: &detail,
                correlation: "",
            };
            ledger.append(&entry, key, Timestamp::now())
        });
        let resumed = resumed.await.map(|_entry| ()).map_err(|error: LedgerError| error.to_string());
        self.note_audit(resumed.as_ref().err().cloned());
        resumed
    }
}

/// Whose licences count: Ed25519 public keys of the verified image, one in hexadecimal digits on a line, so that no operator adds one.
fn issuers(root: &Root) -> Issuers {
    let text = root.text(ISSUERS).unwrap_or_default();
    let key = |line: &str| {
        let key = tbi_ledger::from_hex(line.trim()).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        if key.is_none() {
            tracing::warn!(line, "a line of {ISSUERS} is no Ed25519 public key");
        }
        key
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    Issuers::new(lines.filter_map(key).collect())
}
