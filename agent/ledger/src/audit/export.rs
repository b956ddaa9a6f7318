//! Writes the chain as lines, a page at a time. Between two pages the ledger is free for others; what is appended meanwhile is not in the
//! file. Does not know where the bytes go.

use std::io::{Error, Write};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::line::{End, FORMAT, Header, Line, write_line};
use super::{Checkpoint, anchor, beginning, chain_name, checkpoints, head, page};
use crate::bytes::{Bytes, Hash};
use crate::sign::Signer;
use crate::{Ledger, LedgerError};

/// Entries read at once.
const PAGE: u32 = 128;
const DOING: &str = "export the audit chain";

/// An export under way.
#[derive(Debug)]
pub struct Export {
    header: Header,
    next: Next,
    /// Last entry written.
    done: (u64, Hash),
    /// Last entry to be written.
    last: (u64, Hash),
    count: u64,
    checkpoints: u64,
    digest: Sha256,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Begin,
    Entries,
    Finished,
}

impl Export {
    /// Begins an export of the chain as it is now. `signer` must be the one of all further pages.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn begin(ledger: &Ledger, box_id: &str, signer: &dyn Signer) -> Result<Self, LedgerError> {
        ledger.read(DOING, |db| {
            Ok(Self {
                header: Header {
                    format: FORMAT.to_owned(),
                    box_id: box_id.to_owned(),
                    chain: chain_name(db)?,
                    key_id: signer.key_id(),
                    public_key: Bytes(signer.public_key().to_vec()),
                },
                next: Next::Begin,
                done: beginning(db)?,
                last: head(db)?,
                count: 0,
                checkpoints: 0,
                digest: Sha256::new(),
            })
        })
    }

    /// The next bytes of the file; nothing when it is complete.
    ///
    /// # Errors
    /// [`LedgerError`]; [`LedgerError::Chain`] when entries were pruned since the export began.
    pub fn page(
        &mut self,
        ledger: &Ledger,
        signer: &dyn Signer,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, LedgerError> {
        let mut bytes = Vec::new();
        match self.next {
            Next::Begin => {
                push(&mut bytes, &Line::Header(self.header.clone()))?;
                if let Some(anchor) = ledger.read(DOING, anchor)? {
                    push(&mut bytes, &Line::Anchor(anchor))?;
                }
                self.next = Next::Entries;
            }
            Next::Entries if self.done.0 < self.last.0 => self.entries(ledger, &mut bytes)?,
            Next::Entries => {
                let mut end = End {
                    count: self.count,
                    seq: self.last.0,
                    head: self.last.1,
                    checkpoints: self.checkpoints,
                    digest: Hash(self.digest.clone().finalize().into()),
                    when: now,
                    signature: Bytes(Vec::new()),
                };
                end.signature = Bytes(signer.sign(&end.message(&self.header))?);
                push(&mut bytes, &Line::End(end))?;
                self.next = Next::Finished;
            }
            Next::Finished => return Ok(None),
        }
        self.digest.update(&bytes);
        Ok(Some(bytes))
    }

    fn entries(&mut self, ledger: &Ledger, bytes: &mut Vec<u8>) -> Result<(), LedgerError> {
        let (entries, signed): (_, Vec<Checkpoint>) = ledger.read(DOING, |db| {
            let entries = page(db, self.done.0, self.last.0, PAGE)?;
            let through = entries.last().map_or(self.done.0, |entry| entry.seq);
            Ok((entries, checkpoints(db, self.done.0 + 1, through)?))
        })?;
        let mut signed = signed.into_iter().peekable();
        if entries.is_empty() {
            return Err(self.gone());
        }
        for entry in entries {
            if entry.seq != self.done.0 + 1 {
                return Err(self.gone());
            }
            self.done = (entry.seq, entry.hash);
            self.count += 1;
            push(bytes, &Line::Entry(entry))?;
            while let Some(checkpoint) = signed.next_if(|checkpoint| checkpoint.seq == self.done.0) {
                self.checkpoints += 1;
                push(bytes, &Line::Checkpoint(checkpoint))?;
            }
        }
        Ok(())
    }

    fn gone(&self) -> LedgerError {
        LedgerError::Chain {
            seq: self.done.0 + 1,
            why: "it is missing; unless it was just pruned (then repeat the export), it was deleted".to_owned(),
        }
    }
}

fn push(bytes: &mut Vec<u8>, line: &Line) -> Result<(), LedgerError> {
    bytes.extend_from_slice(&write_line(line).map_err(|error| LedgerError::Write(Error::other(error.to_string())))?);
    Ok(())
}

impl Ledger {
    /// Writes the whole chain to `to`. Where others need the ledger meanwhile, use [`Export`] page by page.
    ///
    /// # Errors
    /// [`LedgerError`]; [`LedgerError::Write`] when `to` does not take the bytes.
    pub fn export(
        &self,
        box_id: &str,
        signer: &dyn Signer,
        now: Timestamp,
        to: &mut dyn Write,
    ) -> Result<(), LedgerError> {
        let mut export = Export::begin(self, box_id, signer)?;
        while let Some(bytes) = export.page(self, signer, now)? {
            to.write_all(&bytes).map_err(LedgerError::Write)?;
        }
        to.flush().map_err(LedgerError::Write)
    }
}
