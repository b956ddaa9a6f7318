//! The door's parsers as the fuzz targets (`tests/fuzz/src/dashboard.rs`) see them: small functions without a decision of their own. No program
//! calls them; their form changes when a target needs it.

use std::time::Duration;

pub use crate::access::fuzzing::{Authorization, Signer, authorization, session_cookie};
use crate::guard::Framer;
use crate::limits::rate::Window;
use crate::limits::{Limits, RateLimiter};
use crate::{certs, paths};

/// What the guard made of the bytes of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// So many bytes from the front went on.
    pub passed: usize,
    /// Where requests ended that went on whole.
    pub ends: Vec<usize>,
    /// Code of the refusal that ended it.
    pub refused: Option<&'static str>,
}

/// Shows a connection's bytes to the guard in pieces, as they may arrive.
#[must_use]
pub fn guard<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Guarded {
    let mut framer = Framer::new();
    let (mut held, mut guarded) = (Vec::new(), Guarded { passed: 0, ends: Vec::new(), refused: None });
    for piece in pieces {
        held.extend_from_slice(piece);
        let look = framer.look(&held);
        held.drain(..look.pass);
        guarded.passed += look.pass;
        if look.pass > 0 && framer.at_head() && !framer.inside_head() {
            guarded.ends.push(guarded.passed);
        }
        if let Some(refused) = look.refused {
            guarded.refused = Some(refused.sentence());
            break;
        }
    }
    guarded
}

/// Whether a path is one that everybody reads alike.
#[must_use]
pub fn path_is_plain(path: &str) -> bool {
    paths::check(path).is_ok()
}

/// Judges a certificate that somebody brings: code and sentence of the refusal.
///
/// # Errors
/// The refusal.
pub fn brought(chain: &[u8], key: &[u8]) -> Result<(), (&'static str, String)> {
    let judged = certs::judge(chain, key, &crate::tls::provider(), jiff::Timestamp::UNIX_EPOCH);
    judged.map(|_certified| ()).map_err(|unfit| (unfit.code(), unfit.to_string()))
}

/// Limits of two windows, counted for few keys.
#[derive(Debug)]
pub struct Counters(RateLimiter<u8>);

impl Counters {
    /// Requests and length of the short window and of the long one, and room for so many keys.
    #[must_use]
    pub fn new(short: (u32, Duration), long: (u32, Duration), room: usize) -> Self {
        let window = |(requests, length)| Window { requests, length };
        Self(RateLimiter::new(Limits { short: window(short), long: window(long) }, room))
    }

    /// Whether a request of `key` is admitted when the clock reads so, and after how many seconds the next one may be.
    pub fn take(&mut self, key: u8, reading: Duration) -> (bool, u64) {
        let standing = self.0.take(&key, reading);
        (standing.admitted, standing.reset_seconds())
    }
}
