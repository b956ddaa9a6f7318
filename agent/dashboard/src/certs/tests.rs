//! Tests of the certificates: what is kept, what is made anew, and the sentence for each way in which a brought one can be wrong.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::PermissionsExt as _;

use rustls::crypto::aws_lc_rs::default_provider;

use super::*;

fn names(host: &str) -> Names {
    Names { hosts: [host.to_owned(), "tbi.local".to_owned()].into(), addresses: ["127.0.0.1".parse().unwrap()].into() }
}

fn load(dir: &Path, names: Names) -> Arc<Certificates> {
    Certificates::load(dir, names, None, Arc::new(default_provider())).unwrap()
}

#[test]
fn ca_and_leaf_survive_a_restart_and_a_new_name_changes_the_leaf_only() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("door");
    let first = load(&state, names("a"));
    for file in [CA.0, CA.1, LEAF.0, LEAF.1] {
        assert_eq!(fs::metadata(state.join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let again = load(&state, names("a"));
    assert_eq!((again.ca_pem(), again.leaf_fingerprint()), (first.ca_pem(), first.leaf_fingerprint()));
    let renamed = load(&state, names("b"));
    assert_eq!(renamed.ca_der(), first.ca_der());
    assert_ne!(renamed.leaf_fingerprint(), first.leaf_fingerprint());
}

#[test]
fn a_leaf_is_renewed_before_it_ends_and_a_ca_when_it_has() {
    let now = Timestamp::now();
    let day = |days: i64| now + jiff::SignedDuration::from_hours(24 * days);
    let ca = authority::make_ca(now).unwrap();
    let leaf = authority::make_leaf(&ca, &names("a"), now).unwrap();
    assert!(authority::leaf_is_usable(&leaf, &ca, &names("a"), day(700)));
    assert!(!authority::leaf_is_usable(&leaf, &ca, &names("a"), day(770)), "ends soon");
    assert!(!authority::leaf_is_usable(&leaf, &ca, &names("a"), day(-3)), "not yet valid");
    assert!(authority::ca_is_usable(&ca, day(3600)) && !authority::ca_is_usable(&ca, day(3660)));
    let other = authority::make_ca(now).unwrap();
    assert!(!authority::leaf_is_usable(&leaf, &other, &names("a"), now), "of another CA");
}

#[test]
fn a_broken_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let first = load(dir.path(), names("a"));
    fs::write(dir.path().join(LEAF.1), b"\xff nonsense").unwrap();
    assert_ne!(load(dir.path(), names("a")).leaf_fingerprint(), first.leaf_fingerprint());
}

/// A brought certificate made from parts, and what the door says to it.
fn brought(chain: &str, key: &str, now: Timestamp) -> Result<CertifiedKey, CertError> {
    let dir = tempfile::tempdir().unwrap();
    let brought = Brought { chain: dir.path().join("chain.pem"), key: dir.path().join("key.pem") };
    fs::write(&brought.chain, chain).unwrap();
    fs::write(&brought.key, key).unwrap();
    brought.check(&default_provider(), now)
}

#[test]
fn a_brought_certificate_is_judged_with_a_sentence() {
    let now = Timestamp::now();
    let day = |days: i64| now + jiff::SignedDuration::from_hours(24 * days);
    let ca = authority::make_ca(now).unwrap();
    let leaf = authority::make_leaf(&ca, &names("a"), now).unwrap();
    let chain = format!("{}{}", leaf.certificate, ca.certificate);
    assert_eq!(brought(&chain, &leaf.key, now).unwrap().cert.len(), 2);
    let turned = format!("{}{}", ca.certificate, leaf.certificate);
    assert!(matches!(brought(&turned, &ca.key, now), Err(CertError::Order { place: 1, .. })));
    assert!(matches!(brought(&chain, &ca.key, now), Err(CertError::OtherKey { .. })));
    assert!(matches!(brought(&chain, &leaf.key, day(900)), Err(CertError::Expired { .. })));
    assert!(matches!(brought(&chain, &leaf.key, day(-9)), Err(CertError::NotYet { .. })));
    assert!(matches!(brought("", &leaf.key, now), Err(CertError::NoCertificate(_))));
    assert!(matches!(brought(&chain, "", now), Err(CertError::NoKey(_))));
}

#[test]
fn a_brought_certificate_that_breaks_leaves_the_old_one_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let ca = authority::make_ca(now).unwrap();
    let brought = Brought { chain: dir.path().join("chain.pem"), key: dir.path().join("key.pem") };
    let put = |pair: &Pair| {
        fs::write(&brought.chain, &pair.certificate).unwrap();
        fs::write(&brought.key, &pair.key).unwrap();
    };
    put(&authority::make_leaf(&ca, &names("a"), now).unwrap());
    let provider = Arc::new(default_provider());
    let door = Certificates::load(&dir.path().join("s"), names("a"), Some(brought.clone()), provider).unwrap();
    let first = door.leaf_fingerprint();
    fs::write(&brought.key, "").unwrap();
    assert!(door.reload().is_err());
    assert_eq!(door.leaf_fingerprint(), first);
    put(&authority::make_leaf(&ca, &names("b"), now).unwrap());
    door.reload().unwrap();
    assert_ne!(door.leaf_fingerprint(), first);
}
