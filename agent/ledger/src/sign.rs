//! Signatures of the node: P-256 with SHA-256. The ledger asks for them through [`Signer`]; where the private key lives is the agent's
//! business. Verification needs only the public key and is used offline, too.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use crate::bytes::{Hash, to_hex};

/// How a SubjectPublicKeyInfo of P-256 with an uncompressed point begins (RFC 5480 §2); the point's 64 bytes follow the final 0x04.
const P256: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// The node's key, as the agent holds it.
pub trait Signer {
    /// SubjectPublicKeyInfo (DER) of the P-256 key.
    fn public_key(&self) -> &[u8];

    /// ECDSA with SHA-256 over `message`, as ASN.1.
    ///
    /// # Errors
    /// [`SignError`] when the key cannot be used.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Short name of the key; computed from it, so that it cannot name another one.
    fn key_id(&self) -> String {
        key_id(self.public_key())
    }
}

/// The node's key did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the node key cannot sign ({0}); check the secrets of the box and restart the agent")]
pub struct SignError(pub String);

/// First half of the SHA-256 of the SubjectPublicKeyInfo, in hexadecimal digits.
#[must_use]
pub fn key_id(public_key: &[u8]) -> String {
    to_hex(&Hash::of(public_key).0[..16])
}

/// Whether `signature` over `message` is of the P-256 key with this SubjectPublicKeyInfo (DER).
#[must_use]
pub fn is_signed_by(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    // Only this one spelling of the key is taken: a second one would be a second key id for the same key.
    let point = public_key.get(P256.len() - 1..).filter(|point| point.len() == 65 && public_key.starts_with(&P256));
    point.is_some_and(|point| UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature).is_ok())
}
