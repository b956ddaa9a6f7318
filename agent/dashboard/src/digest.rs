//! SHA-256 as the agent's words have it: by it tokens, sessions and certificates are known. Nothing else is hashed here.

use aws_lc_rs::digest;
use tbi_api::access::Digest;

/// SHA-256 of the bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    Digest::of_bytes(&hash)
}
