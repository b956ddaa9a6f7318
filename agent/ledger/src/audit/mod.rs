//! The audit chain: who did what, to what, from where, and what came of it; each entry hashed with its predecessor.
//!
//! An entry's hash is SHA-256 over a length-prefixed encoding of all its fields, the predecessor's hash and a domain tag with the version of
//! the format. Every [`CHECKPOINT_EVERY`] entries, and when asked, the node key signs the head. Entries are numbered from 1 without a gap;
//! the order is the number's, never the clock's. Nothing changes or deletes an entry (the tables refuse it); retention takes a prefix away
//! that ends at a checkpoint, and leaves a signed anchor in its place.
//!
//! | module | job |
//! |---|---|
//! | this one | the words, their encoding, appending, checkpoints, pages |
//! | [`chain`] | proves the chain in the database |
//! | [`line`] | the lines of an export, with one spelling each |
//! | [`export`] | writes the lines, page by page |
//! | [`verify`](mod@verify) | proves an export without a database |
//!
//! What it cannot show: that entries after the last checkpoint were cut off by somebody who writes the file and edits the tables. An export
//! or a receipt made before shows it.

mod chain;
mod export;
mod line;
mod verify;

use jiff::Timestamp;
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};

use crate::bytes::{Bytes, Encoding, Hash};
use crate::change::{hash_at, int, meta, micros, row, rows, stored_time, time_at, uint};
use crate::error::Failed;
use crate::sign::{Signer, is_signed_by, key_id};
use crate::{Ledger, LedgerError};

pub use chain::Proven;
pub use export::Export;
pub use line::{End, FORMAT, Header, LONGEST_LINE, Line, LineError, parse_line};
pub use verify::{Finding, Verified, What, verify};

/// A checkpoint is due after this many entries.
pub const CHECKPOINT_EVERY: u64 = 256;
/// Longest text of a field; what is longer is cut, because an entry must never fail on what a client sent.
const LONGEST_FIELD: usize = 512;
/// Longest detail; what is longer is replaced by its length and hash.
const LONGEST_DETAIL: usize = 16 * 1024;

/// What is to be noted.
#[derive(Debug, Clone)]
pub struct NewEntry<'a> {
    /// Account, or `local`.
    pub actor: &'a str,
    /// Role the actor had.
    pub role: &'a str,
    /// Address or terminal it came from.
    pub source: &'a str,
    /// What was done, for example `settings.change`.
    pub action: &'a str,
    /// What it was done to.
    pub target: &'a str,
    /// What came of it, for example `done`, `refused`, `failed`.
    pub outcome: &'a str,
    /// More, usually `{"before": …, "after": …}`.
    pub detail: &'a serde_json::Value,
    /// Ties the entry to a request.
    pub correlation: &'a str,
}

/// An entry as it is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Counts from 1.
    pub seq: u64,
    /// The caller's clock.
    pub when: Timestamp,
    /// Account, or `local`.
    pub actor: String,
    /// Role the actor had.
    pub role: String,
    /// Address or terminal.
    pub source: String,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub target: String,
    /// What came of it.
    pub outcome: String,
    /// JSON as text, exactly as it was hashed.
    pub detail: String,
    /// Ties the entry to a request.
    pub correlation: String,
    /// Hash of the entry before; of the chain's name for the first.
    pub previous: Hash,
    /// Hash of this one.
    pub hash: Hash,
}

impl Entry {
    /// The hash this entry must have.
    #[must_use]
    pub fn computed_hash(&self) -> Hash {
        Encoding::of("tbi-audit-entry-v1")
            .number(self.seq)
            .text(&self.when.to_string())
            .text(&self.actor)
            .text(&self.role)
            .text(&self.source)
            .text(&self.action)
            .text(&self.target)
            .text(&self.outcome)
            .text(&self.detail)
            .text(&self.correlation)
            .bytes(&self.previous.0)
            .hash()
    }
}

