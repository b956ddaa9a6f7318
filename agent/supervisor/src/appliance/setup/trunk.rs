//! What is found at the card towards the device: there, plugged in, how fast, cut into VLANs, whether frames come in; and what its wire answered
//! ([`super::wire`]). Pure; it judges what the kernel and the network program say, and says what nobody looked at.

use tbi_api::setup::{Finding, FindingVerdict, TrunkCheck};

use super::super::nic::{FoundNic, Mac};
use super::super::observe::NetworkOutcome;
use super::wire::{self, Probes};

/// Below this a trunk is slower than what one core of load agents can ask for.
const SLOW_MBPS: u64 = 1000;

/// What there is to judge.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    /// As the settings choose.
    pub(crate) wanted: Option<Mac>,
    pub(crate) nic: Option<&'a FoundNic>,
    /// Frames that the card received and sent since it is up.
    pub(crate) frames: Option<(u64, u64)>,
    /// What the network program did.
    pub(crate) network: Option<&'a NetworkOutcome>,
    /// What the probes of the wire saw.
    pub(crate) probes: &'a Probes,
}

pub(crate) fn report(seen: &Seen<'_>) -> TrunkCheck {
    let mac = seen.wanted.map(|mac| mac.to_string());
    let interface = seen.nic.map(|nic| nic.name.clone());
    let findings = match (seen.wanted, seen.nic) {
        (None, _) => vec![finding(
            "chosen",
            FindingVerdict::NotChecked,
            "No card is chosen as trunk: the box measures through its practice device and needs none.",
            "Choose the card towards the device in the settings when the device stands outside.",
        )],
        (Some(mac), None) => vec![finding(
            "chosen",
            FindingVerdict::Failed,
            &format!("The card {mac}, chosen as trunk, is not in this machine."),
            "Put it back, or choose another card or the practice device.",
        )],
        (Some(mac), Some(nic)) => vec![
            finding(
                "chosen",
                FindingVerdict::Passed,
                &format!("The card {mac} is in this machine as {}.", nic.name),
                "",
            ),
            link(nic),
            speed(nic),
            driver(nic),
            vlans(seen.network),
            frames(nic, seen.frames),
        ]
        .into_iter()
        .chain(wire::findings(mac, seen.probes))
        .collect(),
    };
    TrunkCheck { mac, interface, findings }
}

pub(super) fn finding(name: &str, verdict: FindingVerdict, evidence: &str, remedy: &str) -> Finding {
    Finding { name: name.to_owned(), verdict, evidence: evidence.to_owned(), remedy: remedy.to_owned() }
}

fn link(nic: &FoundNic) -> Finding {
    if nic.carrier {
        return finding("link", FindingVerdict::Passed, &format!("{} has a link.", nic.name), "");
    }
    let remedy = "Plug in its cable and check that the port at the other end is on.";
    finding("link", FindingVerdict::Failed, &format!("{} has no link.", nic.name), remedy)
}

fn speed(nic: &FoundNic) -> Finding {
    match nic.speed_mbps {
        None => {
            let evidence = format!("{} does not tell how fast its link is, as cards of virtual machines do.", nic.name);
            finding("speed", FindingVerdict::NotChecked, &evidence, "")
        }
        Some(mbps) if mbps < SLOW_MBPS => finding(
            "speed",
            FindingVerdict::Warning,
            &format!("{} runs at {mbps} Mbit/s.", nic.name),
            "Check cable and port: what is measured will be bounded by this link, not by the device.",
        ),
        Some(mbps) => finding("speed", FindingVerdict::Passed, &format!("{} runs at {mbps} Mbit/s.", nic.name), ""),
    }
}

fn driver(nic: &FoundNic) -> Finding {
    let (name, rx, tx) = (&nic.driver, nic.rx_queues, nic.tx_queues);
    let evidence = format!("Driver {name}, {rx} receive and {tx} transmit queues.");
    finding("driver", FindingVerdict::Passed, &evidence, "")
}

