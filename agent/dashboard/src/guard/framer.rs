//! Follows the requests of one connection through its bytes. Pure: bytes come in as slices, and what may pass goes out as a number.

use super::head::{self, Body, HEAD_LIMIT, Refused};

/// What is to be done with the bytes that were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// So many from the front may pass.
    pub(crate) pass: usize,
    /// What comes after them is refused.
    pub(crate) refused: Option<Refused>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between requests or inside a head; so many bytes of it were looked at.
    Head {
        seen: usize,
    },
    Body {
        left: u64,
    },
    ChunkSize {
        size: u64,
        digits: u8,
    },
    ChunkSizeEnd {
        size: u64,
    },
    Chunk {
        left: u64,
    },
    ChunkReturn,
    ChunkEnd,
    LastReturn,
    LastEnd,
}

/// State of one connection. Bytes that did not pass are to be shown again, with more behind them.
#[derive(Debug)]
pub(crate) struct Framer {
    state: State,
}

impl Framer {
    pub(crate) fn new() -> Self {
        Self { state: State::Head { seen: 0 } }
    }

    /// Whether a head has begun and not ended.
    pub(crate) fn inside_head(&self) -> bool {
        matches!(self.state, State::Head { seen } if seen > 0)
    }

    /// Whether what is refused next is a head, and not part of a body whose head has passed.
    pub(crate) fn at_head(&self) -> bool {
        matches!(self.state, State::Head { .. })
    }

    /// Looks at bytes and goes through all requests in them.
    pub(crate) fn look(&mut self, bytes: &[u8]) -> Look {
        let mut pass = 0;
        while pass < bytes.len() {
            match self.step(&bytes[pass..]) {
                Ok(0) => break,
                Ok(taken) => pass += taken,
                Err(refused) => return Look { pass, refused: Some(refused) },
            }
        }
        Look { pass, refused: None }
    }

    /// Bytes taken from the front of a slice that is not empty; none when a head is not complete.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let first = bytes[0];
        let (state, taken) = match self.state {
            State::Head { seen } => {
                // Only so much is looked at, whatever was read at once.
                let shown = &bytes[..bytes.len().min(HEAD_LIMIT)];
                match head::end(shown, seen)? {
                    None if shown.len() == HEAD_LIMIT => return Err(Refused::HeadTooLarge),
                    None => (State::Head { seen: shown.len() }, 0),
                    Some(end) => match head::check(&shown[..end])? {
                        Body::Length(0) => (State::Head { seen: 0 }, end),
                        Body::Length(left) => (State::Body { left }, end),
                        Body::Chunked => (State::ChunkSize { size: 0, digits: 0 }, end),
                    },
                }
            }
            State::Body { left } => {
                let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - taken as u64;
                (if left == 0 { State::Head { seen: 0 } } else { State::Body { left } }, taken)
            }
            State::ChunkSize { size, digits } => match char::from(first).to_digit(16) {
                // Fifteen digits are far above any limit and far below an overflow.
                Some(digit) if digits < 15 => {
                    (State::ChunkSize { size: size << 4 | u64::from(digit), digits: digits + 1 }, 1)
                }
                None if first == b'\r' && digits > 0 => (State::ChunkSizeEnd { size }, 1),
                _ => return Err(Refused::Chunk),
            },
            State::ChunkSizeEnd { size: 0 } if first == b'\n' => (State::LastReturn, 1),
            State::ChunkSizeEnd { size } if first == b'\n' => (State::Chunk { left: size }, 1),
            State::Chunk { left } => {
                let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - taken as u64;
                (if left == 0 { State::ChunkReturn } else { State::Chunk { left } }, taken)
            }
            State::ChunkReturn if first == b'\r' => (State::ChunkEnd, 1),
            State::ChunkEnd if first == b'\n' => (State::ChunkSize { size: 0, digits: 0 }, 1),
            State::LastReturn if first == b'\r' => (State::LastEnd, 1),
            State::LastEnd if first == b'\n' => (State::Head { seen: 0 }, 1),
            State::ChunkSizeEnd { .. } | State::ChunkReturn | State::ChunkEnd | State::LastReturn | State::LastEnd => {
                return Err(Refused::Chunk);
            }
        };
        self.state = state;
        Ok(taken)
    }
}
