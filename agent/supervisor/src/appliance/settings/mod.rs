//! Settings as an operator wrote them become settings this box can be built from: every text that ends in a system file is a type that
//! cannot hold a line break or a section header. Both who stores them (the API) and who carries them out (as root) parse them here.

pub(crate) mod outcome;
pub(crate) mod render;
pub(crate) mod usage;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use tbi_api::isp::Router;
use tbi_api::settings::{Addressing, Settings};
use tbi_bench::catalogue::Catalogue;
use tbi_bench::topology::Topology;

use self::usage::{UsageEndpoint, UsageError};
use super::nic::{Mac, MacError, Wanted};

/// More servers than this are a mistake; systemd tries them one by one.
const MOST_SERVERS: usize = 8;

/// Settings that were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckedSettings {
    /// `None`: made from the machine's id.
    pub(crate) host_name: Option<HostName>,
    pub(crate) wanted: Wanted,
    pub(crate) addressing: Addressing,
    pub(crate) time_servers: Vec<TimeServer>,
    /// Whether its root file system is there is not looked at here.
    pub(crate) router: Router,
}

/// A fault in settings, with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error(
        "host_name '{0}' is no host name; use 1 to 63 letters, digits and inner hyphens (RFC 1123), or leave it empty"
    )]
    HostName(String),
    #[error("{field}: {source}")]
    Mac { field: &'static str, source: MacError },
    #[error(
        "management.nic and trunk are the same card {0}; choose two, test traffic never shares a card with management"
    )]
    SameCard(Mac),
    #[error(
        "management address {0} cannot be used by a host; give a unicast address with the prefix length of its network, such as 192.0.2.10/24"
    )]
    Address(IpNet),
    #[error(
        "management address {address} lies in {prefix}, which {owner} uses for test traffic; choose an address outside of it"
    )]
    TestRange { address: IpNet, prefix: IpNet, owner: String },
    #[error("gateway {gateway} is not another host in the network of {address}; give one inside it, or null for none")]
    Gateway { gateway: IpAddr, address: IpNet },
    #[error("name server {0} is no unicast address; give the address of a DNS server")]
    NameServer(IpAddr),
    #[error("time server '{0}' is neither a host name nor an address; give one such as ntp.example.net or 192.0.2.1")]
    TimeServer(String),
    #[error("{field} names {found} servers; name at most {MOST_SERVERS}")]
    TooMany { field: &'static str, found: usize },
    #[error(transparent)]
    Usage(#[from] UsageError),
}

/// One label of RFC 1123.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostName(String);

impl HostName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        if is_label(text) { Ok(Self(text.to_owned())) } else { Err(SettingsError::HostName(shown(text))) }
    }
}

/// A host name or an address, as timesyncd takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimeServer(String);

impl FromStr for TimeServer {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let is_name = text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label);
        let good = text.parse::<IpAddr>().map_or(is_name, is_unicast);
        if good { Ok(Self(text.to_owned())) } else { Err(SettingsError::TimeServer(shown(text))) }
    }
}

impl fmt::Display for TimeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Prefixes that carry test traffic, each with who uses it.
#[derive(Debug, Clone)]
pub(crate) struct TestRanges(Vec<(String, IpNet)>);

impl TestRanges {
    /// Those of a topology and the built-in personas, and those every release reserves, whatever the topology of the day.
    pub(crate) fn of(topology: &Topology) -> Self {
        let net = |text: &str| text.parse().ok();
        let reserved = [
            ("the load agents", net("172.16.0.0/12")),
            ("the load agents", net("fd00:172::/32")),
            ("benchmarking (RFC 2544)", net("198.18.0.0/15")),
            ("benchmarking (RFC 5180)", net("2001:2::/48")),
            ("the bench's own orchestration network", net("10.254.254.0/24")),
        ];
        let reserved = reserved.into_iter().filter_map(|(owner, net)| Some((owner.to_owned(), net?)));
        let inside = topology.inside().iter();
        let inside =
            inside.flat_map(|it| it.prefixes().map(|prefix| (format!("inside network '{}'", it.name()), prefix)));
        let links = [
            ("the edge", topology.edge().link_addresses()),
            ("the reference path", topology.reference().link_addresses()),
        ];
        let links = links.into_iter().flat_map(|(owner, ends)| ends.map(|ends| (owner.to_owned(), ends.near.trunc())));
        let catalogue = Catalogue::builtin();
        let countries: Vec<_> = catalogue
            .countries()
            .iter()
            .flat_map(|country| country.prefixes().map(|prefix| (format!("country '{}'", country.code()), prefix)))
            .collect();
        Self(reserved.chain(inside).chain(links).chain(countries).collect())
    }