fn vlans(network: Option<&NetworkOutcome>) -> Finding {
    match network {
        None => finding(
            "vlans",
            FindingVerdict::NotChecked,
            "The network program has not said yet how it is doing.",
            "Look again in a minute.",
        ),
        Some(outcome) if outcome.ok && outcome.trunk.state == "up" => finding(
            "vlans",
            FindingVerdict::Passed,
            "The network program has made the VLAN interfaces of the topology on this card, and the kernel took them.",
            "",
        ),
        Some(outcome) if outcome.ok => finding(
            "vlans",
            FindingVerdict::Warning,
            &format!("The network program says that the trunk is '{}'.", outcome.trunk.state),
            "Mend what the other checks say first; the VLAN interfaces follow by themselves.",
        ),
        Some(outcome) => finding(
            "vlans",
            FindingVerdict::Failed,
            &format!("The network program could not lay the network: {}", outcome.sentence),
            "Do what that sentence says, then look again.",
        ),
    }
}

fn frames(nic: &FoundNic, frames: Option<(u64, u64)>) -> Finding {
    match frames {
        None => finding("frames", FindingVerdict::NotChecked, "The kernel does not tell what the card received.", ""),
        Some((0, sent)) => finding(
            "frames",
            FindingVerdict::Warning,
            &format!("{} has received no frame at all ({sent} sent).", nic.name),
            "Check that the port at the other end is a trunk that carries the VLANs of the topology tagged.",
        ),
        Some((received, sent)) => finding(
            "frames",
            FindingVerdict::Passed,
            &format!("{} has received {received} frames and sent {sent} since it is up.", nic.name),
            "",
        ),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::super::nic::tests::nic;
    use super::*;

    fn verdict(check: &TrunkCheck, name: &str) -> FindingVerdict {
        check.findings.iter().find(|finding| finding.name == name).unwrap().verdict
    }

    #[test]
    fn without_a_trunk_it_says_so() {
        let check = report(&Seen { wanted: None, nic: None, frames: None, network: None, probes: &[None, None] });
        assert_eq!((check.mac, check.findings.len()), (None, 1));
        assert!(check.findings[0].evidence.contains("practice device"));
    }

    #[test]
    fn a_card_that_is_gone_a_cable_that_is_out_and_a_port_that_is_silent() {
        let wanted = "52:54:00:00:00:04".parse().ok();
        let gone = report(&Seen { wanted, nic: None, frames: None, network: None, probes: &[None, None] });
        assert_eq!(verdict(&gone, "chosen"), FindingVerdict::Failed);
        let mut card = nic("ens4", "52:54:00:00:00:04", "a2");
        (card.carrier, card.speed_mbps) = (false, Some(100));
        let network = NetworkOutcome { ok: false, sentence: "no such card".to_owned(), trunk: Default::default() };
        let bad = report(&Seen {
            wanted,
            nic: Some(&card),
            frames: Some((0, 7)),
            network: Some(&network),
            probes: &[None, None],
        });
        let verdicts = ["link", "speed", "vlans", "frames"].map(|name| verdict(&bad, name));
        use FindingVerdict::{Failed, NotChecked, Passed, Warning};
        assert_eq!(verdicts, [Failed, Warning, Failed, Warning]);
        (card.carrier, card.speed_mbps) = (true, Some(10_000));
        let mut network = NetworkOutcome { ok: true, ..network };
        network.trunk.state = "up".to_owned();
        let good = report(&Seen {
            wanted,
            nic: Some(&card),
            frames: Some((9, 7)),
            network: Some(&network),
            probes: &[None, None],
        });
        let verdicts = ["link", "speed", "vlans", "frames"].map(|name| verdict(&good, name));
        assert_eq!(verdicts, [Passed, Passed, Passed, Passed]);
        assert_eq!(verdict(&good, "duplicates"), NotChecked, "what nobody looked at has not passed");
    }
}
