//! What an HTTP/2 client keeps per stream, and receive windows (RFC 9113 §5.2, §6.9).
//!
//! No frames here: [`super`] reads and writes them. Stream ids are ours, so the map needs no protection against
//! chosen keys and hashes with one multiplication.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::codec::head::{Malformed, ResponseHead};

/// Streams in flight by id.
pub(crate) type Streams<T> = HashMap<u32, Stream<T>, BuildHasherDefault<IdHasher>>;

/// Fibonacci hashing of a stream id.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Where a response stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waiting for the final head; so many interim ones came.
    Head { interim: u8 },
    /// Body or trailers come.
    Body,
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    pub(crate) context: T,
    pub(crate) stage: Stage,
    pub(crate) window: Window,
    /// Body bytes so far.
    pub(crate) body: u64,
    /// Body bytes there must be, where the head says so.
    pub(crate) expected: Option<u64>,
}

impl<T> Stream<T> {
    pub(crate) fn new(context: T, window: u32) -> Self {
        Self { context, stage: Stage::Head { interim: 0 }, window: Window::new(window), body: 0, expected: None }
    }

    /// The final head is there.
    pub(crate) fn begin_body(&mut self, head: &ResponseHead) {
        self.stage = Stage::Body;
        self.expected = if head.is_bodiless() { Some(0) } else { head.content_length };
    }

    /// RFC 9113 §8.1.1.
    pub(crate) fn check_end(&self) -> Result<(), Malformed> {
        if self.stage != Stage::Body {
            return Err(Malformed::Status);
        }
        if self.expected.is_some_and(|expected| expected != self.body) {
            return Err(Malformed::BodyLength);
        }
        Ok(())
    }

    /// Whether what the head promises still fits the window, so that no update is worth its bytes.
    pub(crate) fn needs_no_more(&self) -> bool {
        self.expected.is_some_and(|expected| expected.saturating_sub(self.body) <= u64::from(self.window.available))
    }
}

/// How much the peer may still send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    full: u32,
    available: u32,
    /// Received and not yet given back.
    owed: u32,
}

impl Window {
    pub(crate) fn new(full: u32) -> Self {
        Self { full, available: full, owed: 0 }
    }

    /// Counts a DATA frame; `None` when the peer had no right to it.
    pub(crate) fn take(&mut self, bytes: u32) -> Option<()> {
        self.available = self.available.checked_sub(bytes)?;
        self.owed += bytes;
        Some(())
    }

    /// Increment to announce, once half the window is used: few updates, and the peer never waits for one.
    pub(crate) fn due(&mut self) -> Option<u32> {
        if self.owed == 0 || self.owed < self.full / 2 {
            return None;
        }
        self.available += self.owed;
        Some(std::mem::take(&mut self.owed))
    }
}
