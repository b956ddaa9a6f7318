//! What stands before hyper on an HTTP/1.1 connection. It follows the requests through the bytes (head, body by length or in chunks), checks
//! each head ([`head`]) while it is still held back, and lets pass only what it has understood; so a request that two programs would frame
//! differently never reaches the second one.
//!
//! A refused head is replaced by a request with the method [`METHOD`], and the connection ends after it: thereby the refusal is answered in
//! its turn, as a problem document with a correlation id, logged and counted like everything else. [`Verdict`] tells the service which one
//! it is; a client that sends that method itself finds no verdict and gains nothing.
//!
//! [`Framer`] is the pure core; [`io`] puts it into a stream.

mod framer;
pub(crate) mod head;
mod io;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

pub(crate) use framer::Framer;
#[cfg(test)]
use framer::Look;
pub(crate) use head::Refused;
pub(crate) use io::Guarded;

/// Method of the request that stands for a refused one.
pub(crate) const METHOD: &str = "REFUSED";
const STAND_IN: &[u8] = b"REFUSED / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// Why the last request of a connection is refused, once it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict(Arc<AtomicU8>);

impl Verdict {
    fn set(&self, refused: Refused) {
        self.0.store(refused as u8, Ordering::Release);
    }

    pub(crate) fn read(&self) -> Option<Refused> {
        Refused::of_number(self.0.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests;
