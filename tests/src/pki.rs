//! Certificates for faults.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};

/// Writes a CA into `dir` (`ca.pem`, `ca.key`) whose validity ended years ago.
pub fn expired_ca(dir: &Path) {
    let made = (|| {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "an expired persona CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        Ok::<_, rcgen::Error>((params.self_signed(&key)?.pem(), key.serialize_pem()))
    })();
    let (certificate, key) = match made {
        Ok(pair) => pair,
        Err(error) => panic!("cannot make a certificate: {error}"),
    };
    for (name, text) in [("ca.pem", certificate), ("ca.key", key)] {
        if let Err(error) = fs::write(dir.join(name), text) {
            panic!("cannot write {name}: {error}");
        }
    }
}
