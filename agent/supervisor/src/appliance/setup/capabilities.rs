//! What is documented of each kind of device, with where that is from. Static, and marked as documented: nothing of it was measured by this
//! box, and no adapter of this release speaks to a device but the practice one. The wire decides what a device does; the proof of
//! decryption looks there, not here.

use tbi_api::device::{Fact, Kind, Standing};

use Standing::{Absent, Available, Documented, Unknown};

type Row = (&'static str, Standing, &'static str, &'static str);

/// Said of every device outside.
const NO_ADAPTER: Row = (
    "switching",
    Absent,
    "This release cannot switch this device between decrypting and bypassing: there is no adapter for it yet, so paired runs through \
     it are refused before they begin.",
    "the adapters of this release: the practice device only",
);

const PRACTICE: &[Row] = &[
    ("switching", Available, "Switched by the box, at once, and read back.", "adapter 'practice' of this release"),
    ("h3", Available, "Decrypts HTTP/3, HTTP/2 and HTTP/1.1.", "adapter 'practice' of this release"),
    (
        "counters",
        Available,
        "Decrypted, failed and lost connections, and its CPU.",
        "adapter 'practice' of this release",
    ),
];
const FORTIGATE: &[Row] = &[
    NO_ADAPTER,
    (
        "h3",
        Documented,
        "HTTP/3 perhaps: quic inspect in the SSL profile; sources differ on whether flow-mode policies do it.",
        "community.fortinet.com 205008; FortiOS 7.2 guide 440398",
    ),
    ("apply", Documented, "A policy change is effective at once, without a job.", "community.fortinet.com ta-p/195802"),
    (
        "sessions",
        Documented,
        "Sessions are evaluated again by default (firewall-session-dirty check-all); with check-new they must be drained first.",
        "community.fortinet.com ta-p/195802",
    ),
    (
        "identity",
        Documented,
        "REST API token over HTTPS only; serial, version and build.",
        "docs.fortinet.com 7.4 REST API",
    ),
    (
        "counters",
        Documented,
        "CPU, sessions, policies by REST; SNMP besides (session rate is a one-minute average).",
        "fortigate_exporter README",
    ),
];
const FTD_FDM: &[Row] = &[
    NO_ADAPTER,
    ("h3", Unknown, "Nothing is known of HTTP/3.", "no source was found"),
    (
        "apply",
        Documented,
        "A change is in force after a deployment job; foreign pending changes must be refused.",
        "developer.cisco.com firepower threat-defense deployment",
    ),
    (
        "identity",
        Documented,
        "OAuth token, 30 minutes; not available when a management center manages it.",
        "developer.cisco.com ftd-api-reference token",
    ),
];
const FTD_FMC: &[Row] = &[
    NO_ADAPTER,
    (
        "h3",
        Documented,
        "HTTP/3 experimental: 7.6 or later, Snort 3, standalone. Disabling the advertisement of HTTP/3 skews HTTP/3 runs.",
        "secure.cisco.com quic-decryption",
    ),
    (
        "apply",
        Documented,
        "A change is in force after a deployment task, minutes rather than seconds.",
        "cisco.com 215918",
    ),
    (
        "identity",
        Documented,
        "Token of 30 minutes; 120 calls a minute; a second login of the same account ends the first, so it needs one of its own.",
        "cisco.com 215918; FMCAnsible 58",
    ),
];
const PAN_OS: &[Row] = &[
    NO_ADAPTER,
    (
        "h3",
        Documented,
        "No decryption of HTTP/3; it is blocked, so that clients fall back.",
        "knowledgebase.paloaltonetworks.com kA10g000000ClarCAC",
    ),
    (
        "apply",
        Documented,
        "A change is in force after a commit job, which is polled.",
        "docs.paloaltonetworks.com PAN-OS XML API",
    ),
    (
        "sessions",
        Documented,
        "TLS 1.3 only if the decryption profile allows it (default 1.2), else both modes compare different versions.",
        "docs.paloaltonetworks.com network-security TLS 1.3",
    ),
    (
        "identity",
        Documented,
        "API key in a header; version, serial and model.",
        "docs.paloaltonetworks.com PAN-OS XML API",
    ),
    (
        "counters",
        Documented,
        "SSL proxy sessions and their utilisation by SNMP.",
        "DataDog integrations-core palo-alto.yaml",
    ),
];
const CHECK_POINT: &[Row] = &[
    NO_ADAPTER,
    (
        "h3",
        Unknown,
        "HTTP/3 inspection is claimed for R82; not confirmed by a source that was found.",
        "no source was found",
    ),
    (
        "apply",
        Documented,
        "Edit, publish, install policy; HTTPS rules need R80.40 or later.",
        "check_point.mgmt cp_mgmt_https_rule",
    ),
    (
        "identity",
        Documented,
        "Management session; versions of the gateway's API differ in what works.",
        "CheckPointAnsibleGAIACollection 62",
    ),
];
const OTHER: &[Row] = &[NO_ADAPTER, ("h3", Unknown, "Nothing is known of this device.", "no source was found")];

/// The table of a kind.
pub(super) fn capabilities(kind: Kind) -> Vec<Fact> {
    let rows = match kind {
        Kind::Practice => PRACTICE,
        Kind::Fortigate => FORTIGATE,
        Kind::FtdFdm => FTD_FDM,
        Kind::FtdFmc => FTD_FMC,
        Kind::PanOs => PAN_OS,
        Kind::CheckPoint => CHECK_POINT,
        Kind::Other => OTHER,
    };
    let fact = |(name, standing, value, evidence): &Row| Fact {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
        standing: *standing,
        evidence: (*evidence).to_owned(),
    };
    rows.iter().map(fact).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Until there are adapters, no table may promise what nothing does.
    #[test]
    fn only_the_practice_device_is_switched() {
        for kind in Kind::ALL {
            let facts = capabilities(kind);
            let available = facts.iter().any(|fact| fact.standing == Available);
            assert_eq!(available, kind == Kind::Practice, "{kind:?}");
            assert!(facts.iter().any(|fact| fact.name == "switching") && facts.iter().any(|fact| fact.name == "h3"));
            assert!(facts.iter().all(|fact| !fact.evidence.is_empty() && fact.value.ends_with('.')), "{kind:?}");
        }
    }
}
