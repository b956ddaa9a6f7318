//! Bodies of the fuzz targets for what `tbi-engine` parses besides the codecs; see `bench.rs`.

use tbi_bench::control::engine::{ProbeOrder, TrialOrder};
use tbi_engine::order::Trial;
use tbi_engine::probe::Plan;
use tbi_engine::tls::issuer::{issuer, subject};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Name and body of a target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target here, by the name of its corpus folder.
pub const TARGETS: &[Target] = &[("engine_issuer", certificate_names), ("engine_order", order)];

/// The short walk to a certificate's names never finds others than a whole parser, which stops inside a name at what it does not
/// understand.
pub fn certificate_names(data: &[u8]) {
    let (issuer, subject) = (issuer(data), subject(data));
    let Ok((_rest, certificate)) = X509Certificate::from_der(data) else { return };
    assert!(issuer.is_none_or(|name| name.starts_with(certificate.issuer().as_raw())));
    assert!(subject.is_none_or(|name| name.starts_with(certificate.subject().as_raw())));
}

/// An order, for a trial or for probes, is refused with a sentence or can be started.
pub fn order(data: &[u8]) {
    if let Ok(order) = serde_json::from_slice::<TrialOrder>(data)
        && let Err(error) = Trial::new(order)
    {
        assert!(!error.to_string().is_empty() && !error.code().is_empty());
    }
    if let Ok(order) = serde_json::from_slice::<ProbeOrder>(data)
        && let Err(error) = Plan::new(order)
    {
        assert!(!error.to_string().is_empty());
    }
}
