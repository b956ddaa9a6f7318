//! What can be wrong with a catalogue, one variant per fault, each sentence with the thing and the remedy.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{COUNTRIES, PERSONAS_PER_COUNTRY};

/// A fault in `personas.yaml` or `public-ip-pool.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence of each variant explains its fields")]
pub enum CatalogueError {
    #[error(
        "{file} is larger than {limit} bytes; a catalogue of a hundred personas needs a tenth of that, so check that it is the right file"
    )]
    TooLarge { file: &'static str, limit: usize },
    #[error("{file} cannot be read: {detail}; correct that place and try again")]
    Yaml { file: &'static str, detail: String },
    #[error("public-ip-pool.yaml names {found} countries; name exactly {COUNTRIES}")]
    CountryCount { found: usize },
    #[error("country code '{code}' is not two lower-case letters; write its ISO 3166-1 code, for example 'br'")]
    CountryCode { code: String },
    #[error("country '{code}' is in public-ip-pool.yaml twice; remove one of the two lines")]
    DuplicateCountry { code: String },
    #[error("VLAN {vlan} of country '{country}' is outside 101-120; give each country its own VLAN in that range")]
    VlanOutOfRange { country: String, vlan: u16 },
    #[error("countries '{first}' and '{second}' both use VLAN {vlan}; give '{second}' a free one from 101-120")]
    DuplicateVlan { first: String, second: String, vlan: u16 },
    #[error("prefix {prefix} of country '{country}' is not a /{wanted}; write a /{wanted} network")]
    PrefixLength { country: String, prefix: IpNet, wanted: u8 },
    #[error("prefix {prefix} of country '{country}' has bits set in its host part; write {network} instead")]
    HostBits { country: String, prefix: IpNet, network: IpNet },
    #[error(
        "prefix {prefix} of country '{country}' is {what}, and personas need public-looking addresses; choose a public prefix"
    )]
    NotPublic { country: String, prefix: IpNet, what: &'static str },
    #[error(
        "gateway {gateway} of country '{country}' is not a host address of {prefix}; use the first host of the prefix"
    )]
    GatewayOutsidePrefix { country: String, gateway: IpAddr, prefix: IpNet },
    #[error(
        "prefix {second_prefix} of country '{second}' overlaps {first_prefix} of country '{first}'; choose prefixes that share no address"
    )]
    Overlap { first: String, first_prefix: IpNet, second: String, second_prefix: IpNet },
    #[error(
        "persona '{persona}' is in country '{country}', which public-ip-pool.yaml does not name; add the country there or correct the code"
    )]
    UnknownCountry { persona: String, country: String },
    #[error(
        "persona id '{persona}' does not fit country '{country}'; write '{country}-' and then lower-case letters, digits and single hyphens, 63 characters at most"
    )]
    PersonaId { persona: String, country: String },
    #[error("persona '{persona}' is in personas.yaml twice; rename or remove one of the two")]
    DuplicatePersona { persona: String },
    #[error(
        "host {host} of persona '{persona}' is outside {prefix}, the prefix of its country; choose a host from 2 to {last}"
    )]
    HostOutsidePrefix { persona: String, host: u32, prefix: IpNet, last: u32 },
    #[error(
        "address {address} of persona '{persona}' is the network or the gateway of its country; choose another host"
    )]
    AddressReserved { persona: String, address: IpAddr },
    #[error("personas '{first}' and '{second}' both have address {address}; give '{second}' a free host")]
    DuplicateAddress { first: String, second: String, address: IpAddr },
    #[error("country '{country}' has {found} personas; name exactly {PERSONAS_PER_COUNTRY}")]
    PersonaCount { country: String, found: usize },
}
