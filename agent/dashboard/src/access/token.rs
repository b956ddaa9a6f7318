//! API tokens: `tbi_<8 characters that name it>_<52 characters of secret>`, base32 in lower case. Only the SHA-256 of the whole is stored: the
//! secret has 256 random bits, which no dictionary has.

use aws_lc_rs::error::Unspecified;
use data_encoding::BASE32_NOPAD;
use tbi_api::access::{Digest, Hidden, Role, Scope, TokenId};

use crate::digest::sha256;

const LENGTH: usize = 4 + 8 + 1 + 52;

/// A new token: the text that is shown once, its name, and what is stored of it.
pub(crate) fn new() -> Result<(Hidden, TokenId, Digest), Unspecified> {
    let (mut name, mut secret) = ([0; 5], [0; 32]);
    aws_lc_rs::rand::fill(&mut name)?;
    aws_lc_rs::rand::fill(&mut secret)?;
    let name = BASE32_NOPAD.encode(&name).to_ascii_lowercase();
    let text = format!("tbi_{name}_{}", BASE32_NOPAD.encode(&secret).to_ascii_lowercase());
    let digest = sha256(text.as_bytes());
    // Five bytes are eight characters of base32.
    name.parse().map(|id| (Hidden::new(text), id, digest)).map_err(|_error| Unspecified)
}

/// What is stored of a token, when the text has the form of one.
pub(crate) fn digest_of(text: &[u8]) -> Option<Digest> {
    let base32 = |part: &[u8]| part.iter().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(byte));
    let rest = text.strip_prefix(b"tbi_")?;
    let (name, secret) = (rest.get(..8)?, rest.get(9..)?);
    (text.len() == LENGTH && rest.get(8) == Some(&b'_') && base32(name) && base32(secret)).then(|| sha256(text))
}

/// The role for which a scope stands.
pub(crate) fn role_of(scope: Scope) -> Role {
    match scope {
        Scope::Read => Role::Viewer,
        Scope::Run => Role::Operator,
        Scope::Configure | Scope::Administer => Role::Administrator,
        Scope::Audit => Role::Auditor,
    }
}

/// Whether an account of this role may have a token with this scope.
pub(crate) fn may_grant(role: Role, scope: Scope) -> bool {
    match scope {
        Scope::Read => true,
        Scope::Run => matches!(role, Role::Operator | Role::Administrator),
        Scope::Configure | Scope::Administer => role == Role::Administrator,
        Scope::Audit => matches!(role, Role::Auditor | Role::Administrator),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_token_is_found_by_the_hash_of_the_whole() {
        let (text, id, digest) = new().unwrap();
        assert_eq!(text.reveal().len(), LENGTH);
        assert!(text.reveal().starts_with(&format!("tbi_{id}_")));
        assert_eq!(digest_of(text.reveal().as_bytes()), Some(digest.clone()));
        assert!(!format!("{text:?}").contains("tbi_"));
        let mut forged = text.reveal().as_bytes().to_vec();
        *forged.last_mut().unwrap() = if forged.ends_with(b"a") { b'b' } else { b'a' };
        assert_ne!(digest_of(&forged), Some(digest));
    }

    #[test]
    fn what_has_not_the_form_is_not_looked_up() {
        let (text, ..) = new().unwrap();
        let text = text.reveal();
        let long = format!("{text}a");
        let upper = text.to_uppercase();
        for bad in ["", "tbi_", "tbi_aaaaaaaa_", &text[..64], &text[1..], &long, &upper, &text.replace('_', "-")] {
            assert_eq!(digest_of(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(digest_of(&[0xff; LENGTH]), None);
        assert_eq!(digest_of(&vec![b'a'; 1 << 20]), None);
    }
}
