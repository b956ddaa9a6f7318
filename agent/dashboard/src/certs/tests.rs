//! Tests of the certificates: what is kept, what is made anew, and the sentence for each way in which a brought one can be wrong.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustls::crypto::aws_lc_rs::default_provider;

use super::authority::Pair;
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
    for file in ["ca.crt", "ca.key", "door.crt", "door.key"] {
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
    let (a, b, none) = (names("a"), names("b"), Names::default());
    assert!(authority::leaf_is_usable(&leaf, &ca, &Wanted { fixed: &a, learned: None }, day(700)));
    assert!(!authority::leaf_is_usable(&leaf, &ca, &Wanted { fixed: &a, learned: None }, day(770)), "ends soon");
    assert!(!authority::leaf_is_usable(&leaf, &ca, &Wanted { fixed: &a, learned: None }, day(-3)), "not yet valid");
    assert!(!authority::leaf_is_usable(&leaf, &ca, &Wanted { fixed: &b, learned: None }, now), "a name is missing");
    assert!(
        authority::leaf_is_usable(&leaf, &ca, &Wanted { fixed: &none, learned: None }, now),
        "nothing was learned yet"
    );
    assert!(!authority::leaf_is_usable(&leaf, &ca, &Wanted { fixed: &none, learned: Some(&none) }, now), "too many");
    assert!(authority::ca_is_usable(&ca, day(3600)) && !authority::ca_is_usable(&ca, day(3660)));
    let other = authority::make_ca(now).unwrap();
    assert!(!authority::leaf_is_usable(&leaf, &other, &Wanted { fixed: &a, learned: None }, now), "of another CA");
}

#[test]
fn a_broken_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let first = load(dir.path(), names("a"));
    fs::write(dir.path().join("door.key"), b"\xff nonsense").unwrap();
    assert_ne!(load(dir.path(), names("a")).leaf_fingerprint(), first.leaf_fingerprint());
}

fn brought(chain: &str, key: &str, now: Timestamp) -> Result<CertifiedKey, Unfit> {
    judge(chain.as_bytes(), key.as_bytes(), &default_provider(), now)
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
    let refused = |chain: &str, key: &str, now| brought(chain, key, now).unwrap_err();
    assert_eq!(refused(&turned, &ca.key, now), Unfit::Order(1));
    assert_eq!(refused(&chain, &ca.key, now), Unfit::OtherKey);
    assert!(matches!(refused(&chain, &leaf.key, day(900)), Unfit::Expired { place: 1, .. }));
    assert!(matches!(refused(&chain, &leaf.key, day(-9)), Unfit::NotYet { place: 1, .. }));
    assert_eq!(refused("", &leaf.key, now), Unfit::NoCertificate);
    assert_eq!(refused(&chain[..chain.len() - 40], &leaf.key, now), Unfit::Damaged);
    assert_eq!(refused(&leaf.certificate.repeat(11), &leaf.key, now), Unfit::LongChain(11));
    assert_eq!(refused(&chain, "", now), Unfit::NoKey);
    let sealed = leaf.key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    assert_eq!(refused(&chain, &sealed, now), Unfit::EncryptedKey);
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\r\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    assert_eq!(refused(&chain, old, now), Unfit::EncryptedKey);
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(refused(no_certificate, &leaf.key, now), Unfit::Unusable(_)));
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

/// Takes a pair as the API would.
fn take(door: &Certificates, pair: &Pair) {
    let candidate = door.judge(&pair.certificate, Some(Hidden::new(&pair.key))).unwrap();
    door.take(&candidate).unwrap();
    assert_eq!((door.said().leaf_sha256, door.said().origin), (candidate.leaf, Origin::Brought));
}

#[test]
fn names_that_are_learned_make_another_leaf_once_and_stay_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = load(dir.path(), names("a"));
    let before = first.said();
    assert_eq!(before.names, ["a", "tbi.local", "127.0.0.1"]);
    let learned = Names::parse(&["bench-1".to_owned(), "192.0.2.7".to_owned()]).unwrap();
    first.learn(learned.clone());
    first.reload().unwrap();
    let after = first.said();
    assert_eq!(after.names, ["a", "bench-1", "tbi.local", "127.0.0.1", "192.0.2.7"]);
    assert_eq!((&after.ca_sha256, after.origin), (&before.ca_sha256, Origin::Own));
    first.reload().unwrap();
    assert_eq!(first.said(), after, "the same names are the same leaf");
    // A door that was started anew and has not heard the agent shows no other leaf meanwhile.
    let again = load(dir.path(), names("a"));
    assert_eq!(again.said(), after);
    again.learn(learned);
    again.reload().unwrap();
    assert_eq!(again.said(), after);
    // The box moved: the address of before is another's now.
    again.learn(Names::parse(&["198.51.100.9".to_owned()]).unwrap());
    again.reload().unwrap();
    assert_eq!(again.said().names, ["a", "tbi.local", "127.0.0.1", "198.51.100.9"]);
}

#[test]
fn what_was_brought_is_shown_after_a_restart_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let door = load(dir.path(), names("a"));
    let own = door.said();
    let ca = authority::make_ca(now).unwrap();
    take(&door, &authority::make_leaf(&ca, &names("b"), now).unwrap());
    assert_eq!(fs::metadata(dir.path().join("brought.json")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!((door.said().names, door.own_leaf()), (names("b").words(), own.leaf_sha256.clone()));
    let again = load(dir.path(), names("a"));
    assert_eq!(again.said(), door.said());
    again.forget_brought().unwrap();
    assert_eq!(again.said(), own);
    assert_eq!(load(dir.path(), names("a")).said(), own);
}

#[test]
fn a_brought_certificate_that_was_damaged_on_the_disk_gives_way_to_the_doors_own() {
    let dir = tempfile::tempdir().unwrap();
    let own = load(dir.path(), names("a")).said();
    for text in ["", "{\"chain\": \"a secret\"", "\u{0}", "{\"chain\": \"\", \"key\": \"\"}"] {
        fs::write(dir.path().join("brought.json"), text).unwrap();
        let said = load(dir.path(), names("a")).said();
        let trouble = said.trouble.clone().unwrap();
        assert!(!trouble.contains("secret"), "{trouble}");
        assert_eq!(DoorCertificate { trouble: None, ..said }, own);
    }
}

#[test]
fn a_request_is_answered_without_a_key_and_a_later_one_voids_it() {
    let dir = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let door = load(dir.path(), names("a"));
    let answer = |request: &str| {
        let ca = authority::make_ca(now).unwrap();
        let issuer =
            rcgen::Issuer::from_ca_cert_pem(&ca.certificate, rcgen::KeyPair::from_pem(&ca.key).unwrap()).unwrap();
        rcgen::CertificateSigningRequestParams::from_pem(request).unwrap().signed_by(&issuer).unwrap().pem()
    };
    let first = answer(&door.request(&door.names()).unwrap());
    assert!(door.has_request());
    assert_eq!(fs::metadata(dir.path().join("request.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let second = answer(&door.request(&Names::parse(&["*.bench.test".to_owned()]).unwrap()).unwrap());
    assert!(matches!(door.judge(&first, None), Err(CertError::Unfit(Unfit::OtherKey))));
    door.take(&door.judge(&second, None).unwrap()).unwrap();
    assert!(!door.has_request(), "it was answered");
    assert_eq!(door.said().names, ["*.bench.test"]);
    // The same key again, as when a CA renews without another request.
    door.take(&door.judge(&second, None).unwrap()).unwrap();
    door.forget_brought().unwrap();
    assert!(matches!(door.judge(&second, None), Err(CertError::NoRequest)));
}
