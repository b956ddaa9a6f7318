//! Boots, and the markers by which the next boot knows why it happened.
//!
//! A marker belongs to the boot that is about to end: an order with its reason, written before the machine is asked to go down, or the
//! note that the agent was ended in an orderly way. A boot whose predecessor left neither was cut off.

use rusqlite::{OptionalExtension as _, TransactionBehavior};

use crate::{Ledger, LedgerError};

/// Older boots than this many are forgotten.
const KEPT: i64 = 200;

/// Why a boot happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootKind {
    /// The first with this state partition.
    First,
    /// Somebody ordered it and said why.
    Ordered,
    /// The one before ended in an orderly way, but nobody said why.
    Clean,
    /// The one before was cut off.
    Unclean,
}

impl BootKind {
    fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Ordered => "ordered",
            Self::Clean => "clean",
            Self::Unclean => "unclean",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "first" => Self::First,
            "ordered" => Self::Ordered,
            "clean" => Self::Clean,
            _ => Self::Unclean,
        }
    }
}

/// Whether the ledger remembers what was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// The file is the one of before, or there never was one.
    Kept,
    /// There was a file and it could not be used.
    Lost,
}

/// A boot as its kernel tells it.
#[derive(Debug, Clone)]
pub struct NewBoot<'a> {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: &'a str,
    /// Wall clock, which may be wrong.
    pub started: jiff::Timestamp,
    /// Version of the image.
    pub version: &'a str,
    /// See [`Past`].
    pub past: Past,
}

/// A boot as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Counts from 1.
    pub number: u64,
    /// The kernel's id of it.
    pub boot_id: String,
    /// RFC 3339.
    pub started: String,
    /// Why it happened.
    pub kind: BootKind,
    /// The same for a person.
    pub sentence: String,
    /// Version of the image.
    pub version: String,
}

/// How the boot before ended, as far as it was said.
#[derive(Debug, Default, PartialEq, Eq)]
struct End {
    ordered: Option<String>,
    clean: bool,
}

impl Ledger {
    /// Notes that a boot has begun and tells why; the same boot again (the agent was restarted) is the boot that is already known, and
    /// takes back that the agent had ended.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn begin_boot(&mut self, new: &NewBoot<'_>) -> Result<Boot, LedgerError> {
        let failed = || LedgerError::when("note the start of the machine");
        let known = self.last_boot()?;
        if let Some(boot) = known.as_ref().filter(|boot| boot.boot_id == new.boot_id) {
            self.connection
                .execute("UPDATE ends SET clean = 0 WHERE boot = ?1", [number(boot.number)])
                .map_err(failed())?;
            return Ok(boot.clone());
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        let end = match &known {
            None => None,
            Some(boot) => transaction
                .query_row("SELECT ordered, clean FROM ends WHERE boot = ?1", [number(boot.number)], |row| {
                    Ok(End { ordered: row.get(0)?, clean: row.get(1)? })
                })
                .optional()
                .map_err(failed())?
                .or_else(|| Some(End::default())),
        };
        let (kind, sentence) = explain(end, new.past);
        let boot = Boot {
            number: known.map_or(0, |boot| boot.number) + 1,
            boot_id: new.boot_id.to_owned(),
            started: new.started.to_string(),
            kind,
            sentence,
            version: new.version.to_owned(),
        };
        transaction
            .execute(
                "INSERT INTO boots (number, boot_id, started, kind, sentence, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                (number(boot.number), &boot.boot_id, &boot.started, kind.word(), &boot.sentence, &boot.version),
            )
            .map_err(failed())?;
        transaction.execute("DELETE FROM boots WHERE number <= ?1", [number(boot.number) - KEPT]).map_err(failed())?;
        transaction.commit().map_err(failed())?;
        Ok(boot)
    }

    /// Notes that the machine is about to go down because somebody wants it to. `sentence` is what the next boot shows.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn mark_ordered(&mut self, sentence: &str) -> Result<(), LedgerError> {
        self.mark(
            "note why the machine goes down",
            "INSERT INTO ends (boot, ordered) SELECT max(number), ?1 FROM boots HAVING count(*) > 0
             ON CONFLICT (boot) DO UPDATE SET ordered = excluded.ordered",
            Some(sentence),
        )
    }

    /// Takes [`Self::mark_ordered`] back: the machine did not go down after all.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn withdraw_order(&mut self) -> Result<(), LedgerError> {
        self.mark(
            "take back why the machine goes down",
            "UPDATE ends SET ordered = NULL WHERE boot = (SELECT max(number) FROM boots)",
            None,
        )
    }

    /// Notes that the agent ends in an orderly way. When the machine goes on and the agent comes back, [`Self::begin_boot`] takes it back.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn mark_clean(&mut self) -> Result<(), LedgerError> {
        self.mark(
            "note the orderly end",
            "INSERT INTO ends (boot, clean) SELECT max(number), 1 FROM boots HAVING count(*) > 0
             ON CONFLICT (boot) DO UPDATE SET clean = 1",
            None,
        )
    }

    /// The boot that began last.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn last_boot(&self) -> Result<Option<Boot>, LedgerError> {
        self.connection
            .query_row(
                "SELECT number, boot_id, started, kind, sentence, version FROM boots ORDER BY number DESC LIMIT 1",
                [],
                |row| {
                    Ok(Boot {
                        number: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
                        boot_id: row.get(1)?,
                        started: row.get(2)?,
                        kind: BootKind::of(&row.get::<_, String>(3)?),
                        sentence: row.get(4)?,
                        version: row.get(5)?,
                    })
                },
            )
            .optional()
            .map_err(LedgerError::when("read the last start of the machine"))
    }

    fn mark(&mut self, doing: &'static str, statement: &str, sentence: Option<&str>) -> Result<(), LedgerError> {
        let done = match sentence {
            Some(sentence) => self.connection.execute(statement, [sentence]),
            None => self.connection.execute(statement, []),
        };
        done.map(|_rows| ()).map_err(LedgerError::when(doing))
    }
}

/// SQLite's integers are signed; boots are counted one by one and stay far below.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn explain(end: Option<End>, past: Past) -> (BootKind, String) {
    match (end, past) {
        (None, Past::Kept) => (BootKind::First, "First start with this state partition.".to_owned()),
        (None, Past::Lost) => (
            BootKind::Unclean,
            "Why the machine started is not known: the database that remembered it could not be used.".to_owned(),
        ),
        (Some(End { ordered: Some(sentence), .. }), _) => (BootKind::Ordered, sentence),
        (Some(End { clean: true, .. }), _) => (
            BootKind::Clean,
            "The machine was shut down in an orderly way, but not through the agent (power button, or a command), so nobody said why."
                .to_owned(),
        ),
        (Some(End { .. }), _) => (
            BootKind::Unclean,
            "The machine went down without shutting down: power was cut, it was reset, or it crashed.".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_explanation() {
        let end = |ordered: Option<&str>, clean| Some(End { ordered: ordered.map(str::to_owned), clean });
        for (before, past, kind) in [
            (None, Past::Kept, BootKind::First),
            (None, Past::Lost, BootKind::Unclean),
            (end(None, false), Past::Kept, BootKind::Unclean),
            (end(None, true), Past::Kept, BootKind::Clean),
            (end(Some("because"), false), Past::Kept, BootKind::Ordered),
            (end(Some("because"), true), Past::Kept, BootKind::Ordered),
        ] {
            let (found, sentence) = explain(before, past);
            assert_eq!(found, kind);
            assert!(!sentence.is_empty());
            assert_eq!(BootKind::of(kind.word()), kind);
        }
    }
}
