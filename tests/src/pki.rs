//! Certificates for faults.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};

/// Writes a CA into `dir` (`ca.pem`, `ca.key`) whose validity ended years ago.
pub fn expired_ca(dir: &Path) {
    write(dir, "an expired persona CA", [2001, 2002]);
}

/// Writes a CA into `dir` (`ca.pem`, `ca.key`) that is valid.
pub fn authority(dir: &Path) {
    write(dir, "an authority nobody here wrote code for", [2020, 2049]);
}

fn write(dir: &Path, name: &str, [from, to]: [i32; 2]) {
    let made = (|| {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        Ok::<_, rcgen::Error>((params.self_signed(&key)?.pem(), key.serialize_pem()))
    })();
    let (certificate, key) = match made {
        Ok(pair) => pair,
        Err(error) => panic!("cannot make a certificate: {error}"),
    };
    for (file, text) in [("ca.pem", certificate), ("ca.key", key)] {
        if let Err(error) = fs::write(dir.join(file), text) {
            panic!("cannot write {file}: {error}");
        }
    }
}