/// The head of the chain, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Last entry it covers.
    pub seq: u64,
    /// Hash of that entry.
    pub head: Hash,
    /// Entries since the checkpoint before, so that a checkpoint that is taken out is missed.
    pub count: u64,
    /// The caller's clock.
    pub when: Timestamp,
    /// Name of the key.
    pub key_id: String,
    /// The key (SubjectPublicKeyInfo); a box whose key was changed has checkpoints of several.
    pub public_key: Bytes,
    /// Over all of this and the name of the chain.
    pub signature: Bytes,
}

impl Checkpoint {
    fn message(&self, chain: &str) -> Vec<u8> {
        Encoding::of("tbi-audit-checkpoint-v1")
            .text(chain)
            .number(self.seq)
            .bytes(&self.head.0)
            .number(self.count)
            .text(&self.when.to_string())
            .bytes(&self.public_key.0)
            .done()
    }

    fn holds(&self, chain: &str) -> bool {
        self.key_id == key_id(&self.public_key.0)
            && is_signed_by(&self.public_key.0, &self.message(chain), &self.signature.0)
    }
}

/// "Pruned up to `seq`, whose hash was `head`", signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Last entry that was taken away.
    pub seq: u64,
    /// Its hash.
    pub head: Hash,
    /// The caller's clock.
    pub when: Timestamp,
    /// Name of the key.
    pub key_id: String,
    /// The key (SubjectPublicKeyInfo).
    pub public_key: Bytes,
    /// Over all of this and the name of the chain.
    pub signature: Bytes,
}

impl Anchor {
    fn message(&self, chain: &str) -> Vec<u8> {
        Encoding::of("tbi-audit-anchor-v1")
            .text(chain)
            .number(self.seq)
            .bytes(&self.head.0)
            .text(&self.when.to_string())
            .bytes(&self.public_key.0)
            .done()
    }

    fn holds(&self, chain: &str) -> bool {
        self.key_id == key_id(&self.public_key.0)
            && is_signed_by(&self.public_key.0, &self.message(chain), &self.signature.0)
    }
}

/// Which entries to list; the newest come first.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter<'a> {
    /// Only entries with a smaller number; the cursor of the next page.
    pub before: Option<u64>,
    /// Only of this actor.
    pub actor: Option<&'a str>,
    /// Only actions that begin like this.
    pub action: Option<&'a str>,
    /// Only with this correlation id.
    pub correlation: Option<&'a str>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not after.
    pub to: Option<Timestamp>,
    /// At most this many (1 to 1,000).
    pub limit: u32,
}

impl Ledger {
    /// Appends an entry, and a signed checkpoint when one is due. A key that cannot sign delays the checkpoint, never the entry.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn append(&mut self, new: &NewEntry<'_>, signer: &dyn Signer, now: Timestamp) -> Result<Entry, LedgerError> {
        self.change("append to the audit chain", |db| append(db, new, signer, now))
    }

    /// Signs the head of the chain now; nothing when it is empty or signed already.
    ///
    /// # Errors
    /// [`LedgerError`]; [`LedgerError::Signing`] when the key does not sign.
    pub fn checkpoint(&mut self, signer: &dyn Signer, now: Timestamp) -> Result<Option<Checkpoint>, LedgerError> {
        self.change("sign the audit chain", |db| checkpoint(db, signer, now))
    }

    /// Number and hash of the last entry; number 0 while there is none.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn audit_head(&self) -> Result<(u64, Hash), LedgerError> {
        self.read("read the audit chain", head)
    }

    /// Name of this database's chain.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn audit_chain(&self) -> Result<String, LedgerError> {
        self.read("read the audit chain", chain_name)
    }

    /// Entries, newest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn audit_entries(&self, filter: &AuditFilter<'_>) -> Result<Vec<Entry>, LedgerError> {
        let query = format!(
            "SELECT {COLUMNS} FROM audit WHERE (?1 IS NULL OR seq < ?1) AND (?2 IS NULL OR actor = ?2)
             AND (?3 IS NULL OR substr(action, 1, length(?3)) = ?3) AND (?4 IS NULL OR correlation = ?4)
             AND (?5 IS NULL OR happened >= ?5) AND (?6 IS NULL OR happened <= ?6) ORDER BY seq DESC LIMIT ?7"
        );
        let limit = filter.limit.clamp(1, 1000);
        let parameters = (
            filter.before.map(int),
            filter.actor,
            filter.action,
            filter.correlation,
            filter.from.map(micros),
            filter.to.map(micros),
            limit,
        );
        self.read("read the audit chain", |db| rows(db, &query, parameters, entry))
    }
}

