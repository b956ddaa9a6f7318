//! What the questions to the trunk found, as findings: whether somebody else has our addresses, whether the device answers for its own, and with
//! which VLAN tags frames come in. Pure. Silence is told and never taken for a fault by itself: a neighbour that has nothing to say is silent.

use std::collections::BTreeSet;

use tbi_api::setup::{Finding, FindingVerdict};

use super::super::nic::Mac;
use super::trunk::finding;
use crate::network::probe::{ProbeOutcome, Probed, VlanSeen, Whose};

/// What is known of the wire, by namespace.
pub(super) type Probes = [Option<ProbeOutcome>; 2];

/// All three findings.
pub(super) fn findings(trunk: Mac, probes: &Probes) -> Vec<Finding> {
    let trunk = trunk.to_string();
    // What was asked on another card says nothing of this one.
    let about: Vec<&ProbeOutcome> = probes.iter().flatten().filter(|outcome| outcome.trunk == trunk).collect();
    if let Some(outcome) = about.iter().find(|outcome| !outcome.sentence.is_empty()) {
        return vec![finding(
            "duplicates",
            FindingVerdict::NotChecked,
            &format!("The wire could not be asked: {}.", outcome.sentence),
            "Mend what the other checks say, then ask again.",
        )];
    }
    if about.len() < probes.len() {
        return vec![finding(
            "duplicates",
            FindingVerdict::NotChecked,
            "Nobody has asked the wire yet whether somebody else has the addresses of the topology.",
            "Ask it (POST /v1/trunk/probe); it takes up to seven seconds.",
        )];
    }
    let vlans: Vec<&VlanSeen> = about.iter().flat_map(|outcome| &outcome.vlans).collect();
    let when = about.iter().map(|outcome| outcome.when.as_str()).min().unwrap_or_default();
    let seconds = about.iter().map(|outcome| outcome.took_ms.div_ceil(1000)).max().unwrap_or(0);
    vec![duplicates(&vlans, when), device(&vlans), tags(&vlans, seconds)]
}

fn probed<'a>(vlans: &[&'a VlanSeen], whose: Whose) -> Vec<(&'a VlanSeen, &'a Probed)> {
    let of = |vlan: &&'a VlanSeen| {
        let vlan: &'a VlanSeen = vlan;
        vlan.addresses.iter().filter(move |probed| probed.whose == whose).map(move |probed| (vlan, probed))
    };
    vlans.iter().flat_map(of).collect()
}

/// `172.17.0.2 on VLAN 30 (52:54:00:00:00:09)`.
fn claimed((vlan, probed): &(&VlanSeen, &Probed)) -> String {
    format!("{} on VLAN {} ({})", probed.address, vlan.vlan, probed.answers.join(", "))
}

fn duplicates(vlans: &[&VlanSeen], when: &str) -> Finding {
    const NAME: &str = "duplicates";
    let ours = probed(vlans, Whose::Ours);
    let taken: Vec<String> = ours.iter().filter(|(_, probed)| !probed.answers.is_empty()).map(claimed).collect();
    if !taken.is_empty() {
        return finding(
            NAME,
            FindingVerdict::Failed,
            &format!("Asked at {when}: somebody else answers for {}.", taken.join(", ")),
            "Find whoever has this hardware address in the switch's table and give it another address, or move the topology to networks \
             that nobody else uses.",
        );
    }
    let trouble = vlans.iter().find(|vlan| !vlan.trouble.is_empty());
    if let Some(vlan) = trouble {
        return finding(
            NAME,
            FindingVerdict::NotChecked,
            &format!("Asked at {when}: questions could not be sent on VLAN {} ({}).", vlan.vlan, vlan.trouble),
            "Check the link of the card, then ask again.",
        );
    }
    let asked = ours.len();
    if vlans.iter().all(|vlan| vlan.frames == 0) {
        return finding(
            NAME,
            FindingVerdict::Warning,
            &format!(
                "Asked at {when} for {asked} addresses: nobody answered, but no frame came in at all, so it is not known whether the questions \
                 arrived anywhere."
            ),
            "Check that the port at the other end carries the VLANs of the topology tagged, then ask again.",
        );
    }
    let evidence =
        format!("Asked at {when} for {asked} addresses, up to three times each: nobody else answers for one.");
    finding(NAME, FindingVerdict::Passed, &evidence, "")
}

