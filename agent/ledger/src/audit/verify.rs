//! Proves an exported chain without a database and without trusting it: streaming, with bounded memory. The first thing that is wrong is
//! the finding.
//!
//! Invariant: `Ok` means that the owner of the key wrote this chain and nothing was edited, moved or cut: each line has its one spelling, each
//! entry its hash and its predecessor, each checkpoint its signature, and the end signs the digest of everything before it. (Of an ECDSA
//! signature there is a second form that anybody can compute; whoever puts it into the end line changes no word of what is signed.)

use std::fmt;
use std::io::{BufRead, Read as _};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::line::{End, FORMAT, Header, LONGEST_LINE, Line, parse_line};
use super::{Anchor, Checkpoint, Entry, genesis};
use crate::bytes::Hash;
use crate::sign::{is_signed_by, key_id};

/// A chain that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The box.
    pub box_id: String,
    /// Entries in the file.
    pub entries: u64,
    /// Number of the first entry; 0 when there is none.
    pub first: u64,
    /// Number of the last entry; 0 when there is none.
    pub last: u64,
    /// Hash of the last entry.
    pub head: Hash,
    /// Last entry that was pruned, 0 for none.
    pub pruned_through: u64,
    /// Checkpoints in the file.
    pub checkpoints: u64,
    /// The key that signs the end.
    pub key_id: String,
    /// Further keys that signed checkpoints or the anchor: the box changed its key.
    pub earlier_keys: Vec<String>,
    /// Time of the first entry.
    pub from: Option<Timestamp>,
    /// Time of the last entry.
    pub to: Option<Timestamp>,
}

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The file cannot be read.
    Unreadable,
    /// A line is none, or is spelt in another way.
    Line,
    /// A line where another belongs: entries exchanged, missing, or twice.
    Order,
    /// An entry was edited.
    Hash,
    /// A signature does not hold.
    Signature,
    /// The key is not the expected one.
    Key,
    /// The file ends early, or goes on behind its end.
    Length,
}

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Line, from 1.
    pub line: u64,
    /// Kind.
    pub what: What,
    /// For a person.
    pub sentence: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.sentence)
    }
}

impl std::error::Error for Finding {}

/// Proves the chain that `reader` gives. `expected` is the key (SubjectPublicKeyInfo) of the box, when it is known from elsewhere; without
/// it the file proves only that it is of whoever holds the key it names.
///
/// # Errors
/// The first [`Finding`].
pub fn verify(mut reader: impl BufRead, expected: Option<&[u8]>) -> Result<Verified, Finding> {
    let mut number = 0;
    let mut digest = Sha256::new();
    let mut state: Option<State> = None;
    let mut bytes = Vec::new();
    loop {
        number += 1;
        let found = |what, sentence: String| Finding { line: number, what, sentence };
        bytes.clear();
        let limit = LONGEST_LINE as u64 + 2;
        let read = reader.by_ref().take(limit).read_until(b'\n', &mut bytes);
        read.map_err(|error| found(What::Unreadable, format!("the file cannot be read ({error}); copy it again")))?;
        if bytes.is_empty() {
            return Err(found(What::Length, "the file ends before its end line; it was cut off".to_owned()));
        }
        let Some(text) = bytes.strip_suffix(b"\n") else {
            let sentence = if bytes.len() > LONGEST_LINE { "the line is too long" } else { "the line was cut off" };
            return Err(found(What::Length, sentence.to_owned()));
        };
        let line = parse_line(text).map_err(|error| found(What::Line, format!("the line was edited: {error}")))?;
        match (&mut state, line) {
            (None, Line::Header(header)) => {
                state = Some(State::begin(header, expected).map_err(|(what, text)| found(what, text))?);
            }
            (None, _) => return Err(found(What::Order, "the file does not begin with its header".to_owned())),
            (Some(state), Line::End(end)) => {
                let digest = Hash(digest.finalize().into());
                let verified = state.end(&end, digest).map_err(|(what, text)| found(what, text))?;
                let mut more = [0; 1];
                return match reader.read(&mut more) {
                    Ok(0) => Ok(verified),
                    Ok(_) => Err(found(What::Length, "the file goes on behind its end line".to_owned())),
                    Err(error) => Err(found(What::Unreadable, format!("the file cannot be read ({error})"))),
                };
            }
            (Some(state), line) => state.take(line).map_err(|(what, text)| found(what, text))?,
        }
        digest.update(&bytes);
    }
}

type Wrong = (What, String);

fn wrong(what: What, sentence: impl Into<String>) -> Wrong {
    (what, sentence.into())
}

struct State {
    header: Header,
    last: u64,
    head: Hash,
    signed: u64,
    /// Nothing but the header and the anchor so far.
    fresh: bool,
    verified: Verified,
}

