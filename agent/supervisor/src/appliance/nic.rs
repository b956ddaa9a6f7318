//! Which NIC is for what. One pure function, used by the settings program, the hardware probe and what the network is told, so that the
//! three never disagree. A NIC is known by its MAC address, never by a name, which another kernel may give to another card.

use std::fmt;
use std::str::FromStr;

/// Ethernet address of one card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mac([u8; 6]);

/// A text is no address of a card.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no MAC address of a network card; write six pairs of hex digits such as 52:54:00:12:34:56, as GET /v1/hardware lists them"
)]
pub(crate) struct MacError(String);

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let refused = || MacError(text.chars().take(40).collect());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|it| it.is_ascii_hexdigit()));
            *octet = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or_else(refused)?;
        }
        // The lowest bit of the first octet marks groups (IEEE 802): no card has such an address.
        if parts.next().is_some() || octets[0] & 1 == 1 || octets == [0; 6] { Err(refused()) } else { Ok(Self(octets)) }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Where a card sits: the components of its path in sysfs, each as text and trailing number, so that `virtio10` comes after `virtio2`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BusPosition(Vec<(String, u64)>);

impl BusPosition {
    /// From a path below `/sys/devices`.
    pub(crate) fn of(path: &str) -> Self {
        Self(path.split('/').filter(|part| !part.is_empty()).map(component).collect())
    }
}

fn component(part: &str) -> (String, u64) {
    // PCI addresses (0000:0a:00.1) are hexadecimal of fixed width: their text sorts as it is.
    if part.contains(':') {
        return (part.to_owned(), 0);
    }
    let stem = part.trim_end_matches(|it: char| it.is_ascii_digit());
    (stem.to_owned(), part.strip_prefix(stem).and_then(|number| number.parse().ok()).unwrap_or(0))
}

/// A card as sysfs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundNic {
    pub(crate) name: String,
    pub(crate) mac: Mac,
    /// Whether `mac` is the card's own; otherwise somebody has changed it.
    pub(crate) permanent: bool,
    pub(crate) position: BusPosition,
    pub(crate) driver: String,
    pub(crate) speed_mbps: Option<u64>,
    pub(crate) carrier: bool,
    pub(crate) rx_queues: u32,
    pub(crate) tx_queues: u32,
    pub(crate) sriov_vfs: u32,
    /// Wireless: listed, never chosen without being asked for, because it has no network without a password.
    pub(crate) wireless: bool,
}

/// What settings ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// For management; `None`: the first by bus position that is not the trunk.
    pub(crate) management: Option<Mac>,
    /// Towards the device under test; `None`: there is none.
    pub(crate) trunk: Option<Mac>,
}

/// Which card does what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) management: Option<FoundNic>,
    pub(crate) trunk: Option<FoundNic>,
    /// What is wrong with management and what to do.
    pub(crate) management_sentence: Option<String>,
    /// What is wrong with the trunk and what to do.
    pub(crate) trunk_sentence: Option<String>,
}

impl Roles {
    /// The word of [`tbi_api::hardware::Nic::role`].
    pub(crate) fn role_of(&self, nic: &FoundNic) -> &'static str {
        let is = |role: &Option<FoundNic>| role.as_ref().is_some_and(|it| it.name == nic.name);
        if is(&self.management) {
            "management"
        } else if is(&self.trunk) {
            "trunk"
        } else {
            "unused"
        }
    }
}

