//! From YAML text to a [`Catalogue`]: first what was written (unknown fields refused), then what it means (checked once, here).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{COUNTRIES, Catalogue, CatalogueError, Country, PERSONAS_PER_COUNTRY, Persona, SiteKind, VlanId};

/// A catalogue is about 10 kB; what is much larger is not one, and is not handed to the YAML reader.
const MAX_TEXT: usize = 256 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolFile {
    countries: Vec<CountryLine>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CountryLine {
    code: String,
    name: String,
    vlan: u16,
    ipv4: Ipv4Net,
    ipv4_gateway: Ipv4Addr,
    ipv6: Ipv6Net,
    ipv6_gateway: Ipv6Addr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonaFile {
    personas: Vec<PersonaLine>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonaLine {
    id: String,
    country: String,
    kind: SiteKind,
    host: u32,
}

pub(super) fn catalogue(personas: &str, pool: &str) -> Result<Catalogue, CatalogueError> {
    let pool: PoolFile = read("public-ip-pool.yaml", pool)?;
    let written: PersonaFile = read("personas.yaml", personas)?;
    let countries = pool.countries.into_iter().map(country).collect::<Result<Vec<_>, _>>()?;
    check_countries(&countries)?;
    let personas = written.personas.into_iter().map(|line| persona(line, &countries)).collect::<Result<Vec<_>, _>>()?;
    check_personas(&personas, &countries)?;
    Ok(Catalogue { countries, personas })
}

fn read<T: DeserializeOwned>(file: &'static str, text: &str) -> Result<T, CatalogueError> {
    if text.len() > MAX_TEXT {
        return Err(CatalogueError::TooLarge { file, limit: MAX_TEXT });
    }
    serde_yaml_ng::from_str(text).map_err(|error| CatalogueError::Yaml { file, detail: error.to_string() })
}

fn country(line: CountryLine) -> Result<Country, CatalogueError> {
    let CountryLine { code, name, vlan, ipv4, ipv4_gateway, ipv6, ipv6_gateway } = line;
    if code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(CatalogueError::CountryCode { code });
    }
    let vlan = match VlanId::try_from(vlan) {
        Ok(vlan) if (101..=120).contains(&vlan.number()) => vlan,
        _ => return Err(CatalogueError::VlanOutOfRange { country: code, vlan }),
    };
    check_prefix(&code, ipv4.into(), ipv4_gateway.into(), 24)?;
    check_prefix(&code, ipv6.into(), ipv6_gateway.into(), 64)?;
    Ok(Country { code, name, vlan, ipv4, ipv4_gateway, ipv6, ipv6_gateway })
}

fn check_prefix(code: &str, prefix: IpNet, gateway: IpAddr, wanted: u8) -> Result<(), CatalogueError> {
    let country = || code.to_owned();
    if prefix.prefix_len() != wanted {
        return Err(CatalogueError::PrefixLength { country: country(), prefix, wanted });
    }
    if prefix.addr() != prefix.network() {
        return Err(CatalogueError::HostBits { country: country(), prefix, network: prefix.trunc() });
    }
    if let Some(what) = special_use(prefix) {
        return Err(CatalogueError::NotPublic { country: country(), prefix, what });
    }
    if !prefix.contains(&gateway) || gateway == prefix.network() || (gateway.is_ipv4() && gateway == prefix.broadcast())
    {
        return Err(CatalogueError::GatewayOutsidePrefix { country: country(), gateway, prefix });
    }
    Ok(())
}

/// Why a prefix is not public-looking, from the IANA special-purpose registries (RFC 6890). The benchmarking ranges (RFC 2544,
/// RFC 5180) are not in the list: RFC 9411 §8 names them as the right addresses for tests.
pub(crate) fn special_use(prefix: IpNet) -> Option<&'static str> {
    const RANGES: [(&str, &str); 14] = [
        ("10.0.0.0/8", "a private range (RFC 1918)"),
        ("172.16.0.0/12", "a private range (RFC 1918)"),
        ("192.168.0.0/16", "a private range (RFC 1918)"),
        ("100.64.0.0/10", "shared address space (RFC 6598)"),
        ("169.254.0.0/16", "a link-local range"),
        ("127.0.0.0/8", "the loopback range"),
        ("224.0.0.0/4", "a multicast range"),
        ("240.0.0.0/4", "a reserved range"),
        ("0.0.0.0/8", "the range of 'this network'"),
        ("fc00::/7", "a unique local range (RFC 4193)"),
        ("fe80::/10", "a link-local range"),
        ("ff00::/8", "a multicast range"),
        // ::1 and :: among others; nothing below is ever routed.
        ("::/8", "the loopback or a reserved range"),
        ("fec0::/10", "a site-local range (RFC 3879)"),
    ];
    RANGES.iter().find_map(|(range, what)| {
        let range: IpNet = range.parse().ok()?;
        overlap(range, prefix).then_some(*what)
    })
}

/// Whether two prefixes share an address: then one holds the other.
pub(crate) fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

fn check_countries(countries: &[Country]) -> Result<(), CatalogueError> {
    for (index, second) in countries.iter().enumerate() {
        for first in countries.iter().take(index) {
            if first.code == second.code {
                return Err(CatalogueError::DuplicateCountry { code: second.code.clone() });
            }
            let (first_code, second_code) = (first.code.clone(), second.code.clone());
            if first.vlan == second.vlan {
                let vlan = first.vlan.number();
                return Err(CatalogueError::DuplicateVlan { first: first_code, second: second_code, vlan });
            }
            for (first_prefix, second_prefix) in first.prefixes().into_iter().zip(second.prefixes()) {
                if overlap(first_prefix, second_prefix) {
                    let (first, second) = (first_code, second_code);
                    return Err(CatalogueError::Overlap { first, first_prefix, second, second_prefix });
                }
            }
        }
    }
    if countries.len() != COUNTRIES {
        return Err(CatalogueError::CountryCount { found: countries.len() });
    }
    Ok(())
}

fn persona(line: PersonaLine, countries: &[Country]) -> Result<Persona, CatalogueError> {
    let PersonaLine { id, country: code, kind, host } = line;
    let Some(country) = countries.iter().find(|country| country.code == code) else {
        return Err(CatalogueError::UnknownCountry { persona: id, country: code });
    };
    let Some(label) = id.strip_prefix(&code).and_then(|rest| rest.strip_prefix('-')).filter(|label| is_label(label))
    else {
        return Err(CatalogueError::PersonaId { persona: id, country: code });
    };
    // The same host number in both families. The IPv4 broadcast address is no host, so the last one is one lower.
    let last = u32::from(country.ipv4.hostmask()).saturating_sub(1);
    if host > last {
        return Err(CatalogueError::HostOutsidePrefix { persona: id, host, prefix: country.ipv4.into(), last });
    }
    let ipv4 = Ipv4Addr::from(u32::from(country.ipv4.network()) | host);
    let ipv6 = Ipv6Addr::from(u128::from(country.ipv6.network()) | u128::from(host));
    for (address, gateway) in
        [(IpAddr::from(ipv4), IpAddr::from(country.ipv4_gateway)), (ipv6.into(), country.ipv6_gateway.into())]
    {
        if host == 0 || address == gateway {
            return Err(CatalogueError::AddressReserved { persona: id, address });
        }
    }
    Ok(Persona { label: label.to_owned(), id, country: code, kind, ipv4, ipv6 })
}

/// A DNS label (RFC 1123 §2.1), lower case.
fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
}

fn check_personas(personas: &[Persona], countries: &[Country]) -> Result<(), CatalogueError> {
    let (mut ids, mut addresses) = (HashMap::new(), HashMap::new());
    for persona in personas {
        if ids.insert(persona.id.as_str(), ()).is_some() {
            return Err(CatalogueError::DuplicatePersona { persona: persona.id.clone() });
        }
        if let Some(first) = addresses.insert(persona.ipv4, &persona.id) {
            let (first, second) = (first.clone(), persona.id.clone());
            return Err(CatalogueError::DuplicateAddress { first, second, address: persona.ipv4.into() });
        }
    }
    for country in countries {
        let found = personas.iter().filter(|persona| persona.country == country.code).count();
        if found != PERSONAS_PER_COUNTRY {
            return Err(CatalogueError::PersonaCount { country: country.code.clone(), found });
        }
    }
    Ok(())
}