impl State {
    fn begin(header: Header, expected: Option<&[u8]>) -> Result<Self, Wrong> {
        if header.format != FORMAT {
            return Err(wrong(What::Line, format!("the format is {}, this program reads {FORMAT}", header.format)));
        }
        if header.key_id != key_id(&header.public_key.0) {
            return Err(wrong(What::Key, "the name of the key does not belong to the key"));
        }
        if expected.is_some_and(|expected| expected != header.public_key.0) {
            return Err(wrong(What::Key, format!("it is signed by key {}, not by the expected one", header.key_id)));
        }
        let head = genesis(&header.chain);
        let verified = Verified {
            box_id: header.box_id.clone(),
            entries: 0,
            first: 0,
            last: 0,
            head,
            pruned_through: 0,
            checkpoints: 0,
            key_id: header.key_id.clone(),
            earlier_keys: Vec::new(),
            from: None,
            to: None,
        };
        Ok(Self { header, last: 0, head, signed: 0, fresh: true, verified })
    }

    fn take(&mut self, line: Line) -> Result<(), Wrong> {
        match line {
            Line::Anchor(anchor) => self.anchor(&anchor)?,
            Line::Entry(entry) => self.entry(&entry)?,
            Line::Checkpoint(checkpoint) => self.checkpoint(&checkpoint)?,
            Line::Header(_) | Line::End(_) => return Err(wrong(What::Order, "there is a second header")),
        }
        self.fresh = false;
        Ok(())
    }

    fn key(&mut self, id: &str) {
        // A box changes its key a few times in its life; what a file claims beyond that needs no memory.
        let known = &mut self.verified.earlier_keys;
        if id != self.header.key_id && known.len() < 64 && !known.iter().any(|key| key == id) {
            known.push(id.to_owned());
        }
    }

    fn anchor(&mut self, anchor: &Anchor) -> Result<(), Wrong> {
        if !self.fresh {
            return Err(wrong(What::Order, "an anchor stands only behind the header"));
        }
        if !anchor.holds(&self.header.chain) {
            return Err(wrong(What::Signature, "the signature of the anchor does not hold"));
        }
        (self.last, self.head, self.signed) = (anchor.seq, anchor.head, anchor.seq);
        self.verified.pruned_through = anchor.seq;
        self.key(&anchor.key_id);
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Wrong> {
        if Some(entry.seq) != self.last.checked_add(1) {
            return Err(wrong(What::Order, format!("entry {} follows entry {}", entry.seq, self.last)));
        }
        if entry.previous != self.head {
            return Err(wrong(What::Hash, format!("entry {} does not follow the one before it", entry.seq)));
        }
        if entry.computed_hash() != entry.hash {
            return Err(wrong(
                What::Hash,
                format!("entry {} was edited: its content does not have its hash", entry.seq),
            ));
        }
        (self.last, self.head) = (entry.seq, entry.hash);
        if self.verified.entries == 0 {
            (self.verified.first, self.verified.from) = (entry.seq, Some(entry.when));
        }
        self.verified.entries += 1;
        (self.verified.last, self.verified.to) = (entry.seq, Some(entry.when));
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Wrong> {
        if checkpoint.seq != self.last || checkpoint.head != self.head || self.verified.entries == 0 {
            return Err(wrong(What::Order, format!("the checkpoint of entry {} stands elsewhere", checkpoint.seq)));
        }
        if Some(checkpoint.count) != checkpoint.seq.checked_sub(self.signed) || checkpoint.count == 0 {
            return Err(wrong(What::Order, "a checkpoint before this one is missing"));
        }
        if !checkpoint.holds(&self.header.chain) {
            let sentence = format!("the signature of the checkpoint of entry {} does not hold", checkpoint.seq);
            return Err(wrong(What::Signature, sentence));
        }
        self.signed = checkpoint.seq;
        self.verified.checkpoints += 1;
        self.key(&checkpoint.key_id);
        Ok(())
    }

    fn end(&mut self, end: &End, digest: Hash) -> Result<Verified, Wrong> {
        let verified = &mut self.verified;
        if (end.count, end.seq, end.head, end.checkpoints)
            != (verified.entries, self.last, self.head, verified.checkpoints)
        {
            return Err(wrong(What::Order, format!("the end speaks of {} entries up to {}", end.count, end.seq)));
        }
        if end.digest != digest {
            return Err(wrong(What::Hash, "the bytes of the file are not the ones that were exported"));
        }
        if !is_signed_by(&self.header.public_key.0, &end.message(&self.header), &end.signature.0) {
            return Err(wrong(What::Signature, "the signature of the end does not hold"));
        }
        verified.head = self.head;
        Ok(verified.clone())
    }
}
