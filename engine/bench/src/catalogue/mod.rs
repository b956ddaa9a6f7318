//! The catalogue of personas: a hundred web servers, five in each of twenty countries (REQUIREMENTS A2).
//!
//! Two files make it: the public-address pool says where a country lives (VLAN, prefixes, gateways), the persona file says who lives
//! there. [`Catalogue::parse`] is the only way in, so a `Catalogue` is always complete: counts right, prefixes public and disjoint,
//! every address within its country's prefix and used once. It knows nothing of interfaces or routes; see [`crate::netplan`].

mod error;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

pub use error::CatalogueError;
pub(crate) use parse::{overlap, special_use};

use crate::control::engine::Target;
use crate::control::personas::Site;
use crate::wire;

/// Countries in a catalogue.
pub const COUNTRIES: usize = 20;
/// Personas in each country.
pub const PERSONAS_PER_COUNTRY: usize = 5;
/// Every persona's name ends with this, after persona and country.
pub const DOMAIN: &str = "persona.tlsstress.art";

/// An IEEE 802.1Q VLAN number, 1 to 4094.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct VlanId(u16);

impl VlanId {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for VlanId {
    type Error = VlanError;

    /// ```
    /// use tbi_bench::catalogue::VlanId;
    /// assert!(VlanId::try_from(2001).is_ok());
    /// assert!(VlanId::try_from(0).is_err() && VlanId::try_from(4095).is_err());
    /// ```
    fn try_from(number: u16) -> Result<Self, VlanError> {
        if (1..=4094).contains(&number) { Ok(Self(number)) } else { Err(VlanError(number)) }
    }
}

impl From<VlanId> for u16 {
    fn from(vlan: VlanId) -> Self {
        vlan.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Not a VLAN number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a VLAN; choose a number from 1 to 4094")]
pub struct VlanError(u16);

/// Internet Protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressFamily {
    /// Version 4.
    Ipv4,
    /// Version 6.
    Ipv6,
}

/// What a persona pretends to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "kinds of site explain themselves")]
pub enum SiteKind {
    Bank,
    Government,
    Health,
    News,
    Shop,
    Social,
    Software,
    Travel,
    University,
    Video,
}

/// Where a country lives: one line of the public-address pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Country {
    code: String,
    name: String,
    vlan: VlanId,
    ipv4: Ipv4Net,
    ipv4_gateway: Ipv4Addr,
    ipv6: Ipv6Net,
    ipv6_gateway: Ipv6Addr,
}

impl Country {
    /// ISO 3166-1 alpha-2 code in lower case.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// English name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// VLAN between ISP router and personas.
    #[must_use]
    pub fn vlan(&self) -> VlanId {
        self.vlan
    }

    /// The /24 and the /64.
    #[must_use]
    pub fn prefixes(&self) -> [IpNet; 2] {
        [self.ipv4.into(), self.ipv6.into()]
    }

    /// Prefix and the gateway (the ISP router's address) in it, IPv4 first.
    #[must_use]
    pub fn gateways(&self) -> [(IpNet, IpAddr); 2] {
        [(self.ipv4.into(), self.ipv4_gateway.into()), (self.ipv6.into(), self.ipv6_gateway.into())]
    }
}

/// One web server of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persona {
    id: String,
    country: String,
    label: String,
    kind: SiteKind,
    ipv4: Ipv4Addr,
    ipv6: Ipv6Addr,
}

impl Persona {
    /// Unique id, `<country>-<label>`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Code of its country.
    #[must_use]
    pub fn country(&self) -> &str {
        &self.country
    }

    /// What it pretends to be.
    #[must_use]
    pub fn kind(&self) -> SiteKind {
        self.kind
    }

    /// Host name for DNS, SNI and certificate: `<label>.<country>.persona.tlsstress.art`.
    #[must_use]
    pub fn server_name(&self) -> String {
        format!("{}.{}.{DOMAIN}", self.label, self.country)
    }

    /// Its address of one family.
    #[must_use]
    pub fn address(&self, family: AddressFamily) -> IpAddr {
        match family {
            AddressFamily::Ipv4 => self.ipv4.into(),
            AddressFamily::Ipv6 => self.ipv6.into(),
        }
    }
}

/// A complete, consistent set of countries and personas, in the order of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    countries: Vec<Country>,
    personas: Vec<Persona>,
}

impl Catalogue {
    /// Reads the text of `personas.yaml` and `public-ip-pool.yaml`.
    ///
    /// # Errors
    /// The first fault found, with the thing's name and the remedy.
    pub fn parse(personas: &str, pool: &str) -> Result<Self, CatalogueError> {
        parse::catalogue(personas, pool)
    }

    /// The catalogue that ships with the product (`personas/*.yaml`).
    #[must_use]
    #[expect(clippy::expect_used, reason = "the text is compiled in and a test of this crate parses the same text")]
    pub fn builtin() -> Self {
        Self::parse(BUILTIN_PERSONAS, BUILTIN_POOL).expect("the catalogue compiled in is complete")
    }

    /// Countries, in the order of the pool.
    #[must_use]
    pub fn countries(&self) -> &[Country] {
        &self.countries
    }

    /// Personas, in the order of the file.
    #[must_use]
    pub fn personas(&self) -> &[Persona] {
        &self.personas
    }

    /// Personas of one country.
    pub fn personas_of<'a>(&'a self, country: &'a Country) -> impl Iterator<Item = &'a Persona> {
        self.personas.iter().filter(|persona| persona.country == country.code)
    }

    /// What the load engine may send to, one target per persona.
    #[must_use]
    pub fn targets(&self, family: AddressFamily) -> Vec<Target> {
        let target = |persona: &Persona| Target {
            persona: persona.id.clone(),
            address: persona.address(family),
            port: wire::PORT,
            server_name: persona.server_name(),
        };
        self.personas.iter().map(target).collect()
    }

    /// What the persona process serves, each site on both of its addresses.
    #[must_use]
    pub fn sites(&self) -> Vec<Site> {
        let site = |persona: &Persona| Site {
            persona: persona.id.clone(),
            server_name: persona.server_name(),
            addresses: vec![persona.ipv4.into(), persona.ipv6.into()],
        };
        self.personas.iter().map(site).collect()
    }
}

const BUILTIN_PERSONAS: &str = include_str!("../../../../personas/personas.yaml");
const BUILTIN_POOL: &str = include_str!("../../../../personas/public-ip-pool.yaml");
