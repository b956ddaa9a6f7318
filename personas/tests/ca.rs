//! The persona CA through its life: made, kept, and refused with one sentence when it cannot be used.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{command, words};
use tbi_bench::control::personas::KeyKind;
use tbi_personas::ca::{Authority, CaError};
use x509_parser::prelude::{FromDer, X509Certificate};

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

fn refused(dir: &Path, kind: KeyKind, now: i64) -> CaError {
    Authority::open(dir, kind, now).map(|_authority| ()).unwrap_err()
}

#[test]
fn it_is_made_once_and_kept() {
    for kind in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Rsa2048, KeyKind::Rsa4096] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("new");
        let first = Authority::open(&dir, kind, NOW).unwrap();
        let again = Authority::open(&dir, kind, NOW + DAY).unwrap();
        assert_eq!((first.pem(), first.not_after()), (again.pem(), again.not_after()));
        assert_eq!(std::fs::metadata(dir.join("ca.key")).unwrap().permissions().mode() & 0o777, 0o600);
        let (_, certificate) = X509Certificate::from_der(first.der()).unwrap();
        assert!(certificate.is_ca());
        assert_eq!(certificate.validity().not_before.timestamp(), NOW - DAY);
        let left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}

#[test]
fn a_start_cut_between_key_and_certificate_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    Authority::open(dir.path(), KeyKind::EcdsaP256, NOW).unwrap();
    std::fs::remove_file(dir.path().join("ca.pem")).unwrap();
    std::fs::write(dir.path().join("ca.new"), "half a fi").unwrap();
    Authority::open(dir.path(), KeyKind::EcdsaP256, NOW).unwrap();
}

#[test]
fn time_makes_it_unusable() {
    let dir = tempfile::tempdir().unwrap();
    let not_after = Authority::open(dir.path(), KeyKind::EcdsaP256, NOW).unwrap().not_after();
    let said = |now| refused(dir.path(), KeyKind::EcdsaP256, now).to_string();
    let expired = said(not_after);
    assert!(expired.contains("ca.pem expired on 20") && expired.contains("remove ca.pem and ca.key"), "{expired}");
    assert!(said(not_after - 29 * DAY).contains("before the 30 days of leaves"));
    Authority::open(dir.path(), KeyKind::EcdsaP256, not_after - 31 * DAY).unwrap();
    assert!(said(NOW - 2 * DAY).contains("set this machine's clock"));
}

#[test]
fn damaged_and_foreign_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (pem, key) = (dir.path().join("ca.pem"), dir.path().join("ca.key"));
    Authority::open(dir.path(), KeyKind::EcdsaP256, NOW).unwrap();
    let (good_pem, good_key) = (std::fs::read(&pem).unwrap(), std::fs::read(&key).unwrap());
    let other = tempfile::tempdir().unwrap();
    Authority::open(other.path(), KeyKind::EcdsaP256, NOW).unwrap();

    std::fs::copy(other.path().join("ca.key"), &key).unwrap();
    assert!(matches!(refused(dir.path(), KeyKind::EcdsaP256, NOW), CaError::Mismatch(path) if path == key));
    std::fs::write(&key, "no key").unwrap();
    assert!(matches!(refused(dir.path(), KeyKind::EcdsaP256, NOW), CaError::Malformed { path, .. } if path == key));
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(refused(dir.path(), KeyKind::EcdsaP256, NOW), CaError::KeyMissing(path) if path == pem));
    std::fs::create_dir(&key).unwrap();
    assert!(matches!(refused(dir.path(), KeyKind::EcdsaP256, NOW), CaError::Read { path, .. } if path == key));
    std::fs::remove_dir(&key).unwrap();
    std::fs::write(&key, &good_key).unwrap();
    for cut in 0..good_pem.len() {
        std::fs::write(&pem, &good_pem[..cut]).unwrap();
        if let Err(error) = Authority::open(dir.path(), KeyKind::EcdsaP256, NOW) {
            assert!(matches!(&error, CaError::Malformed { path, .. } if *path == pem), "{error}");
        } else {
            // Only the line feed at the very end may be missing.
            assert!(cut >= good_pem.len() - 2, "{cut}");
        }
    }
    std::fs::write(&pem, &good_pem).unwrap();
    let other_kind = refused(dir.path(), KeyKind::Rsa2048, NOW).to_string();
    assert!(other_kind.contains("EcdsaP256") && other_kind.contains("Rsa2048"), "{other_kind}");
    // Nothing of all this changed what was there.
    assert_eq!((std::fs::read(&pem).unwrap(), std::fs::read(&key).unwrap()), (good_pem, good_key));
}

#[test]
fn the_program_says_it_in_one_sentence_and_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let (config, socket, ca) =
        (dir.path().join("personas.json"), dir.path().join("control.sock"), dir.path().join("ca"));
    let run = || {
        let output = command(&config, &socket).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.lines().filter(|line| line.contains("ERROR")).count(), 1, "{said}");
        said
    };
    assert!(run().contains("cannot read the configuration"));
    std::fs::write(&config, serde_json::to_vec(&words(&ca, KeyKind::EcdsaP256)).unwrap()).unwrap();
    // Made so long ago that it is over.
    Authority::open(&ca, KeyKind::EcdsaP256, 1_000_000_000).unwrap();
    let said = run();
    assert!(said.contains("ca.pem expired on 2011-") && said.contains("remove ca.pem and ca.key"), "{said}");
    std::fs::write(&config, "{\"sites\":[]}").unwrap();
    assert!(run().contains("personas.json is not understood"));
}