fn device(vlans: &[&VlanSeen]) -> Finding {
    const NAME: &str = "device-answers";
    let all = probed(vlans, Whose::Device);
    let several: Vec<String> = all.iter().filter(|(_, probed)| probed.answers.len() > 1).map(claimed).collect();
    let silent = all.iter().filter(|(_, probed)| probed.answers.is_empty());
    let silent: Vec<String> =
        silent.map(|(vlan, probed)| format!("{} on VLAN {}", probed.address, vlan.vlan)).collect();
    let macs: BTreeSet<&str> = all.iter().flat_map(|(_, probed)| &probed.answers).map(String::as_str).collect();
    let macs: Vec<&str> = macs.into_iter().collect();
    if !several.is_empty() {
        return finding(
            NAME,
            FindingVerdict::Failed,
            &format!("More than one answers for the device's {}.", several.join(", ")),
            "Leave each address to one of them; what is measured would change from one to the other.",
        );
    }
    if !silent.is_empty() {
        return finding(
            NAME,
            FindingVerdict::Warning,
            &format!("Nobody answers for the device's {}.", silent.join(", ")),
            "Give the device these addresses on these VLANs, or change the topology to those it has.",
        );
    }
    let evidence =
        format!("The device answers for all {} addresses that routes lead to ({}).", all.len(), macs.join(", "));
    finding(NAME, FindingVerdict::Passed, &evidence, "")
}

