//! What is forgotten, and when. Audit entries go only as a prefix that ends at a signed checkpoint, and a signed anchor says through where.
//! Receipts, spendings, notes and licences are never forgotten: they are what a count is proven with.

use jiff::{SignedDuration, Timestamp};

use crate::bytes::Hash;
use crate::change::{hash_at, micros, row, stored_time, uint};
use crate::sign::Signer;
use crate::{Ledger, LedgerError, audit, idempotency, runs, sessions, tokens};

/// How old things may become; `None` keeps them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Audit entries.
    pub audit: Option<SignedDuration>,
    /// Rows of runs, counted from their end.
    pub runs: Option<SignedDuration>,
    /// Tokens, counted from their end.
    pub tokens: Option<SignedDuration>,
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Audit entries.
    pub audit: u64,
    /// Last audit entry that was forgotten, now or before.
    pub audit_through: u64,
    /// Sessions.
    pub sessions: u64,
    /// Idempotency keys.
    pub idempotency: u64,
    /// Rows of runs.
    pub runs: u64,
    /// Tokens.
    pub tokens: u64,
}

impl Ledger {
    /// Forgets what is older than it may become: ended sessions and idempotency keys always, the rest by `retention`.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing is forgotten then.
    pub fn prune(&mut self, retention: &Retention, signer: &dyn Signer, now: Timestamp) -> Result<Pruned, LedgerError> {
        let oldest = |age: SignedDuration| stored_time(now).checked_sub(age).unwrap_or(Timestamp::MIN);
        self.change("forget what is old", |db| {
            let mut pruned = Pruned {
                sessions: sessions::purge(db, now)?,
                idempotency: idempotency::forget(db, now)?,
                ..Pruned::default()
            };
            if let Some(age) = retention.runs {
                pruned.runs = runs::purge(db, oldest(age))?;
            }
            if let Some(age) = retention.tokens {
                pruned.tokens = tokens::purge(db, oldest(age))?;
            }
            if let Some(age) = retention.audit {
                // The last checkpoint before the first entry that is young enough to stay: the order is the number's, so an entry that a
                // wrong clock made look old stays behind a young one.
                let query = "SELECT seq, head FROM audit_checkpoints
                             WHERE seq < coalesce((SELECT min(seq) FROM audit WHERE happened >= ?1), 9223372036854775807)
                             ORDER BY seq DESC LIMIT 1";
                let through: Option<(u64, Hash)> =
                    row(db, query, [micros(oldest(age))], |row| Ok((uint(row.get(0)?), hash_at(row, 1)?)))?;
                if let Some(through) = through {
                    pruned.audit = audit::prune(db, &through, signer, now)?;
                }
            }
            pruned.audit_through = audit::anchor(db)?.map_or(0, |anchor| anchor.seq);
            Ok(pruned)
        })
    }
}