const COLUMNS: &str =
    "seq, happened, actor, role, source, action, target, outcome, detail, correlation, previous, hash";

fn entry(row: &Row<'_>) -> Result<Entry, Failed> {
    Ok(Entry {
        seq: uint(row.get(0)?),
        when: time_at(row, 1)?,
        actor: row.get(2)?,
        role: row.get(3)?,
        source: row.get(4)?,
        action: row.get(5)?,
        target: row.get(6)?,
        outcome: row.get(7)?,
        detail: row.get(8)?,
        correlation: row.get(9)?,
        previous: hash_at(row, 10)?,
        hash: hash_at(row, 11)?,
    })
}

fn chain_name(db: &Connection) -> Result<String, Failed> {
    meta(db, "audit_chain")?.ok_or(Failed::Damaged("name of the audit chain"))
}

/// What the first entry names as its predecessor.
fn genesis(chain: &str) -> Hash {
    Encoding::of("tbi-audit-genesis-v1").text(chain).hash()
}

/// The anchor in force.
pub(crate) fn anchor(db: &Connection) -> Result<Option<Anchor>, Failed> {
    let query = "SELECT seq, head, made, public_key, signature FROM audit_anchors ORDER BY seq DESC LIMIT 1";
    row(db, query, [], |row| {
        let public_key = Bytes(row.get(3)?);
        Ok(Anchor {
            seq: uint(row.get(0)?),
            head: hash_at(row, 1)?,
            when: time_at(row, 2)?,
            key_id: key_id(&public_key.0),
            public_key,
            signature: Bytes(row.get(4)?),
        })
    })
}

/// Where the chain begins: behind the anchor, or behind its name.
fn beginning(db: &Connection) -> Result<(u64, Hash), Failed> {
    match anchor(db)? {
        Some(anchor) => Ok((anchor.seq, anchor.head)),
        None => Ok((0, genesis(&chain_name(db)?))),
    }
}

pub(crate) fn head(db: &Connection) -> Result<(u64, Hash), Failed> {
    let last = row(db, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", [], |row| {
        Ok((uint(row.get(0)?), hash_at(row, 1)?))
    })?;
    last.map_or_else(|| beginning(db), Ok)
}

/// A page of entries behind `after`, up to and with `through`.
fn page(db: &Connection, after: u64, through: u64, limit: u32) -> Result<Vec<Entry>, Failed> {
    let query = format!("SELECT {COLUMNS} FROM audit WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3");
    rows(db, &query, (int(after), int(through), limit), entry)
}

/// Checkpoints from `from` up to and with `through`.
fn checkpoints(db: &Connection, from: u64, through: u64) -> Result<Vec<Checkpoint>, Failed> {
    let query = "SELECT seq, head, count, made, public_key, signature FROM audit_checkpoints
                 WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq";
    rows(db, query, (int(from), int(through)), |row| {
        let public_key = Bytes(row.get(4)?);
        Ok(Checkpoint {
            seq: uint(row.get(0)?),
            head: hash_at(row, 1)?,
            count: uint(row.get(2)?),
            when: time_at(row, 3)?,
            key_id: key_id(&public_key.0),
            public_key,
            signature: Bytes(row.get(5)?),
        })
    })
}

/// Number of the last checkpoint, or of the anchor that stands in for it.
pub(crate) fn last_signed(db: &Connection) -> Result<u64, Failed> {
    let query = "SELECT max(coalesce((SELECT max(seq) FROM audit_checkpoints), 0),
                            coalesce((SELECT max(seq) FROM audit_anchors), 0))";
    Ok(uint(db.query_row(query, [], |row| row.get(0))?))
}

