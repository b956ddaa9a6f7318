//! Notes: what was granted lies in notes, each with a serial number; spending burns whole notes and makes one note of change. There is no
//! balance column: the balance is the sum of the notes that are not burned, so it can never disagree with them.
//!
//! Serials come from what made the note (the grant, or the run whose change it is), so that the same thing never makes two. The tables
//! refuse to burn a note twice, to change it, or to delete it; spending chooses and burns under one lock. Asking again with the same source
//! or run gives the same answer and moves nothing.

mod pick;

use jiff::Timestamp;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::bytes::{Encoding, to_hex};
use crate::change::{checked_text, int, micros, row, rows, time_at, uint};
use crate::error::Failed;
use crate::{Ledger, LedgerError};

/// Most units of one note: far beyond any grant, and any number of them is far below the limit of the sums.
const LARGEST_NOTE: u64 = 1_000_000_000_000;
/// Most notes of one grant.
const MOST_NOTES: usize = 1000;

/// A note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Used once, ever.
    pub serial: String,
    /// Units.
    pub amount: u64,
    /// What made it: `mint:SOURCE` or `change:RUN`.
    pub origin: String,
    /// When.
    pub made: Timestamp,
}

/// What a grant did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Minted {
    /// These notes were made.
    Now(Vec<Note>),
    /// This source was granted before; nothing was made.
    Before,
}

/// What a run spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// The run.
    pub run: String,
    /// Units.
    pub amount: u64,
    /// Serials of the notes that were burned.
    pub burned: Vec<String>,
    /// Serial of the note of change.
    pub change: Option<String>,
    /// What was unspent right after it.
    pub balance_after: u64,
}

impl Ledger {
    /// Makes notes for a grant, once per `source`.
    ///
    /// # Errors
    /// [`LedgerError`]; [`LedgerError::Exists`] when the source was granted other amounts.
    pub fn mint(&mut self, source: &str, amounts: &[u64], now: Timestamp) -> Result<Minted, LedgerError> {
        self.change("grant test stress units", |db| mint(db, source, amounts, now))
    }

    /// Burns notes of at least `amount` and makes change. The same run again gives the same answer.
    ///
    /// # Errors
    /// [`LedgerError`]; [`LedgerError::Insufficient`]; [`LedgerError::Exists`] when the run spent another amount.
    pub fn spend(&mut self, amount: u64, run: &str, now: Timestamp) -> Result<Spent, LedgerError> {
        self.change("spend test stress units", |db| spend(db, amount, run, now))
    }

    /// Sum of the notes that are not burned.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn balance(&self) -> Result<u64, LedgerError> {
        self.read("count the test stress units", balance)
    }

    /// Notes that are not burned, the smallest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn unspent(&self) -> Result<Vec<Note>, LedgerError> {
        self.read("list the test stress units", unspent)
    }

    /// What a run spent, when it did.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn spent_by(&self, run: &str) -> Result<Option<Spent>, LedgerError> {
        self.read("read what a run spent", |db| spent_by(db, run))
    }
}

fn serial(origin: &str, index: u64) -> String {
    to_hex(&Encoding::of("tbi-note-v1").text(origin).number(index).hash().0[..16])
}

fn insert(db: &Connection, origin: &str, index: u64, amount: u64, now: Timestamp) -> Result<Note, Failed> {
    let note = Note {
        serial: serial(origin, index),
        amount,
        origin: origin.to_owned(),
        made: crate::change::stored_time(now),
    };
    db.execute(
        "INSERT INTO notes (serial, amount, origin, made) VALUES (?1, ?2, ?3, ?4)",
        (&note.serial, int(amount), origin, micros(now)),
    )?;
    Ok(note)
}