    fn meets(&self, address: IpNet) -> Option<(String, IpNet)> {
        let network = address.trunc();
        self.0.iter().find(|(_, prefix)| prefix.contains(&network) || network.contains(prefix)).cloned()
    }
}

impl CheckedSettings {
    /// What a box does before anybody told it anything.
    pub(crate) fn default_of_a_box() -> Self {
        Self {
            host_name: None,
            wanted: Wanted::default(),
            addressing: Addressing::Dhcp,
            time_servers: Vec::new(),
            router: Router::default(),
        }
    }

    /// # Errors
    /// The first fault.
    pub(crate) fn parse(settings: &Settings, ranges: &TestRanges) -> Result<Self, SettingsError> {
        let host_name = match settings.host_name.as_str() {
            "" => None,
            text => Some(text.parse()?),
        };
        let mac = |field: &'static str, choice: &Option<tbi_api::settings::NicChoice>| {
            let parsed = choice.as_ref().map(|choice| choice.mac.parse()).transpose();
            parsed.map_err(|source| SettingsError::Mac { field, source })
        };
        let wanted = Wanted {
            management: mac("management.nic", &settings.management.nic)?,
            trunk: mac("trunk", &settings.trunk)?,
        };
        if let Some(card) = wanted.management.filter(|card| Some(*card) == wanted.trunk) {
            return Err(SettingsError::SameCard(card));
        }
        check_addressing(&settings.management.addressing, ranges)?;
        at_most("ntp_servers", settings.ntp_servers.len())?;
        let time_servers = settings.ntp_servers.iter().map(|server| server.parse()).collect::<Result<_, _>>()?;
        // Only checked: the program that reports parses it for itself.
        UsageEndpoint::parse(&settings.usage)?;
        let addressing = settings.management.addressing.clone();
        Ok(Self { host_name, wanted, addressing, time_servers, router: settings.isp_router })
    }
}

fn check_addressing(addressing: &Addressing, ranges: &TestRanges) -> Result<(), SettingsError> {
    let Addressing::Static { address, gateway, dns } = addressing else { return Ok(()) };
    let address = *address;
    if !is_host(address.addr(), address) {
        return Err(SettingsError::Address(address));
    }
    if let Some((owner, prefix)) = ranges.meets(address) {
        return Err(SettingsError::TestRange { address, prefix, owner });
    }
    if let Some(gateway) = *gateway
        && (!address.contains(&gateway) || gateway == address.addr() || !is_host(gateway, address))
    {
        return Err(SettingsError::Gateway { gateway, address });
    }
    at_most("dns", dns.len())?;
    dns.iter().find(|server| !is_unicast(**server)).map_or(Ok(()), |server| Err(SettingsError::NameServer(*server)))
}

/// Whether a host of `network` may have this address. Networks of two addresses (RFC 3021, RFC 6164) and of one have no reserved ones.
fn is_host(address: IpAddr, network: IpNet) -> bool {
    let has_reserved = network.max_prefix_len() - network.prefix_len() >= 2;
    let reserved = address == network.network() || (address.is_ipv4() && address == network.broadcast());
    is_unicast(address) && network.prefix_len() > 0 && !(has_reserved && reserved)
}

