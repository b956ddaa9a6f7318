//! Ways in for the fuzz targets (`tests/fuzz/src/practice_dut.rs`) to parsers that are private otherwise. Not for production use.

use rustls::server::Acceptor;

use crate::rules::apply;
use crate::tcp::hello::Wishes;

/// What the gateway reads of the TLS records a client opens with: the name it then forges a leaf for. `None` when rustls finds no
/// whole ClientHello in them, `Some(None)` when that has no name.
#[must_use]
pub fn hello_name(mut records: &[u8]) -> Option<Option<String>> {
    let mut acceptor = Acceptor::default();
    // From a slice the records come without an I/O error, and all that rustls has room for at once.
    acceptor.read_tls(&mut records).ok()?;
    let accepted = acceptor.accept().ok()??;
    Some(Wishes::of(&accepted.client_hello()).name)
}

/// The packet counters in the words of `nft -j`; says whether they were understood.
#[must_use]
pub fn counters(json: &[u8]) -> bool {
    apply::parse_counts(json).is_ok()
}
