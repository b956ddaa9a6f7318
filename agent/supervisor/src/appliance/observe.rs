//! What changes while the box runs: room on the state partition, clock, addresses, and what the privileged programs left as their outcome.
//! Looks only; [`super::health`] judges.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use nix::sys::statvfs::statvfs;
use serde::Deserialize;

use super::settings::outcome::{self, SettingsOutcome};
use super::sysfs::Root;

/// What the network program left.
const NETWORK_OUTCOME: &str = "run/tlsstress-network/outcome.json";

/// One look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) state: StateDisk,
    pub(crate) clock: Clock,
    pub(crate) uptime_seconds: u64,
    /// Carrier of the management card, when there is a card.
    pub(crate) management_carrier: bool,
    /// With prefix lengths.
    pub(crate) addresses: Vec<String>,
    pub(crate) trunk_carrier: bool,
    pub(crate) settings: Option<SettingsOutcome>,
    pub(crate) network: Option<NetworkOutcome>,
}

/// Written in the initrd, one sentence a line, when something was wrong with the state partition.
const TOLD_AT_BOOT: &str = "run/tlsstress-boot/state-problem";

/// The partition with the agent's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StateDisk {
    pub(crate) free: u64,
    pub(crate) total: u64,
    /// Why nothing can be written, when nothing can.
    pub(crate) unwritable: Option<String>,
    /// What the initrd says of it: missing, damaged, mended.
    pub(crate) told: Option<String>,
}

/// The wall clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Seconds since 1970.
    pub(crate) now: i64,
    pub(crate) synchronised: bool,
    /// What the machine's own clock (RTC) says, where it has one. The system's clock is moved to the release's date when that is earlier.
    pub(crate) hardware: Option<i64>,
}

/// What `tbi-agent network apply` did, as it says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct NetworkOutcome {
    /// Whether the network is as planned.
    pub(crate) ok: bool,
    #[serde(default)]
    pub(crate) sentence: String,
    #[serde(default)]
    pub(crate) trunk: TrunkOutcome,
}

/// The trunk, as the same file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct TrunkOutcome {
    /// `missing` when the chosen card is not there.
    pub(crate) state: String,
}

/// Looks around. Blocking, but for the disk only.
pub(crate) fn look(root: &Root, state: &Path, now: i64, management: Option<&str>, trunk: Option<&str>) -> Observed {
    let carrier =
        |name: Option<&str>| name.is_some_and(|name| root.number(&format!("sys/class/net/{name}/carrier")) == Some(1));
    let uptime = root.text("proc/uptime").unwrap_or_default();
    Observed {
        state: state_disk(root, state),
        // timesyncd touches this file when it has set the clock (systemd-timesyncd.service(8)).
        clock: Clock {
            now,
            synchronised: root.exists("run/systemd/timesync/synchronized"),
            hardware: root.text("sys/class/rtc/rtc0/since_epoch").and_then(|text| text.trim().parse().ok()),
        },
        uptime_seconds: uptime.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0),
        management_carrier: carrier(management),
        addresses: management.map(addresses).unwrap_or_default(),
        trunk_carrier: carrier(trunk),
        settings: json(root, outcome::PATH),
        network: json(root, NETWORK_OUTCOME),
    }
}

fn json<T: for<'a> Deserialize<'a>>(root: &Root, path: &str) -> Option<T> {
    serde_json::from_str(&root.text(path)?).ok()
}

fn state_disk(root: &Root, state: &Path) -> StateDisk {
    let (free, total) = statvfs(state).map_or((0, 0), |found| {
        let unit = found.fragment_size();
        (unit.saturating_mul(found.blocks_available()), unit.saturating_mul(found.blocks()))
    });
    let told = root.text(TOLD_AT_BOOT).map(|text| text.lines().collect::<Vec<_>>().join(" "));
    StateDisk { free, total, unwritable: try_to_write(state).err().map(|error| error.to_string()), told }
}

/// Only a write shows whether writing works: a full, a read-only and a failing disk all answer questions as if nothing were wrong.
fn try_to_write(state: &Path) -> std::io::Result<()> {
    let path = state.join(".probe");
    let written = fs::File::create(&path).and_then(|mut file| file.write_all(&[0; 4096]));
    let removed = fs::remove_file(&path);
    written.and(removed)
}

/// Addresses of an interface that somebody else can reach, IPv4 first.
fn addresses(interface: &str) -> Vec<String> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten().filter(|found| found.interface_name == interface);
    let mut addresses: Vec<_> = all
        .filter_map(|found| {
            let (address, mask) = (found.address?, found.netmask?);
            let (ip, mask): (std::net::IpAddr, std::net::IpAddr) =
                match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                    (Some(v4), _) => (v4.ip().into(), mask.as_sockaddr_in()?.ip().into()),
                    (None, Some(v6)) if !v6.ip().is_unicast_link_local() => {
                        (v6.ip().into(), mask.as_sockaddr_in6()?.ip().into())
                    }
                    _ => return None,
                };
            ipnet::IpNet::with_netmask(ip, mask).ok()
        })
        .collect();
    addresses.sort_unstable_by_key(|net| (net.addr().is_ipv6(), *net));
    addresses.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::sysfs::tests::fixture;
    use super::*;

    #[test]
    fn a_look_at_a_sound_box() {
        let (dir, root) = fixture(&[
            ("run/systemd/timesync/synchronized", ""),
            ("proc/uptime", "123.45 200.00\n"),
            ("sys/class/net/ens3/carrier", "1\n"),
            (outcome::PATH, r#"{"host_name":"bench-1","settings_used":true,"sentences":[]}"#),
            (
                NETWORK_OUTCOME,
                r#"{"path":"through-dut","ok":true,"steps":3,"sentence":"","trunk":{"state":"not_used","interface":"","sentence":""}}"#,
            ),
        ]);
        let seen = look(&root, dir.path(), 7, Some("ens3"), None);
        assert_eq!((seen.uptime_seconds, seen.management_carrier, seen.trunk_carrier), (123, true, false));
        assert_eq!(seen.clock, Clock { now: 7, synchronised: true, hardware: None });
        assert!(seen.state.total > 0 && seen.state.unwritable.is_none());
        assert!(!dir.path().join(".probe").exists());
        assert_eq!(seen.settings.unwrap().host_name, "bench-1");
        assert!(seen.network.unwrap().ok);
    }

    #[test]
    fn outcome_files_that_are_not_understood_are_as_good_as_none() {
        let (dir, root) = fixture(&[(outcome::PATH, "{"), (NETWORK_OUTCOME, r#"{"ok":"splendid"}"#)]);
        let seen = look(&root, dir.path(), 7, None, None);
        assert_eq!((seen.settings, seen.network), (None, None));
    }

    #[test]
    fn a_place_that_cannot_be_written_says_why() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(state_disk(&Root::new("/nowhere"), &dir.path().join("file/state")).unwritable.is_some());
    }

    #[test]
    fn loopback_has_addresses_with_prefix_lengths() {
        assert!(addresses("lo").contains(&"127.0.0.1/8".to_owned()), "{:?}", addresses("lo"));
        assert_eq!(addresses("no-such-card"), Vec::<String>::new());
    }
}
