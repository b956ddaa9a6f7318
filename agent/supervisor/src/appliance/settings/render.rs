//! Settings as files of the system. Pure: the same settings and cards give the same bytes, so that a start that changes nothing rewrites
//! nothing. The files go where systemd reads them and where a start of the machine wipes them (`/run`), and into the `/etc` of this start.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use tbi_api::settings::Addressing;

use super::CheckedSettings;
use crate::appliance::nic::{FoundNic, Roles, choose};

/// Path of the host name, below the root.
pub(crate) const HOSTNAME: &str = "etc/hostname";
/// networkd's file of the management card.
pub(crate) const MANAGEMENT: &str = "run/systemd/network/10-management.network";
/// networkd's file of the trunk.
pub(crate) const TRUNK: &str = "run/systemd/network/05-trunk.network";
/// udev's file of the trunk.
pub(crate) const TRUNK_LINK: &str = "run/systemd/network/05-trunk.link";
/// timesyncd's file.
pub(crate) const TIME: &str = "run/systemd/timesyncd.conf.d/10-tbi.conf";

/// What the system should look like.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) host_name: String,
    /// Text of each file; `None` where there must be none.
    pub(crate) files: BTreeMap<&'static str, Option<String>>,
    pub(crate) roles: Roles,
}

/// `machine_id` as in `/etc/machine-id`, whatever it is.
pub(crate) fn render(settings: &CheckedSettings, nics: &[FoundNic], machine_id: &str) -> Rendered {
    let roles = choose(nics, settings.wanted);
    let host_name =
        settings.host_name.as_ref().map_or_else(|| default_name(machine_id), |name| name.as_str().to_owned());
    let files = BTreeMap::from([
        (HOSTNAME, Some(format!("{host_name}\n"))),
        (MANAGEMENT, roles.management.as_ref().map(|nic| management(nic, &settings.addressing))),
        (TRUNK, roles.trunk.as_ref().map(trunk)),
        (TRUNK_LINK, roles.trunk.as_ref().map(trunk_link)),
        (TIME, time(settings)),
    ]);
    Rendered { host_name, files, roles }
}

/// `tbi-` and six hex digits that differ from box to box. A hash, because the machine's id is not for the wire (machine-id(5)).
fn default_name(machine_id: &str) -> String {
    let digest = Sha256::digest(machine_id.trim().as_bytes());
    let mut name = "tbi-".to_owned();
    for byte in digest.iter().take(3) {
        // Writing to a String cannot fail.
        let _infallible = write!(name, "{byte:02x}");
    }
    name
}

fn matched(nic: &FoundNic) -> String {
    // The card's own address stays when somebody gives it another; VLANs on top of it have none of their own and are not matched.
    let key = if nic.permanent { "PermanentMACAddress" } else { "MACAddress" };
    format!("# Written by tbi-agent from the settings; changes are lost.\n[Match]\n{key}={}\nType=ether\n", nic.mac)
}

fn management(nic: &FoundNic, addressing: &Addressing) -> String {
    let mut text = matched(nic);
    // No start of the box waits for a cable.
    text.push_str("\n[Link]\nRequiredForOnline=no\n\n[Network]\nLinkLocalAddressing=ipv6\n");
    let mut line = |text_of: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{text_of}");
    };
    match addressing {
        Addressing::Dhcp => {
            line(format_args!("DHCP=ipv4\nIPv6AcceptRA=yes\n\n[DHCPv4]\nClientIdentifier=mac\nUseHostname=no"));
        }
        Addressing::Static { address, gateway, dns } => {
            line(format_args!("DHCP=no\nIPv6AcceptRA=no\nAddress={address}"));
            if let Some(gateway) = gateway {
                line(format_args!("Gateway={gateway}"));
            }
            for server in dns {
                line(format_args!("DNS={server}"));
            }
        }
    }
    text
}

fn trunk(nic: &FoundNic) -> String {
    matched(nic) + "\n[Link]\nUnmanaged=yes\nRequiredForOnline=no\n"
}

fn trunk_link(nic: &FoundNic) -> String {
    // The name as on every other card; the address as it is, because the switch may have been told it.
    matched(nic) + "\n[Link]\nNamePolicy=keep kernel database onboard slot path\nMACAddressPolicy=none\n"
}