fn is_unicast(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.is_link_local() || v4.octets()[0] == 0 || v4.octets()[0] >= 240,
        // fe80::/10 needs a zone, v4-mapped addresses are not for the wire.
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !(special || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

fn at_most(field: &'static str, found: usize) -> Result<(), SettingsError> {
    if found > MOST_SERVERS { Err(SettingsError::TooMany { field, found }) } else { Ok(()) }
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// As much of a wrong text as a sentence can carry, on one line.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn parse(json: &str) -> Result<CheckedSettings, SettingsError> {
        let settings: Settings = serde_json::from_str(json).unwrap();
        CheckedSettings::parse(&settings, &TestRanges::of(&Topology::builtin()))
    }

    fn fixed(address: &str, rest: &str) -> Result<CheckedSettings, SettingsError> {
        let json = format!(
            r#"{{"management":{{"addressing":{{"method":"static","address":"{address}","gateway":null,"dns":[]{rest}}}}}}}"#
        );
        // A field given twice would be refused by serde; the test's own override replaces the default.
        parse(
            &json
                .replace(r#""gateway":null,"dns":[],"gateway""#, r#""dns":[],"gateway""#)
                .replace(r#""dns":[],"dns""#, r#""dns""#),
        )
    }

    #[test]
    fn the_default_is_dhcp_on_the_first_card() {
        assert_eq!(parse("{}").unwrap(), CheckedSettings::default_of_a_box());
    }

    #[test]
    fn host_names_are_labels_of_rfc_1123() {
        for good in ["a", "tbi-0a1b2c", "9", &"a".repeat(63)] {
            assert_eq!(parse(&format!(r#"{{"host_name":"{good}"}}"#)).unwrap().host_name.unwrap().as_str(), good);
        }
        for bad in ["-a", "a-", "a.b", "a b", "a\\n127.0.0.1", &"a".repeat(64), "ü"] {
            let error = parse(&format!(r#"{{"host_name":"{bad}"}}"#)).unwrap_err();
            assert!(matches!(error, SettingsError::HostName(_)) && !error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn trunk_and_management_are_two_cards() {
        let error = parse(
            r#"{"trunk":{"mac":"52:54:00:00:00:01"},"management":{"nic":{"mac":"52:54:00:00:00:01"},"addressing":{"method":"dhcp"}}}"#,
        );
        assert!(matches!(error, Err(SettingsError::SameCard(_))), "{error:?}");
        assert!(matches!(parse(r#"{"trunk":{"mac":"eth1"}}"#), Err(SettingsError::Mac { field: "trunk", .. })));
    }

    #[test]
    fn addresses_of_test_ranges_are_refused() {
        for (address, owner) in [
            ("172.16.5.1/24", "load agents"),
            ("172.31.0.10/16", "load agents"),
            ("172.0.0.1/8", "load agents"),
            ("198.18.0.1/24", "RFC 2544"),
            ("200.130.0.1/30", "edge"),
            ("10.254.254.7/24", "orchestration"),
            ("fd00:172:16::5/64", "load agents"),
            ("2001:2:0:1::5/64", "RFC 5180"),
        ] {
            let error = fixed(address, "").unwrap_err();
            assert!(
                matches!(&error, SettingsError::TestRange { owner: found, .. } if found.contains(owner)),
                "{error}"
            );
        }
        for country in Catalogue::builtin().countries() {
            let (prefix, gateway) = country.gateways()[0];
            let error = fixed(&format!("{gateway}/{}", prefix.prefix_len()), "").unwrap_err();
            assert!(matches!(error, SettingsError::TestRange { .. }), "{error}");
        }
        for good in ["192.0.2.10/24", "10.1.2.3/8", "192.168.1.2/31", "203.0.113.9/32", "2001:db8::5/64"] {
            // 10.0.0.0/8 holds the orchestration network.
            assert_eq!(fixed(good, "").is_ok(), !good.starts_with("10."), "{good}");
        }
    }

    #[test]
    fn addresses_no_host_can_have_are_refused() {
        for bad in [
            "192.0.2.0/24",
            "192.0.2.255/24",
            "127.0.0.1/8",
            "224.0.0.1/24",
            "169.254.1.1/16",
            "0.0.0.5/0",
            "fe80::1/64",
            "::1/128",
        ] {
            assert!(matches!(fixed(bad, ""), Err(SettingsError::Address(_))), "{bad}");
        }
    }

    #[test]
    fn a_gateway_is_another_host_of_the_network() {
        assert!(fixed("192.0.2.10/24", r#","gateway":"192.0.2.1""#).is_ok());
        for bad in ["192.0.3.1", "192.0.2.10", "192.0.2.255", "192.0.2.0", "2001:db8::1"] {
            let error = fixed("192.0.2.10/24", &format!(r#","gateway":"{bad}""#)).unwrap_err();
            assert!(matches!(error, SettingsError::Gateway { .. }), "{error}");
        }
    }

    #[test]
    fn usage_is_reported_by_https_or_nowhere() {
        assert!(parse(r#"{"usage":{"url":null,"ca_pem":null}}"#).is_ok());
        for bad in [r#"{"url":"http://usage.example.net"}"#, r#"{"ca_pem":"x"}"#, r#"{"url":"https://a","ca_pem":"x"}"#]
        {
            let error = parse(&format!(r#"{{"usage":{bad}}}"#)).unwrap_err();
            assert!(matches!(error, SettingsError::Usage(_)) && error.to_string().starts_with("usage."), "{error}");
        }
    }

    #[test]
    fn servers_are_bounded_and_cannot_carry_other_lines() {
        let ntp = |servers: &str| parse(&format!(r#"{{"ntp_servers":[{servers}]}}"#));
        assert_eq!(ntp(r#""ntp.example.net","192.0.2.1","2001:db8::1""#).unwrap().time_servers.len(), 3);
        for bad in ["", "a b", "a\\n[Time]", "-x.example", "999.1.1.1\\t", "224.0.0.1", "a..b"] {
            assert!(matches!(ntp(&format!("\"{bad}\"")), Err(SettingsError::TimeServer(_))), "{bad}");
        }
        assert!(matches!(ntp(&[r#""a""#; 9].join(",")), Err(SettingsError::TooMany { .. })));
        assert!(matches!(fixed("192.0.2.10/24", r#","dns":["224.0.0.1"]"#), Err(SettingsError::NameServer(_))));
    }
}