/// Chooses. A chosen management card that is not there is replaced by the first free one: a box that can be reached and complains is worth
/// more than one that cannot be reached. A trunk is never guessed: test traffic leaves only where somebody said.
pub(crate) fn choose(nics: &[FoundNic], wanted: Wanted) -> Roles {
    let by_mac = |mac: Mac| nics.iter().find(|nic| nic.mac == mac).cloned();
    let trunk = wanted.trunk.and_then(by_mac);
    let first_free = || {
        let free = nics.iter().filter(|nic| !nic.wireless && Some(nic.mac) != wanted.trunk);
        free.min_by(|a, b| (&a.position, &a.name).cmp(&(&b.position, &b.name))).cloned()
    };
    let chosen = wanted.management.and_then(by_mac);
    let missing = wanted.management.filter(|_| chosen.is_none());
    let management = chosen.or_else(first_free);
    let management_sentence = match (&management, missing) {
        (None, _) => Some(
            "There is no network card for management; the box is reached over its console only: put one in, or check that this release has \
             its driver."
                .to_owned(),
        ),
        (Some(used), Some(mac)) => Some(format!(
            "The network card {mac} chosen for management is not there; {} ({}) is used instead: choose one in the settings.",
            used.name, used.mac
        )),
        (Some(_), None) => None,
    };
    let trunk_sentence = match (&trunk, wanted.trunk) {
        (None, Some(mac)) => Some(format!(
            "The network card {mac} chosen as trunk is not there; nothing can be measured through a device until it is back or another is \
             chosen in the settings."
        )),
        _ => None,
    };
    Roles { management, trunk, management_sentence, trunk_sentence }
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    pub(crate) fn nic(name: &str, mac: &str, path: &str) -> FoundNic {
        FoundNic {
            name: name.to_owned(),
            mac: mac.parse().unwrap(),
            permanent: true,
            position: BusPosition::of(path),
            driver: "virtio_net".to_owned(),
            speed_mbps: None,
            carrier: true,
            rx_queues: 1,
            tx_queues: 1,
            sriov_vfs: 0,
            wireless: false,
        }
    }

    fn three() -> Vec<FoundNic> {
        vec![
            nic("ens9", "52:54:00:00:00:09", "pci0000:00/0000:00:0a.0/virtio10/net/ens9"),
            nic("ens3", "52:54:00:00:00:03", "pci0000:00/0000:00:03.0/virtio2/net/ens3"),
            nic("ens4", "52:54:00:00:00:04", "pci0000:00/0000:00:04.0/virtio3/net/ens4"),
        ]
    }

    fn mac(last: &str) -> Option<Mac> {
        Some(format!("52:54:00:00:00:{last}").parse().unwrap())
    }

    fn names(roles: &Roles) -> [Option<&str>; 2] {
        [&roles.management, &roles.trunk].map(|role| role.as_ref().map(|nic| nic.name.as_str()))
    }

    #[test]
    fn the_first_by_bus_position_that_is_not_the_trunk_is_for_management() {
        let nics = three();
        for (management, trunk, expected) in [
            (None, None, [Some("ens3"), None]),
            (None, mac("03"), [Some("ens4"), Some("ens3")]),
            (mac("09"), mac("03"), [Some("ens9"), Some("ens3")]),
        ] {
            let roles = choose(&nics, Wanted { management, trunk });
            assert_eq!(names(&roles), expected);
            assert_eq!((roles.management_sentence, roles.trunk_sentence), (None, None));
        }
        let roles = choose(&nics, Wanted { management: None, trunk: mac("04") });
        assert_eq!(nics.iter().map(|nic| roles.role_of(nic)).collect::<Vec<_>>(), ["unused", "management", "trunk"]);
    }

    #[test]
    fn no_network_card_is_a_sentence() {
        let roles = choose(&[], Wanted::default());
        assert_eq!(names(&roles), [None, None]);
        assert!(roles.management_sentence.unwrap().contains("console only"));
        let mut wireless = three().remove(0);
        wireless.wireless = true;
        assert_eq!(names(&choose(&[wireless], Wanted::default())), [None, None]);
    }

    #[test]
    fn a_missing_trunk_is_said_and_never_guessed() {
        let roles = choose(&three(), Wanted { management: None, trunk: mac("77") });
        assert_eq!(names(&roles), [Some("ens3"), None]);
        assert!(roles.trunk_sentence.unwrap().contains("52:54:00:00:00:77"));
    }

    #[test]
    fn a_missing_management_card_is_replaced_and_said() {
        let roles = choose(&three(), Wanted { management: mac("77"), trunk: mac("03") });
        assert_eq!(names(&roles), [Some("ens4"), Some("ens3")]);
        assert!(roles.management_sentence.unwrap().contains("ens4 (52:54:00:00:00:04) is used instead"));
    }

    #[test]
    fn addresses_are_those_of_cards() {
        assert_eq!("52:54:00:AB:cd:ef".parse::<Mac>().unwrap().to_string(), "52:54:00:ab:cd:ef");
        for bad in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "52-54-00-12-34-56",
            "5:54:00:12:34:56",
            "+2:54:00:12:34:56",
            "01:00:5e:00:00:01",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
            "52:54:00:12:34:5g",
            "52:54:00:12:34:56\n[Network]",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn positions_sort_as_a_person_counts() {
        let sorted = ["virtio2/net/a", "virtio10/net/a", "pci0000:00/0000:00:0a.0/net/a"];
        let mut shuffled = [sorted[1], sorted[2], sorted[0]];
        shuffled.sort_by_key(|path| BusPosition::of(path));
        assert_eq!(shuffled, ["pci0000:00/0000:00:0a.0/net/a", "virtio2/net/a", "virtio10/net/a"]);
        assert!(BusPosition::of("pci0000:00/0000:09:00.0") < BusPosition::of("pci0000:00/0000:0a:00.0"));
    }
}