fn tags(vlans: &[&VlanSeen], seconds: u64) -> Finding {
    const NAME: &str = "tags";
    let count = |vlan: &&VlanSeen| match vlan.frames {
        0 => format!("VLAN {}: nothing seen", vlan.vlan),
        frames => format!("VLAN {}: {frames} frames", vlan.vlan),
    };
    let counts: Vec<String> = vlans.iter().map(count).collect();
    let evidence = format!("Tagged frames that came in within {seconds} s: {}.", counts.join("; "));
    let back: Vec<String> =
        vlans.iter().filter(|vlan| vlan.echoes > 0).map(|vlan| format!("VLAN {}", vlan.vlan)).collect();
    if !back.is_empty() {
        return finding(
            NAME,
            FindingVerdict::Warning,
            &format!("{evidence} On {} frames came in that name this card itself as their sender.", back.join(", ")),
            "Look for a loop in the network, or for another card with the same hardware address.",
        );
    }
    if vlans.iter().any(|vlan| vlan.frames == 0) {
        return finding(
            NAME,
            FindingVerdict::Warning,
            &evidence,
            "This need not be a fault: who has nothing to say is silent. Check that the port at the other end carries these VLANs tagged.",
        );
    }
    finding(NAME, FindingVerdict::Passed, &evidence, "")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use FindingVerdict::{Failed, NotChecked, Passed, Warning};

    const TRUNK: &str = "52:54:00:00:00:04";
    const THEIRS: &str = "52:54:00:00:00:09";

    fn vlan(vlan: u16, frames: u64, ours: &[&str], device: &[&str]) -> VlanSeen {
        let answers = |answers: &[&str]| answers.iter().map(|mac| (*mac).to_owned()).collect();
        let probed = |host: u16, whose, by: &[&str]| Probed {
            address: format!("172.16.{}.{host}", vlan % 100).parse().unwrap(),
            whose,
            probes: 3,
            answers: answers(by),
        };
        VlanSeen {
            vlan,
            interface: format!("vlan{vlan}"),
            frames,
            echoes: 0,
            trouble: String::new(),
            addresses: vec![probed(2, Whose::Ours, ours), probed(1, Whose::Device, device)],
        }
    }

    fn outcome(vlans: Vec<VlanSeen>) -> Option<ProbeOutcome> {
        Some(ProbeOutcome {
            when: "2026-01-31T23:59:59Z".to_owned(),
            trunk: TRUNK.to_owned(),
            took_ms: 6_200,
            vlans,
            sentence: String::new(),
        })
    }

    fn found(agents: Option<ProbeOutcome>, isp: Option<ProbeOutcome>) -> Vec<(String, FindingVerdict, String)> {
        let findings = findings(TRUNK.parse().unwrap(), &[agents, isp]);
        for one in &findings {
            assert_eq!(one.verdict == Passed, one.remedy.is_empty(), "{one:?}");
        }
        findings.into_iter().map(|one| (one.name, one.verdict, one.evidence)).collect()
    }

    fn verdicts(found: &[(String, FindingVerdict, String)]) -> Vec<FindingVerdict> {
        found.iter().map(|(_, verdict, _)| *verdict).collect()
    }

    #[test]
    fn a_wire_on_which_all_is_well() {
        let all = found(
            outcome(vec![vlan(20, 4, &[], &[THEIRS]), vlan(30, 2, &[], &[THEIRS])]),
            outcome(vec![vlan(2001, 9, &[], &[THEIRS])]),
        );
        assert_eq!(verdicts(&all), [Passed, Passed, Passed]);
        assert!(all[0].2.contains("3 addresses") && all[1].2.contains(THEIRS), "{all:?}");
        assert_eq!(
            all[2].2,
            "Tagged frames that came in within 7 s: VLAN 20: 4 frames; VLAN 30: 2 frames; VLAN 2001: 9 frames."
        );
    }

    #[test]
    fn a_neighbour_with_our_address_is_told_with_vlan_and_hardware_address() {
        let all = found(outcome(vec![vlan(20, 4, &[THEIRS], &[THEIRS])]), outcome(vec![vlan(2001, 9, &[], &[THEIRS])]));
        assert_eq!(all[0].1, Failed);
        assert!(all[0].2.contains("172.16.20.2 on VLAN 20 (52:54:00:00:00:09)"), "{all:?}");
    }

    #[test]
    fn a_device_that_is_silent_and_two_that_answer_for_one_address() {
        let all = found(outcome(vec![vlan(20, 4, &[], &[])]), outcome(vec![vlan(2001, 9, &[], &[THEIRS])]));
        assert!(all[1].1 == Warning && all[1].2.contains("172.16.20.1 on VLAN 20"), "{all:?}");
        let all = found(outcome(vec![vlan(20, 4, &[], &[])]), outcome(vec![vlan(2001, 9, &[], &[THEIRS, TRUNK])]));
        assert!(all[1].1 == Failed && all[1].2.contains("172.16.1.1 on VLAN 2001"), "{all:?}");
    }

    #[test]
    fn nothing_seen_is_said_and_no_failure() {
        let all = found(outcome(vec![vlan(20, 0, &[], &[THEIRS])]), outcome(vec![vlan(2001, 9, &[], &[THEIRS])]));
        assert_eq!(verdicts(&all), [Passed, Passed, Warning]);
        assert!(all[2].2.contains("VLAN 20: nothing seen"), "{all:?}");
        // Where nothing at all comes in, silence is no proof that nobody has an address.
        let all = found(outcome(vec![vlan(20, 0, &[], &[])]), outcome(vec![vlan(2001, 0, &[], &[])]));
        assert_eq!(verdicts(&all), [Warning, Warning, Warning]);
    }

    #[test]
    fn frames_that_come_back_are_a_loop_or_a_twin() {
        let back = VlanSeen { echoes: 3, ..vlan(20, 4, &[], &[THEIRS]) };
        let all = found(outcome(vec![back]), outcome(vec![vlan(2001, 9, &[], &[THEIRS])]));
        assert!(
            all[2].1 == Warning && all[2].2.contains("On VLAN 20 frames came in that name this card itself"),
            "{all:?}"
        );
    }

    #[test]
    fn what_nobody_asked_could_not_be_asked_or_was_asked_on_another_card_has_not_passed() {
        let well = || outcome(vec![vlan(20, 4, &[], &[THEIRS])]);
        let another = well().map(|outcome| ProbeOutcome { trunk: THEIRS.to_owned(), ..outcome });
        let failed = well().map(|outcome| ProbeOutcome { sentence: "no such interface".to_owned(), ..outcome });
        let deaf = outcome(vec![VlanSeen { trouble: "Network is down".to_owned(), ..vlan(20, 4, &[], &[]) }]);
        for (agents, isp) in [(None, None), (well(), None), (well(), another), (failed, well()), (deaf, well())] {
            let all = found(agents, isp);
            assert_eq!((all[0].0.as_str(), all[0].1), ("duplicates", NotChecked), "{all:?}");
        }
    }
}