pub(crate) fn mint(db: &Connection, source: &str, amounts: &[u64], now: Timestamp) -> Result<Minted, Failed> {
    checked_text("the source of a grant", source, 200)?;
    if amounts.is_empty() || amounts.len() > MOST_NOTES || amounts.iter().any(|it| !(1..=LARGEST_NOTE).contains(it)) {
        let why = format!("a grant has 1 to {MOST_NOTES} notes of 1 to {LARGEST_NOTE} units");
        return Err(LedgerError::invalid("a grant", why).into());
    }
    let text = amounts.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let before = row(db, "SELECT amounts FROM mints WHERE source = ?1", [source], |row| Ok(row.get::<_, String>(0)?))?;
    match before {
        Some(before) if before == text => return Ok(Minted::Before),
        Some(_) => return Err(LedgerError::Exists { what: "a grant from", name: source.to_owned() }.into()),
        None => {}
    }
    let granted = amounts.iter().sum::<u64>();
    if balance(db)?.checked_add(granted).is_none_or(|sum| i64::try_from(sum).is_err()) {
        return Err(LedgerError::invalid("a grant", "there would be more units than can be counted").into());
    }
    db.execute("INSERT INTO mints (source, amounts, minted) VALUES (?1, ?2, ?3)", (source, &text, micros(now)))?;
    let origin = format!("mint:{source}");
    let made = (0..).zip(amounts).map(|(index, amount)| insert(db, &origin, index, *amount, now));
    Ok(Minted::Now(made.collect::<Result<_, _>>()?))
}

pub(crate) fn spend(db: &Connection, amount: u64, run: &str, now: Timestamp) -> Result<Spent, Failed> {
    checked_text("the id of a run", run, 200)?;
    if let Some(before) = spent_by(db, run)? {
        if before.amount == amount {
            return Ok(before);
        }
        return Err(LedgerError::Exists { what: "a spending of another amount by run", name: run.to_owned() }.into());
    }
    let notes = unspent(db)?;
    let Some(picked) = pick::pick(&notes, amount) else {
        return Err(LedgerError::Insufficient { needed: amount, balance: balance(db)? }.into());
    };
    for serial in &picked.serials {
        let burned = db.execute(
            "UPDATE notes SET burned_by = ?2, burned = ?3 WHERE serial = ?1 AND burned_by IS NULL",
            (serial, run, micros(now)),
        )?;
        if burned != 1 {
            return Err(Failed::Damaged("note"));
        }
    }
    let change = match picked.change {
        0 => None,
        rest => Some(insert(db, &format!("change:{run}"), 0, rest, now)?.serial),
    };
    let spent = Spent { run: run.to_owned(), amount, burned: picked.serials, change, balance_after: balance(db)? };
    db.execute(
        "INSERT INTO spends (run, amount, change, balance, spent) VALUES (?1, ?2, ?3, ?4, ?5)",
        (run, int(amount), &spent.change, int(spent.balance_after), micros(now)),
    )?;
    Ok(spent)
}

pub(crate) fn balance(db: &Connection) -> Result<u64, Failed> {
    let query = "SELECT coalesce(sum(amount), 0) FROM notes WHERE burned_by IS NULL";
    Ok(uint(db.query_row(query, [], |row| row.get(0))?))
}

fn unspent(db: &Connection) -> Result<Vec<Note>, Failed> {
    let query = "SELECT serial, amount, origin, made FROM notes WHERE burned_by IS NULL ORDER BY amount, serial";
    rows(db, query, [], |row| {
        Ok(Note { serial: row.get(0)?, amount: uint(row.get(1)?), origin: row.get(2)?, made: time_at(row, 3)? })
    })
}

fn spent_by(db: &Connection, run: &str) -> Result<Option<Spent>, Failed> {
    let found = row(db, "SELECT amount, change, balance FROM spends WHERE run = ?1", [run], |row| {
        Ok((uint(row.get(0)?), row.get(1)?, uint(row.get(2)?)))
    })?;
    let Some((amount, change, balance_after)) = found else { return Ok(None) };
    let query = "SELECT serial FROM notes WHERE burned_by = ?1 ORDER BY amount DESC, serial";
    let burned = rows(db, query, [run], |row| Ok(row.get(0)?))?;
    Ok(Some(Spent { run: run.to_owned(), amount, burned, change, balance_after }))
}