/// Cuts at a character, not in the middle of one.
fn bounded(text: &str) -> String {
    if text.len() <= LONGEST_FIELD {
        return text.to_owned();
    }
    let mut end = LONGEST_FIELD;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

fn bounded_detail(detail: &serde_json::Value) -> String {
    let text = detail.to_string();
    if text.len() <= LONGEST_DETAIL {
        return text;
    }
    serde_json::json!({ "omitted_bytes": text.len(), "sha256": Hash::of(text.as_bytes()) }).to_string()
}

pub(crate) fn append(
    db: &Connection,
    new: &NewEntry<'_>,
    signer: &dyn Signer,
    now: Timestamp,
) -> Result<Entry, Failed> {
    let (last, previous) = head(db)?;
    let mut entry = Entry {
        seq: last + 1,
        when: stored_time(now),
        actor: bounded(new.actor),
        role: bounded(new.role),
        source: bounded(new.source),
        action: bounded(new.action),
        target: bounded(new.target),
        outcome: bounded(new.outcome),
        detail: bounded_detail(new.detail),
        correlation: bounded(new.correlation),
        previous,
        hash: previous,
    };
    entry.hash = entry.computed_hash();
    let query = format!("INSERT INTO audit ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)");
    db.execute(
        &query,
        (
            int(entry.seq),
            micros(entry.when),
            &entry.actor,
            &entry.role,
            &entry.source,
            &entry.action,
            &entry.target,
            &entry.outcome,
            &entry.detail,
            &entry.correlation,
            &entry.previous.0,
            &entry.hash.0,
        ),
    )?;
    if entry.seq - last_signed(db)? >= CHECKPOINT_EVERY {
        match checkpoint(db, signer, now) {
            Err(Failed::Said(LedgerError::Signing(error))) => tracing::warn!(%error, "the audit chain was not signed"),
            other => other.map(|_signed| ())?,
        }
    }
    Ok(entry)
}

pub(crate) fn checkpoint(db: &Connection, signer: &dyn Signer, now: Timestamp) -> Result<Option<Checkpoint>, Failed> {
    let ((seq, head), signed) = (head(db)?, last_signed(db)?);
    if seq <= signed {
        return Ok(None);
    }
    let mut made = Checkpoint {
        seq,
        head,
        count: seq - signed,
        when: stored_time(now),
        key_id: signer.key_id(),
        public_key: Bytes(signer.public_key().to_vec()),
        signature: Bytes(Vec::new()),
    };
    made.signature = Bytes(signer.sign(&made.message(&chain_name(db)?))?);
    db.execute(
        "INSERT INTO audit_checkpoints (seq, head, count, made, public_key, signature) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (int(seq), &head.0, int(made.count), micros(made.when), &made.public_key.0, &made.signature.0),
    )?;
    Ok(Some(made))
}

/// Takes away the entries up to the checkpoint `through`, behind a new anchor. How many went.
pub(crate) fn prune(
    db: &Connection,
    through: &(u64, Hash),
    signer: &dyn Signer,
    now: Timestamp,
) -> Result<u64, Failed> {
    let mut anchor = Anchor {
        seq: through.0,
        head: through.1,
        when: stored_time(now),
        key_id: signer.key_id(),
        public_key: Bytes(signer.public_key().to_vec()),
        signature: Bytes(Vec::new()),
    };
    anchor.signature = Bytes(signer.sign(&anchor.message(&chain_name(db)?))?);
    db.execute(
        "INSERT INTO audit_anchors (seq, head, made, public_key, signature) VALUES (?1, ?2, ?3, ?4, ?5)",
        (int(anchor.seq), &anchor.head.0, micros(anchor.when), &anchor.public_key.0, &anchor.signature.0),
    )?;
    db.execute("DELETE FROM audit_anchors WHERE seq < ?1", [int(anchor.seq)])?;
    db.execute("DELETE FROM audit_checkpoints WHERE seq <= ?1", [int(anchor.seq)])?;
    Ok(db.execute("DELETE FROM audit WHERE seq <= ?1", [int(anchor.seq)])? as u64)
}
