//! The list of runs: enough to find and show them. The record of a run is a file of its own; its SHA-256 here seals it.
//!
//! Invariant: once a run has the hash of its record, its row does not change any more. Order is the order of beginning as the ledger met
//! them, never the clock's.

use jiff::Timestamp;
use rusqlite::{Connection, Row};

use crate::bytes::Hash;
use crate::change::{
    checked_text, hash_at, int, maybe_hash_at, maybe_time_at, micros, row, rows, stored_time, time_at, uint,
};
use crate::error::Failed;
use crate::receipt::Receipt;
use crate::{Ledger, LedgerError};

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Unique.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// State, in the agent's words.
    pub state: String,
    /// Who started it.
    pub actor: String,
    /// When.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it stands, for a person.
    pub sentence: String,
    /// SHA-256 of its plan.
    pub plan_sha256: Hash,
    /// SHA-256 of its record; seals the row.
    pub record_sha256: Option<Hash>,
    /// Its receipt.
    pub receipt: Option<Receipt>,
}

/// Which runs to list; the newest come first.
#[derive(Debug, Clone, Default)]
pub struct RunFilter<'a> {
    /// Only in this state.
    pub state: Option<&'a str>,
    /// Only with this in the name, without regard to the case of ASCII letters.
    pub name_contains: Option<&'a str>,
    /// Only of this actor.
    pub actor: Option<&'a str>,
    /// Not started before.
    pub from: Option<Timestamp>,
    /// Not started after.
    pub to: Option<Timestamp>,
    /// Where the page before ended.
    pub cursor: Option<u64>,
    /// At most this many (1 to 500).
    pub limit: u32,
}

/// A page of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPage {
    /// Runs.
    pub runs: Vec<Run>,
    /// Cursor of the next page, when there is more.
    pub next: Option<u64>,
}

impl Ledger {
    /// Adds a run or changes it; the plan, the actor and the start stay as they were first told.
    ///
    /// # Errors
    /// [`LedgerError::Sealed`] when its record is sealed and something would change.
    pub fn store_run(&mut self, run: &Run) -> Result<(), LedgerError> {
        checked_text("the id of a run", &run.id, 200)?;
        self.change("store the run", |db| {
            if let Some(before) = find(db, &run.id)? {
                let told = Run {
                    actor: before.actor.clone(),
                    started: before.started,
                    ended: run.ended.map(stored_time),
                    plan_sha256: before.plan_sha256,
                    ..run.clone()
                };
                if told == before {
                    return Ok(());
                }
                if before.record_sha256.is_some() {
                    return Err(LedgerError::Sealed { what: "run", name: run.id.clone() }.into());
                }
            }
            let receipt = run.receipt.as_ref().map(serde_json::to_string).transpose();
            db.execute(
                "INSERT INTO runs (id, name, state, actor, started, ended, sentence, plan, record, receipt)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, state = excluded.state, ended = excluded.ended,
                 sentence = excluded.sentence, record = excluded.record, receipt = excluded.receipt",
                (
                    &run.id,
                    &run.name,
                    &run.state,
                    &run.actor,
                    micros(run.started),
                    run.ended.map(micros),
                    &run.sentence,
                    &run.plan_sha256.0,
                    run.record_sha256.map(|hash| hash.0),
                    receipt.map_err(|_| Failed::Damaged("receipt"))?,
                ),
            )?;
            Ok(())
        })
    }

    /// A run, when there is one of this id.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn run(&self, id: &str) -> Result<Option<Run>, LedgerError> {
        self.read("read the run", |db| find(db, id))
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn runs(&self, filter: &RunFilter<'_>) -> Result<RunPage, LedgerError> {
        let query = format!(
            "SELECT {COLUMNS}, number FROM runs WHERE (?1 IS NULL OR state = ?1)
             AND (?2 IS NULL OR instr(lower(name), lower(?2)) > 0) AND (?3 IS NULL OR actor = ?3)
             AND (?4 IS NULL OR started >= ?4) AND (?5 IS NULL OR started <= ?5) AND (?6 IS NULL OR number < ?6)
             ORDER BY number DESC LIMIT ?7"
        );
        let limit = filter.limit.clamp(1, 500) as usize;
        let parameters = (
            filter.state,
            filter.name_contains,
            filter.actor,
            filter.from.map(micros),
            filter.to.map(micros),
            filter.cursor.map(int),
            // One more than asked for tells whether there is a next page.
            int(limit as u64 + 1),
        );
        let mut found =
            self.read("list the runs", |db| rows(db, &query, parameters, |row| Ok((run(row)?, uint(row.get(10)?)))))?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(_, number)| *number);
        Ok(RunPage { runs: found.into_iter().map(|(run, _)| run).collect(), next })
    }

    /// Runs whose end is not in their rows, oldest first: under way, or cut off with the agent.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open_runs(&self) -> Result<Vec<Run>, LedgerError> {
        let query = format!("SELECT {COLUMNS} FROM runs WHERE ended IS NULL ORDER BY number");
        self.read("list the open runs", |db| rows(db, &query, [], run))
    }

    /// Forgets a run's row.
    ///
    /// # Errors
    /// [`LedgerError::Missing`].
    pub fn remove_run(&mut self, id: &str) -> Result<(), LedgerError> {
        self.change("forget the run", |db| match db.execute("DELETE FROM runs WHERE id = ?1", [id])? {
            0 => Err(LedgerError::missing("run", id).into()),
            _ => Ok(()),
        })
    }
}

const COLUMNS: &str = "id, name, state, actor, started, ended, sentence, plan, record, receipt";

fn run(row: &Row<'_>) -> Result<Run, Failed> {
    let receipt = row.get::<_, Option<String>>(9)?;
    let receipt =
        receipt.map(|body| serde_json::from_str(&body).map_err(|_| Failed::Damaged("receipt"))).transpose()?;
    Ok(Run {
        id: row.get(0)?,
        name: row.get(1)?,
        state: row.get(2)?,
        actor: row.get(3)?,
        started: time_at(row, 4)?,
        ended: maybe_time_at(row, 5)?,
        sentence: row.get(6)?,
        plan_sha256: hash_at(row, 7)?,
        record_sha256: maybe_hash_at(row, 8)?,
        receipt,
    })
}

fn find(db: &Connection, id: &str) -> Result<Option<Run>, Failed> {
    row(db, &format!("SELECT {COLUMNS} FROM runs WHERE id = ?1"), [id], run)
}

/// Forgets rows of runs that ended before `before`; their receipts stay.
pub(crate) fn purge(db: &Connection, before: Timestamp) -> Result<u64, Failed> {
    Ok(db.execute("DELETE FROM runs WHERE ended < ?1", [micros(before)])? as u64)
}
