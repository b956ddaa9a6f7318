//! What the tests of the ledger share: a node key, an issuer of licences, a clock, and short words for opening and noting.
#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use jiff::Timestamp;
use tbi_ledger::audit::{Entry, NewEntry};
use tbi_ledger::licence::{Document, Envelope, FORMAT, Issuers, issuer_id, signed_message};
use tbi_ledger::{Bytes, Found, Ledger, SignError, Signer};

/// A node key.
pub(crate) struct Node {
    pair: EcdsaKeyPair,
    public: Vec<u8>,
}

impl Node {
    pub(crate) fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap().as_ref().to_vec();
        Self { pair, public }
    }

    /// A key that a second process has, too.
    pub(crate) fn of(pkcs8: &[u8]) -> Self {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).unwrap();
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap().as_ref().to_vec();
        Self { pair, public }
    }

    pub(crate) fn pkcs8() -> Vec<u8> {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
        made.as_ref().to_vec()
    }
}

impl Signer for Node {
    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        signature.map(|it| it.as_ref().to_vec()).map_err(|error| SignError(error.to_string()))
    }
}

/// A key that is there and does not sign.
pub(crate) struct Mute(pub(crate) Node);

impl Signer for Mute {
    fn public_key(&self) -> &[u8] {
        self.0.public_key()
    }

    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, SignError> {
        Err(SignError("the token is locked".to_owned()))
    }
}

/// Who signs licences.
pub(crate) struct Issuer(Ed25519KeyPair);

impl Issuer {
    pub(crate) fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }

    pub(crate) fn known(&self) -> Issuers {
        Issuers::new(vec![self.key()])
    }

    pub(crate) fn sign_text(&self, envelope: &str) -> String {
        let signature = Bytes(self.0.sign(&signed_message(envelope)).as_ref().to_vec());
        let document = Document {
            format: FORMAT.to_owned(),
            issuer: issuer_id(&self.key()),
            envelope: envelope.to_owned(),
            signature,
        };
        serde_json::to_string(&document).unwrap()
    }

    pub(crate) fn sign(&self, envelope: &Envelope) -> String {
        self.sign_text(&serde_json::to_string(envelope).unwrap())
    }
}

/// January to December 2026, 30 days of grace, two features, 1,000 units, two runs at once.
pub(crate) fn envelope(id: &str) -> Envelope {
    Envelope {
        id: id.to_owned(),
        customer: "Example AG".to_owned(),
        features: vec!["decrypt".to_owned(), "campaign".to_owned()],
        concurrency: 2,
        not_before: at("2026-01-01T00:00:00Z"),
        expires: at("2027-01-01T00:00:00Z"),
        grace_days: 30,
        tsu: 1000,
        developer: false,
    }
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn now() -> Timestamp {
    at("2026-06-15T12:00:00.25Z")
}

/// Opens a ledger on a disk that works.
pub(crate) fn open(dir: &Path) -> Ledger {
    let opened = Ledger::open(dir, now());
    assert!(matches!(opened.found, Found::Fresh | Found::Existing), "{:?}", opened.found);
    opened.ledger
}

/// Notes something.
pub(crate) fn note(ledger: &mut Ledger, node: &dyn Signer, target: &str, when: Timestamp) -> Entry {
    let detail = serde_json::json!({"before": null, "after": {"name": target, "text": "ä\"\\\n"}});
    let entry = NewEntry {
        actor: "ada",
        role: "administrator",
        source: "192.0.2.7",
        action: "settings.change",
        target,
        outcome: "done",
        detail: &detail,
        correlation: "c-1",
    };
    ledger.append(&entry, node, when).unwrap()
}
