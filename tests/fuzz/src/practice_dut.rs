//! Bodies of the fuzz targets for the parsers of `tbi-practice-dut`; see `bench.rs`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::CertificateDer;
use tbi_bench::control::personas::KeyKind;
use tbi_bench::control::practice_dut::{Behaviour, Forge, PracticeDutConfig};
use tbi_practice_dut::counters::Tally;
use tbi_practice_dut::delay::{line, message};
use tbi_practice_dut::rules::{self, Hold};
use tbi_practice_dut::tls::ca;
use tbi_practice_dut::tls::forge::{Forger, Subject};
use tbi_practice_dut::{behaviour, config, fuzz_entry};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Name and body of a target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target here, by the name of its corpus folder.
pub const TARGETS: &[Target] = &[
    ("dut_behaviour", behaviour),
    ("dut_ca", ca_files),
    ("dut_config", place),
    ("dut_hello", hello),
    ("dut_packets", packets),
    ("dut_upstream_leaf", upstream_leaf),
];

/// Names the gateway copies at most.
const MAX_NAMES: usize = 256;

/// A behaviour is refused with a sentence or made into rules.
pub fn behaviour(data: &[u8]) {
    let Ok(behaviour) = serde_json::from_slice::<Behaviour>(data) else { return };
    match behaviour::check(&behaviour) {
        Ok(()) => check_rules(
            &PracticeDutConfig {
                inside_interfaces: vec!["in0".to_owned()],
                outside_interfaces: vec!["out0".to_owned()],
                persona_ca_file: String::new(),
                ca_dir: String::new(),
                key: KeyKind::EcdsaP256,
                workers: 1,
            },
            &behaviour,
        ),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A configuration is refused with a sentence or its interfaces are safe in rules.
pub fn place(data: &[u8]) {
    if let Ok(words) = serde_json::from_slice::<PracticeDutConfig>(data) {
        let everything = r#"{"tcp":"decrypt","quic":"block_active","drop_per_mille":5,"delay":"5ms"}"#;
        check_rules(&words, &serde_json::from_str(everything).expect("a behaviour"));
    }
}

/// Rules of a configuration that is accepted have only names that cannot end the quotes they stand in.
fn check_rules(words: &PracticeDutConfig, behaviour: &Behaviour) {
    let place = match config::check(words) {
        Ok(place) => place,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for name in place.inside.iter().chain(&place.outside) {
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        assert!(name.to_string().chars().all(safe), "{name}");
    }
    for hold in [Hold::Nftables, Hold::Iptables] {
        let rules = rules::nftables(&place, behaviour, hold);
        assert_eq!(rules.matches('"').count() % 2, 0);
        assert_eq!(rules.matches('{').count(), rules.matches('}').count());
    }
    let restored = rules::hold_restore(&place, behaviour);
    assert!(restored.ends_with("COMMIT\n") && !restored.contains(" -i -"));
}

/// Certificate and key file, parted by a NUL byte: refused with a sentence, or loaded as they are.
/// The key in the corpus was made for it and is trusted nowhere.
pub fn ca_files(data: &[u8]) {
    thread_local!(static DIR: tempfile::TempDir = tempfile::tempdir().expect("a temporary directory"));
    let split = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let (certificate, key) = data.split_at(split);
    DIR.with(|dir| {
        std::fs::write(dir.path().join("ca.pem"), certificate).expect("a temporary file");
        std::fs::write(dir.path().join("ca.key"), key.get(1..).unwrap_or_default()).expect("a temporary file");
        match ca::open(dir.path(), KeyKind::EcdsaP256) {
            Ok(ca) => assert!(ca.pem.as_bytes() == certificate && ca.not_before < ca.not_after),
            Err(error) => assert!(error.to_string().contains("ca.")),
        }
    });
}

/// For every name rustls lets through in a ClientHello a leaf can be forged.
pub fn hello(data: &[u8]) {
    let Some(name) = fuzz_entry::hello_name(data) else { return };
    let subject = Subject::Name(name.unwrap_or_default(), IpAddr::from([192, 0, 2, 1]));
    with_forger(|forger| forger.leaf(Forge::Cold, subject).expect("a leaf"));
}

/// Messages of the netfilter queue, parted into datagrams by a length byte, and the counters of its rules.
pub fn packets(data: &[u8]) {
    let _understood = fuzz_entry::counters(data);
    let (now, wall) = (Instant::now(), SystemTime::now());
    let (mut line, mut held) = (line::Line::default(), 0_usize);
    let mut rest = data;
    while let Some((&length, after)) = rest.split_first() {
        let (datagram, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        if let message::Message::Packet(packet) = message::parse(datagram) {
            let arrived = line::arrival(now, wall, packet.arrived);
            assert!(arrived <= now && now - arrived < Duration::from_secs(1));
            line.push(packet.id, arrived);
            held += 1;
        }
    }
    // All of them arrived by now, so without a delay all of them are due.
    while line.pop_due(now).is_some() {
        held -= 1;
    }
    assert_eq!(held, 0);
}

/// From any certificate a server sends, a leaf is forged with the names it was issued for, or the refusal is a sentence.
pub fn upstream_leaf(data: &[u8]) {
    let upstream = Subject::Upstream(CertificateDer::from(data.to_vec()));
    let forged = match with_forger(|forger| forger.leaf(Forge::Cold, upstream)) {
        Ok(forged) => forged,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let leaf = |der| X509Certificate::from_der(der).expect("a certificate").1;
    let (original, copy) = (leaf(data), leaf(&forged.cert[0]));
    assert_eq!(names(&copy), names(&original));
    assert_eq!(copy.validity().not_after.timestamp(), original.validity().not_after.timestamp());
}

/// Host names and addresses a certificate was issued for.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().expect("names that can be read");
    let names = extension.iter().flat_map(|extension| &extension.value.general_names).take(MAX_NAMES);
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(octets) if matches!(octets.len(), 4 | 16) => Some(format!("{octets:?}")),
            _ => None,
        })
        .collect()
}

fn with_forger<R>(work: impl FnOnce(&Forger) -> R) -> R {
    thread_local!(static FORGER: Forger = {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ca = ca::open(dir.path(), KeyKind::EcdsaP256).expect("a new CA");
        Forger::new(ca, KeyKind::EcdsaP256, Arc::new(Tally::default())).expect("a leaf key")
    });
    FORGER.with(work)
}
