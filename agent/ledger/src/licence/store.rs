//! The installed envelopes. Installing grants the units of an envelope once; removing takes back the right to start runs, not the units.

use jiff::Timestamp;
use rusqlite::Connection;

use super::{Envelope, EnvelopeError, Issuers, Standing, judge, judge_time, open, parse};
use crate::change::{meta, micros, row, rows, set_meta, stored_time, time, time_at};
use crate::error::Failed;
use crate::notes::{self, Minted};
use crate::{Ledger, LedgerError};

/// Key of the highest time ever seen.
const LAST_SEEN: &str = "last_seen";

/// An envelope of this box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// What it grants, as it says itself.
    pub envelope: Envelope,
    /// How it stands.
    pub standing: Standing,
    /// When it was installed.
    pub installed: Timestamp,
    /// The document as it was handed over.
    pub document: String,
}

impl Ledger {
    /// Installs an envelope and grants its units, once per id.
    ///
    /// # Errors
    /// [`LedgerError::Invalid`] for one that is forged, expired or not readable; [`LedgerError::Exists`] when another one with its id was
    /// installed.
    pub fn install_licence(
        &mut self,
        document: &str,
        issuers: &Issuers,
        now: Timestamp,
    ) -> Result<Installed, LedgerError> {
        self.change("install the licence", |db| {
            let refused = |error: EnvelopeError| LedgerError::invalid("the licence", error.to_string());
            let envelope = open(document, issuers).map_err(refused)?;
            let seen = see(db, now)?;
            let standing = judge_time(&envelope, now, seen);
            if let Standing::Expired { since } = standing {
                let why = format!("it expired on {since}; check the clock, or ask its issuer for another one");
                return Err(LedgerError::invalid("the licence", why).into());
            }
            let query = "SELECT document FROM licences WHERE id = ?1";
            let before = row(db, query, [&envelope.id], |row| Ok(row.get::<_, String>(0)?))?;
            if before.is_some_and(|before| before != document) {
                return Err(LedgerError::Exists { what: "another licence with the id", name: envelope.id }.into());
            }
            db.execute(
                "INSERT INTO licences (id, document, installed) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET installed = excluded.installed, removed = NULL",
                (&envelope.id, document, micros(now)),
            )?;
            if envelope.tsu > 0 {
                let granted = notes::mint(db, &format!("licence:{}", envelope.id), &[envelope.tsu], now)?;
                if granted == Minted::Before {
                    tracing::info!(id = envelope.id, "the units of this licence were granted before");
                }
            }
            Ok(Installed { envelope, standing, installed: stored_time(now), document: document.to_owned() })
        })
    }

    /// Installed envelopes, in the order of their ids.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn licences(&self, issuers: &Issuers, now: Timestamp) -> Result<Vec<Installed>, LedgerError> {
        self.read("list the licences", |db| {
            let seen = last_seen(db)?;
            installed(db, issuers, now, seen)
        })
    }

    /// Removes an envelope. Its units stay; they were granted.
    ///
    /// # Errors
    /// [`LedgerError::Missing`].
    pub fn remove_licence(&mut self, id: &str, now: Timestamp) -> Result<(), LedgerError> {
        self.change("remove the licence", |db| {
            let query = "UPDATE licences SET removed = ?2 WHERE id = ?1 AND removed IS NULL";
            match db.execute(query, (id, micros(now)))? {
                0 => Err(LedgerError::missing("licence", id).into()),
                _ => Ok(()),
            }
        })
    }

    /// Notes the time, so that a clock that is set back later is known to be. Returns the highest time ever seen.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn see_time(&mut self, now: Timestamp) -> Result<Timestamp, LedgerError> {
        self.change("note the time", |db| see(db, now))
    }
}

pub(crate) fn installed(
    db: &Connection,
    issuers: &Issuers,
    now: Timestamp,
    seen: Timestamp,
) -> Result<Vec<Installed>, Failed> {
    let query = "SELECT document, installed FROM licences WHERE removed IS NULL ORDER BY id";
    rows(db, query, [], |row| {
        let document: String = row.get(0)?;
        let (_, envelope) = parse(&document).map_err(|_| Failed::Damaged("licence"))?;
        let standing = judge(&document, issuers, now, seen);
        Ok(Installed { envelope, standing, installed: time_at(row, 1)?, document })
    })
}

fn last_seen(db: &Connection) -> Result<Timestamp, Failed> {
    let Some(text) = meta(db, LAST_SEEN)? else { return Ok(Timestamp::MIN) };
    time(text.parse().map_err(|_| Failed::Damaged("last time seen"))?)
}

/// The highest time ever seen, `now` included.
pub(crate) fn see(db: &Connection, now: Timestamp) -> Result<Timestamp, Failed> {
    let seen = last_seen(db)?;
    if now <= seen {
        return Ok(seen);
    }
    set_meta(db, LAST_SEEN, &micros(now).to_string())?;
    Ok(stored_time(now).max(seen))
}
