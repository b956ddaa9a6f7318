//! Bodies of the fuzz targets for the parsers of `tbi-personas`; see `bench.rs`.

use rustls::pki_types::ServerName;
use tbi_bench::control::personas::{KeyKind, PersonasConfig};
use tbi_personas::ca::Authority;
use tbi_personas::config::Config;
use tbi_personas::fuzz_entry;

/// Name and body of a target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target here, by the name of its corpus folder.
pub const TARGETS: &[Target] =
    &[("personas_ca", ca), ("personas_config", config), ("personas_hello", hello), ("personas_request", request)];

/// A time at which the CA of the corpus is valid: 2027.
const NOW: i64 = 1_800_000_000;

/// Certificate and key file, parted by a NUL byte: refused with a sentence, or loaded as they are.
/// The key in the corpus was made for it and is trusted nowhere.
pub fn ca(data: &[u8]) {
    thread_local!(static DIR: tempfile::TempDir = tempfile::tempdir().expect("a temporary directory"));
    let split = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let (certificate, key) = data.split_at(split);
    DIR.with(|dir| {
        std::fs::write(dir.path().join("ca.pem"), certificate).expect("a temporary file");
        std::fs::write(dir.path().join("ca.key"), key.get(1..).unwrap_or_default()).expect("a temporary file");
        match Authority::open(dir.path(), KeyKind::EcdsaP256, NOW) {
            Ok(authority) => {
                assert_eq!(authority.pem().as_bytes(), certificate);
                assert!(authority.not_after() > NOW);
            }
            Err(error) => assert!(error.to_string().contains("ca.")),
        }
    });
}

/// A configuration is refused with a sentence, or each of its names can be asked for in a ClientHello.
pub fn config(data: &[u8]) {
    let Ok(words) = serde_json::from_slice::<PersonasConfig>(data) else { return };
    match Config::check(words.clone()) {
        Ok(_config) => {
            for site in words.sites {
                let name = ServerName::try_from(site.server_name.as_str());
                assert!(matches!(name, Ok(ServerName::DnsName(_))), "{}", site.server_name);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// TLS records a client opens with: no hello, or one with a fingerprint.
pub fn hello(data: &[u8]) {
    if let Some(fingerprint) = fuzz_entry::hello_fingerprint(data) {
        assert!(fingerprint.starts_with('t') && fingerprint.len() >= 22, "{fingerprint}");
    }
}

/// Path and token header, parted by a NUL byte.
pub fn request(data: &[u8]) {
    let split = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let (path, token) = data.split_at(split);
    if let Some(length) = std::str::from_utf8(path).ok().and_then(fuzz_entry::object_len) {
        assert!(path.starts_with(b"/o/") && length > 0);
    }
    let token = token.get(1..).unwrap_or_default();
    if let Some(parsed) = fuzz_entry::token(token) {
        assert_eq!(&parsed.to_hex()[..], token.to_ascii_lowercase());
    }
}
