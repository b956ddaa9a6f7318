//! Bodies of the fuzz targets for what `tbi-engine` parses besides the codecs; see `bench.rs`.

use tbi_bench::control::engine::{ProbeOrder, TrialOrder};
use tbi_engine::order::Trial;
use tbi_engine::probe::Plan;
use tbi_engine::sources::{Family, Sources};
use tbi_engine::tls::issuer::{issuer, subject};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Every target here, by the name of its corpus folder.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[("engine_issuer", certificate_names), ("engine_order", order)];

/// The short walk to a certificate's names never finds others than a whole parser.
pub fn certificate_names(data: &[u8]) {
    let (issuer, subject) = (issuer(data), subject(data));
    let Ok((_rest, certificate)) = X509Certificate::from_der(data) else { return };
    assert!(issuer.is_none_or(|name| name == certificate.issuer().as_raw()));
    assert!(subject.is_none_or(|name| name == certificate.subject().as_raw()));
}

/// An order, for a trial or for probes, is refused with a sentence or can be started; sources it names can be walked.
pub fn order(data: &[u8]) {
    if let Ok(order) = serde_json::from_slice::<TrialOrder>(data) {
        match Trial::new(order) {
            Ok(trial) => {
                let mut sources = Sources::new(&trial.sources, 1, 2);
                for family in [Family::V4, Family::V6] {
                    for _ in 0..3 {
                        let address = sources.next(family);
                        let named = trial.sources.iter().any(|prefix| prefix.contains(&address));
                        assert_eq!(named, sources.has(family), "{address}");
                    }
                }
            }
            Err(error) => assert!(!error.to_string().is_empty() && !error.code().is_empty()),
        }
    }
    if let Ok(order) = serde_json::from_slice::<ProbeOrder>(data)
        && let Err(error) = Plan::new(order)
    {
        assert!(!error.to_string().is_empty());
    }
}