fn time(settings: &CheckedSettings) -> Option<String> {
    if settings.time_servers.is_empty() {
        return None;
    }
    let servers: Vec<String> = settings.time_servers.iter().map(ToString::to_string).collect();
    Some(format!("# Written by tbi-agent from the settings; changes are lost.\n[Time]\nNTP={}\n", servers.join(" ")))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use tbi_bench::topology::Topology;

    use super::super::TestRanges;
    use super::*;
    use crate::appliance::nic::tests::nic;

    const MACHINE: &str = "3d1219c7c4c5404aaa1f6d2a48adfda4\n";

    fn rendered(json: &str) -> Rendered {
        let settings = serde_json::from_str(json).unwrap();
        let settings = CheckedSettings::parse(&settings, &TestRanges::of(&Topology::builtin())).unwrap();
        let nics = [
            nic("ens3", "52:54:00:00:00:03", "pci0000:00/0000:00:03.0/virtio1/net/ens3"),
            nic("ens4", "52:54:00:00:00:04", "pci0000:00/0000:00:04.0/virtio2/net/ens4"),
        ];
        render(&settings, &nics, MACHINE)
    }

    fn shown(rendered: &Rendered) -> String {
        let one = |(path, text): (&&str, &Option<String>)| match text {
            Some(text) => format!("--- {path}\n{text}"),
            None => format!("--- {path} (absent)\n"),
        };
        rendered.files.iter().map(one).collect()
    }

    #[test]
    fn a_box_nobody_told_anything() {
        let rendered = rendered("{}");
        assert_eq!(
            shown(&rendered),
            "\
--- etc/hostname
tbi-003596
--- run/systemd/network/05-trunk.link (absent)
--- run/systemd/network/05-trunk.network (absent)
--- run/systemd/network/10-management.network
# Written by tbi-agent from the settings; changes are lost.
[Match]
PermanentMACAddress=52:54:00:00:00:03
Type=ether

[Link]
RequiredForOnline=no

[Network]
LinkLocalAddressing=ipv6
DHCP=ipv4
IPv6AcceptRA=yes

[DHCPv4]
ClientIdentifier=mac
UseHostname=no
--- run/systemd/timesyncd.conf.d/10-tbi.conf (absent)
"
        );
    }

    #[test]
    fn a_box_with_everything_set() {
        let rendered = rendered(
            r#"{"host_name":"bench-1","trunk":{"mac":"52:54:00:00:00:03"},"ntp_servers":["ntp.example.net","192.0.2.1"],
                "management":{"nic":null,"addressing":{"method":"static","address":"192.0.2.10/24","gateway":"192.0.2.1",
                "dns":["192.0.2.53","2001:db8::53"]}}}"#,
        );
        assert_eq!(
            shown(&rendered),
            "\
--- etc/hostname
bench-1
--- run/systemd/network/05-trunk.link
# Written by tbi-agent from the settings; changes are lost.
[Match]
PermanentMACAddress=52:54:00:00:00:03
Type=ether

[Link]
NamePolicy=keep kernel database onboard slot path
MACAddressPolicy=none
--- run/systemd/network/05-trunk.network
# Written by tbi-agent from the settings; changes are lost.
[Match]
PermanentMACAddress=52:54:00:00:00:03
Type=ether

[Link]
Unmanaged=yes
RequiredForOnline=no
--- run/systemd/network/10-management.network
# Written by tbi-agent from the settings; changes are lost.
[Match]
PermanentMACAddress=52:54:00:00:00:04
Type=ether

[Link]
RequiredForOnline=no

[Network]
LinkLocalAddressing=ipv6
DHCP=no
IPv6AcceptRA=no
Address=192.0.2.10/24
Gateway=192.0.2.1
DNS=192.0.2.53
DNS=2001:db8::53
--- run/systemd/timesyncd.conf.d/10-tbi.conf
# Written by tbi-agent from the settings; changes are lost.
[Time]
NTP=ntp.example.net 192.0.2.1
"
        );
    }

    #[test]
    fn without_a_card_there_is_no_file_and_a_sentence() {
        let rendered = render(&CheckedSettings::default_of_a_box(), &[], MACHINE);
        assert_eq!(rendered.files[MANAGEMENT], None);
        assert!(rendered.roles.management_sentence.is_some());
    }

    #[test]
    fn names_of_two_boxes_differ() {
        assert_ne!(default_name("a"), default_name("b"));
        assert_eq!(default_name(MACHINE), default_name(MACHINE.trim()));
    }
}
