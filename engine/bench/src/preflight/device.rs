//! Pre-flight check 5: what answers on the device's API is the device.
//!
//! Judged from what it says of itself. The practice DUT is our own program, so its names are known; what it re-signs with must be the
//! authority that it names, or two programs answer in one name.

use super::Finding;

/// Vendor and model of the practice DUT.
pub const PRACTICE: (&str, &str) = ("TLSStress.Art", "practice DUT");

/// What was said on the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Maker.
    pub vendor: String,
    /// Model.
    pub model: String,
    /// Software version.
    pub version: String,
    /// SHA-256 of its CA, as it says, lower-case hex.
    pub ca_sha256: Option<String>,
    /// SHA-256 of the CA certificate that it gives, lower-case hex; `None` when it gives none.
    pub given_ca_sha256: Option<String>,
}

/// Judges what an `adapter` was told; `Err` when it was told nothing, with the sentence.
#[must_use]
pub fn judge(adapter: &str, said: Result<&Said, &str>) -> Finding {
    let remedy = "see that the device under test itself answers on its API, then run again";
    let said = match said {
        Ok(said) => said,
        Err(sentence) => return Finding::failed(sentence.trim_end_matches('.'), remedy),
    };
    let Said { vendor, model, version, ca_sha256, given_ca_sha256 } = said;
    if adapter == "practice" && (vendor.as_str(), model.as_str()) != PRACTICE {
        let (wanted_vendor, wanted_model) = PRACTICE;
        return Finding::failed(
            format!("what answers calls itself '{vendor} {model}' and not '{wanted_vendor} {wanted_model}'"),
            remedy,
        );
    }
    if let (Some(told), Some(given)) = (ca_sha256, given_ca_sha256)
        && told != given
    {
        return Finding::failed(
            format!("'{vendor} {model}' names a CA with SHA-256 {told}, but gives one with {given}"),
            remedy,
        );
    }
    Finding::passed(format!(
        "the adapter '{adapter}' was answered by {vendor} {model} {version}, with the CA that it names"
    ))
}

/// There is no way to ask the device.
#[must_use]
pub fn no_adapter() -> Finding {
    Finding::failed(
        "the device under test is outside the box, and there is no adapter that speaks to it, so nobody was asked",
        "choose no trunk in the settings to measure through the practice DUT",
    )
}
