//! What the bench stands on: where the device under test is, and who routes as its Internet provider.
//!
//! The lab and an appliance without a trunk NIC have both inside ([`Fabric::LAB`]). With a trunk NIC the device is a real one at its
//! other end: the links that ended at the DUT become [`Uplink`]s, and there is no namespace `dut`. A trunk is named by its permanent
//! MAC address, because its interface name may change with a kernel, a slot or a cable.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{End, Interface};
use crate::catalogue::VlanId;

/// Where the device under test is, and who routes in the namespace `isp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Fabric {
    /// Where the device under test is.
    pub site: Site,
    /// Who routes in the namespace `isp`.
    pub isp: IspRouter,
}

impl Fabric {
    /// Everything on this machine, and no routing daemon.
    pub const LAB: Self = Self { site: Site::Practice, isp: IspRouter::Static };
}

/// Where the device under test is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Site {
    /// The practice DUT, in the namespace `dut`.
    Practice,
    /// A device of its own.
    External {
        /// At the other end of this NIC.
        trunk: MacAddress,
    },
}

/// Who routes in the namespace `isp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IspRouter {
    /// The kernel, with routes of this plan.
    Static,
    /// FRR; the plan only says which routes it must show (see [`crate::isp`] for its configuration).
    Frr,
}

/// A VLAN sub-interface of the trunk, in a namespace of the bench.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Uplink {
    /// Of which NIC.
    pub trunk: MacAddress,
    /// IEEE 802.1Q VLAN on the wire.
    pub vlan: VlanId,
    /// Where it ends, called what.
    pub end: End,
}

impl Uplink {
    /// The one for `vlan`; its interface is called as a link of that VLAN would be.
    #[must_use]
    pub fn new(trunk: MacAddress, vlan: VlanId, namespace: super::Namespace) -> Self {
        Self { trunk, vlan, end: End { namespace, interface: Interface::of_vlan(vlan) } }
    }
}

/// The MAC address of one NIC (an individual address, not a group's).
///
/// ```
/// use tbi_bench::netplan::MacAddress;
/// let mac: MacAddress = "52:54:00:12:34:56".parse().unwrap();
/// assert_eq!(mac.to_string(), "52:54:00:12:34:56");
/// assert_eq!("52:54:00:AB:CD:EF".parse::<MacAddress>().unwrap().to_string(), "52:54:00:ab:cd:ef");
/// for wrong in ["", "52:54:00:12:34", "52-54-00-12-34-56", "52:54:00:12:34:5", "52:54:00:12:34:+6",
///     "00:00:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", " 52:54:00:12:34:56", "52:54:00:12:34:56:78"] {
///     assert!(wrong.parse::<MacAddress>().is_err(), "{wrong}");
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

/// Not a NIC's MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the MAC address of a NIC; write six pairs of hexadecimal digits as in 52:54:00:12:34:56")]
pub struct MacAddressError(String);

impl MacAddress {
    /// From the bytes a kernel gives; `None` when it is not the address of one NIC.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let octets: [u8; 6] = bytes.try_into().ok()?;
        // The lowest bit of the first octet marks a group (IEEE 802-2014, 8.2.2).
        (octets != [0; 6] && octets[0] & 1 == 0).then_some(Self(octets))
    }
}

impl FromStr for MacAddress {
    type Err = MacAddressError;

    fn from_str(text: &str) -> Result<Self, MacAddressError> {
        let octet = |pair: &str| {
            let digits = pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
            digits.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
        };
        // A longer text is none, whatever it says; it is not repeated at length either.
        let shown = || MacAddressError(text.chars().take(40).collect());
        if text.len() != 17 {
            return Err(shown());
        }
        let octets: Option<Vec<u8>> = text.split(':').map(octet).collect();
        octets.and_then(|octets| Self::from_bytes(&octets)).ok_or_else(shown)
    }
}

impl TryFrom<String> for MacAddress {
    type Error = MacAddressError;

    fn try_from(text: String) -> Result<Self, MacAddressError> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
