//! Proves the chain in the database: every hash, every signature, no gap. Reads page by page; repairs nothing.

use super::{anchor, beginning, chain_name, checkpoints, head, last_signed, page};
use crate::bytes::Hash;
use crate::error::Failed;
use crate::{Ledger, LedgerError};

const PAGE: u32 = 256;

/// What was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Entries.
    pub entries: u64,
    /// Number of the last entry.
    pub last: u64,
    /// Its hash.
    pub head: Hash,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Last entry that a checkpoint or anchor signs.
    pub signed_through: u64,
    /// Last entry that was pruned, 0 for none.
    pub pruned_through: u64,
}

impl Ledger {
    /// Proves the chain in the database.
    ///
    /// # Errors
    /// [`LedgerError::Chain`] names the first entry that is wrong.
    pub fn verify_chain(&self) -> Result<Proven, LedgerError> {
        self.read("prove the audit chain", |db| {
            let wrong = |seq, why: &str| Failed::Said(LedgerError::Chain { seq, why: why.to_owned() });
            let chain = chain_name(db)?;
            if let Some(anchor) = anchor(db)?.filter(|anchor| !anchor.holds(&chain)) {
                return Err(wrong(anchor.seq, "the signature of the anchor does not hold"));
            }
            let (pruned_through, mut hash) = beginning(db)?;
            let (last, _) = head(db)?;
            let mut proven = Proven {
                entries: 0,
                last: pruned_through,
                head: hash,
                checkpoints: 0,
                signed_through: pruned_through,
                pruned_through,
            };
            // An entry is signed or it is not; a checkpoint without its entry tells that the end was cut off.
            let signed = last_signed(db)?;
            if signed > last {
                return Err(wrong(last + 1, "it was signed by a checkpoint and is missing"));
            }
            while proven.last < last {
                let entries = page(db, proven.last, last, PAGE)?;
                let through = entries.last().map_or(last, |entry| entry.seq);
                let mut marks = checkpoints(db, proven.last + 1, through)?.into_iter().peekable();
                if entries.is_empty() {
                    return Err(wrong(proven.last + 1, "it is missing"));
                }
                for entry in entries {
                    if entry.seq != proven.last + 1 {
                        return Err(wrong(proven.last + 1, "it is missing"));
                    }
                    if entry.previous != hash {
                        return Err(wrong(entry.seq, "it does not follow the entry before it"));
                    }
                    if entry.computed_hash() != entry.hash {
                        return Err(wrong(entry.seq, "its content does not have its hash"));
                    }
                    hash = entry.hash;
                    (proven.last, proven.head) = (entry.seq, entry.hash);
                    proven.entries += 1;
                    while let Some(mark) = marks.next_if(|mark| mark.seq == entry.seq) {
                        if mark.head != hash || !mark.holds(&chain) || mark.count != mark.seq - proven.signed_through {
                            return Err(wrong(entry.seq, "the checkpoint behind it does not hold"));
                        }
                        proven.checkpoints += 1;
                        proven.signed_through = mark.seq;
                    }
                }
            }
            Ok(proven)
        })
    }
}
