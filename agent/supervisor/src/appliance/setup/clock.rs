//! What is known of the clock: where its time comes from, whether it came, and how far the machine's own clock is off. Pure.
//!
//! The time service of the image is systemd-timesyncd. It says by a file that it has set the clock, and not by how much; so the skew that can
//! be told is the one to the machine's own clock, and where nothing has set the clock, that is said.

use jiff::Timestamp;
use tbi_api::setup::{Finding, FindingVerdict, TimeReport};

use super::super::observe::Clock;

/// A clock of a machine is off by a second or two without anybody noticing; certificates and runs notice more.
const MUCH: i64 = 5;

/// What there is to judge.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) clock: Clock,
    /// Time servers of the settings.
    pub(crate) servers: &'a [String],
    /// Time servers that DHCP named.
    pub(crate) from_dhcp: &'a [String],
    /// When this release was built, seconds since 1970, where it says so.
    pub(crate) built: Option<i64>,
}

pub(crate) fn report(seen: &Seen<'_>) -> TimeReport {
    let skew = seen.clock.hardware.map(|hardware| seen.clock.now - hardware);
    let now = Timestamp::from_second(seen.clock.now).map_or_else(|_| String::new(), |at| at.to_string());
    TimeReport {
        now,
        servers: seen.servers.to_vec(),
        synchronised: seen.clock.synchronised,
        rtc_skew_seconds: skew,
        findings: vec![source(seen), synchronised(seen), rtc(skew), past(seen)],
    }
}

fn finding(name: &str, verdict: FindingVerdict, evidence: String, remedy: &str) -> Finding {
    Finding { name: name.to_owned(), verdict, evidence, remedy: remedy.to_owned() }
}

fn source(seen: &Seen<'_>) -> Finding {
    let (verdict, evidence, remedy) = match (seen.servers, seen.from_dhcp) {
        ([], []) => (
            FindingVerdict::Warning,
            "Neither the settings nor DHCP name a time server.".to_owned(),
            "Name one that the management network reaches.",
        ),
        ([], named) => (FindingVerdict::Passed, format!("DHCP names {}.", named.join(", ")), ""),
        (named, _) => (FindingVerdict::Passed, format!("The settings name {}.", named.join(", ")), ""),
    };
    finding("source", verdict, evidence, remedy)
}

fn synchronised(seen: &Seen<'_>) -> Finding {
    if seen.clock.synchronised {
        let evidence =
            "The time service says that a time server has set the clock (/run/systemd/timesync/synchronized).";
        return finding("synchronised", FindingVerdict::Passed, evidence.to_owned(), "");
    }
    finding(
        "synchronised",
        FindingVerdict::Warning,
        "No time server has set the clock since the machine started.".to_owned(),
        "Check that the time server answers on the management network (UDP port 123); it may take three minutes after a change.",
    )
}

fn rtc(skew: Option<i64>) -> Finding {
    const WHAT: &str = "System clock less the machine's own clock (RTC)";
    match skew {
        None => {
            finding("skew", FindingVerdict::NotChecked, "The machine has no clock of its own (RTC).".to_owned(), "")
        }
        Some(skew) if skew.abs() <= MUCH => finding("skew", FindingVerdict::Passed, format!("{WHAT}: {skew} s."), ""),
        Some(skew) => finding(
            "skew",
            FindingVerdict::Warning,
            format!("{WHAT}: {skew} s."),
            "Let a time server set the clock, then restart; if the difference comes back, the battery of the machine's clock is empty.",
        ),
    }
}

fn past(seen: &Seen<'_>) -> Finding {
    let Some(built) = seen.built else {
        return finding(
            "past",
            FindingVerdict::NotChecked,
            "This release does not say when it was built.".to_owned(),
            "",
        );
    };
    let date = Timestamp::from_second(built).map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%d").to_string());
    if seen.clock.now < built {
        let evidence = format!("The clock is before {date}, when this release was built.");
        return finding("past", FindingVerdict::Failed, evidence, "Set the clock: name a time server that answers.");
    }
    finding("past", FindingVerdict::Passed, format!("The clock is after {date}, when this release was built."), "")
}

/// Time servers in the state file of systemd-networkd (`NTP=a b`).
pub(crate) fn named_by_dhcp(state: &str) -> Vec<String> {
    let line = state.lines().find_map(|line| line.strip_prefix("NTP="));
    line.into_iter().flat_map(str::split_whitespace).take(16).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(clock: Clock, servers: &[&str], dhcp: &[&str], built: Option<i64>) -> Vec<FindingVerdict> {
        let own = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let report = report(&Seen { clock, servers: &own(servers), from_dhcp: &own(dhcp), built });
        for finding in &report.findings {
            let wrong = matches!(finding.verdict, FindingVerdict::Warning | FindingVerdict::Failed);
            assert_eq!(wrong, !finding.remedy.is_empty(), "{finding:?}");
        }
        report.findings.into_iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn each_way_of_being_wrong_is_told_apart() {
        use FindingVerdict::{Failed, NotChecked, Passed, Warning};
        let well = Clock { now: 2_000_000_000, synchronised: true, hardware: Some(2_000_000_003) };
        assert_eq!(verdicts(well, &["a"], &[], Some(1_900_000_000)), [Passed, Passed, Passed, Passed]);
        assert_eq!(verdicts(well, &[], &["b"], None), [Passed, Passed, Passed, NotChecked]);
        let off = Clock { now: 5, synchronised: false, hardware: Some(100) };
        assert_eq!(verdicts(off, &[], &[], Some(1_900_000_000)), [Warning, Warning, Warning, Failed]);
        let without = Clock { hardware: None, ..well };
        assert_eq!(verdicts(without, &["a"], &[], None), [Passed, Passed, NotChecked, NotChecked]);
    }

    #[test]
    fn servers_of_dhcp_are_read_from_networkd() {
        assert_eq!(
            named_by_dhcp("OPER_STATE=routable\nDNS=192.0.2.1\nNTP=192.0.2.1 ntp.example.net\n"),
            ["192.0.2.1", "ntp.example.net"]
        );
        assert_eq!(named_by_dhcp("OPER_STATE=routable\n"), Vec::<String>::new());
    }
}
