//! One test per fault, named after it: the built-in files with one place spoilt.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn spoilt_pool(from: &str, to: &str) -> CatalogueError {
    assert!(BUILTIN_POOL.contains(from), "{from}");
    Catalogue::parse(BUILTIN_PERSONAS, &BUILTIN_POOL.replacen(from, to, 1)).unwrap_err()
}

fn spoilt_personas(from: &str, to: &str) -> CatalogueError {
    assert!(BUILTIN_PERSONAS.contains(from), "{from}");
    Catalogue::parse(&BUILTIN_PERSONAS.replacen(from, to, 1), BUILTIN_POOL).unwrap_err()
}

#[test]
fn the_catalogue_that_ships_is_complete() {
    let catalogue = Catalogue::builtin();
    assert_eq!((catalogue.countries().len(), catalogue.personas().len(), catalogue.sites().len()), (20, 100, 100));
    let vlans: Vec<_> = catalogue.countries().iter().map(|country| country.vlan().number()).collect();
    assert_eq!(vlans, (101..=120).collect::<Vec<_>>());
    let first = &catalogue.targets(AddressFamily::Ipv4)[0];
    assert_eq!((first.server_name.as_str(), first.port), ("bank.br.persona.tlsstress.art", 443));
    assert_eq!(first.address.to_string(), "200.160.4.10");
    assert_eq!(catalogue.targets(AddressFamily::Ipv6)[0].address.to_string(), "2001:12ff:0:4::a");
}

#[test]
fn unknown_field() {
    let error = spoilt_personas("host: 10 }", "host: 10, vlan: 101 }");
    assert!(
        matches!(&error, CatalogueError::Yaml { file: "personas.yaml", detail } if detail.contains("vlan")),
        "{error}"
    );
    let error = spoilt_pool("vlan: 101,", "vlan: 101, colour: blue,");
    assert!(
        matches!(&error, CatalogueError::Yaml { file: "public-ip-pool.yaml", detail } if detail.contains("colour")),
        "{error}"
    );
}

#[test]
fn too_large() {
    let error = Catalogue::parse(&"#".repeat(300_000), BUILTIN_POOL).unwrap_err();
    assert!(matches!(error, CatalogueError::TooLarge { file: "personas.yaml", .. }), "{error}");
}

#[test]
fn private_link_local_loopback_shared_and_multicast_prefixes() {
    for prefix in ["10.1.2", "172.31.2", "192.168.2", "169.254.2", "127.0.2", "224.0.2", "100.64.2", "240.0.2", "0.0.2"]
    {
        let error = spoilt_pool("ipv4: 200.160.4.0/24", &format!("ipv4: {prefix}.0/24"));
        assert!(matches!(&error, CatalogueError::NotPublic { country, .. } if country == "br"), "{prefix}: {error}");
    }
    for prefix in ["fd00:1:2:3::/64", "fe80::/64", "ff02::/64", "::/64", "fec0::/64"] {
        let error = spoilt_pool("\"2001:12ff:0:4::/64\"", &format!("\"{prefix}\""));
        assert!(matches!(&error, CatalogueError::NotPublic { country, .. } if country == "br"), "{prefix}: {error}");
    }
}

#[test]
fn persona_outside_its_countrys_prefix() {
    let error = spoilt_personas("host: 10 }", "host: 300 }");
    assert!(matches!(error, CatalogueError::HostOutsidePrefix { host: 300, last: 254, .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "host 300 of persona 'br-bank' is outside 200.160.4.0/24, the prefix of its country; choose a host from 2 to 254"
    );
    assert!(matches!(spoilt_personas("host: 10 }", "host: 255 }"), CatalogueError::HostOutsidePrefix { .. }));
}

#[test]
fn persona_on_the_network_or_gateway_address() {
    for host in [0, 1] {
        let error = spoilt_personas("host: 10 }", &format!("host: {host} }}"));
        assert!(matches!(error, CatalogueError::AddressReserved { .. }), "{error}");
    }
}

#[test]
fn duplicate_persona() {
    let error = spoilt_personas("id: br-news", "id: br-bank");
    assert!(matches!(&error, CatalogueError::DuplicatePersona { persona } if persona == "br-bank"), "{error}");
}

#[test]
fn duplicate_address() {
    let error = spoilt_personas("host: 20 }", "host: 10 }");
    assert!(
        matches!(&error, CatalogueError::DuplicateAddress { first, second, .. } if first == "br-bank" && second == "br-news"),
        "{error}"
    );
}

#[test]
fn duplicate_country() {
    assert!(matches!(spoilt_pool("code: us", "code: br"), CatalogueError::DuplicateCountry { code } if code == "br"));
}

#[test]
fn duplicate_vlan() {
    let error = spoilt_pool("vlan: 102", "vlan: 101");
    assert!(matches!(&error, CatalogueError::DuplicateVlan { vlan: 101, second, .. } if second == "us"), "{error}");
}

#[test]
fn vlan_out_of_range() {
    for vlan in [0, 20, 121, 4095] {
        let error = spoilt_pool("vlan: 102", &format!("vlan: {vlan}"));
        assert!(matches!(&error, CatalogueError::VlanOutOfRange { country, .. } if country == "us"), "{error}");
    }
}

#[test]
fn overlapping_subnets() {
    let error =
        spoilt_pool("ipv4: 63.64.10.0/24, ipv4_gateway: 63.64.10.1", "ipv4: 200.160.4.0/24, ipv4_gateway: 200.160.4.1");
    assert!(
        matches!(&error, CatalogueError::Overlap { first, second, .. } if first == "br" && second == "us"),
        "{error}"
    );
}

#[test]
fn wrong_prefix_length_and_host_bits() {
    assert!(matches!(spoilt_pool("200.160.4.0/24", "200.160.4.0/23"), CatalogueError::PrefixLength { wanted: 24, .. }));
    assert!(matches!(spoilt_pool("200.160.4.0/24", "200.160.4.7/24"), CatalogueError::HostBits { .. }));
}

#[test]
fn gateway_outside_its_prefix() {
    for gateway in ["200.160.5.1", "200.160.4.0", "200.160.4.255"] {
        let error = spoilt_pool("ipv4_gateway: 200.160.4.1", &format!("ipv4_gateway: {gateway}"));
        assert!(matches!(error, CatalogueError::GatewayOutsidePrefix { .. }), "{error}");
    }
}

#[test]
fn unknown_country() {
    let error = spoilt_personas("country: br", "country: xx");
    assert!(matches!(&error, CatalogueError::UnknownCountry { country, .. } if country == "xx"), "{error}");
}

#[test]
fn country_code_that_is_none() {
    assert!(matches!(spoilt_pool("code: br", "code: BRA"), CatalogueError::CountryCode { .. }));
}

#[test]
fn persona_id_that_does_not_fit_its_country() {
    for id in ["bank", "us-bank", "br-", "br-Bank", "br-a--b", "br-a.b"] {
        let error = spoilt_personas("id: br-bank", &format!("id: {id}"));
        assert!(matches!(error, CatalogueError::PersonaId { .. }), "{id}: {error}");
    }
}

#[test]
fn wrong_count_of_personas_in_a_country() {
    let line = "  - { id: br-news, country: br, kind: news, host: 20 }\n";
    let error = spoilt_personas(line, "");
    assert!(matches!(&error, CatalogueError::PersonaCount { country, found: 4 } if country == "br"), "{error}");
}

#[test]
fn wrong_count_of_countries() {
    let line = BUILTIN_POOL.lines().find(|line| line.contains("code: za")).unwrap();
    assert!(matches!(spoilt_pool(line, ""), CatalogueError::CountryCount { found: 19 }));
}
