//! Each check judged for each reason it can fail, and what the gate makes of verdicts.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::subnets::{Machine, Range, ranges};
use super::*;
use crate::catalogue::Catalogue;
use crate::plan::{Plan, Profile};
use crate::topology::Topology;

const NOW: i64 = 1_764_000_000;

fn builtin() -> Vec<Range> {
    ranges(&Topology::builtin(), &Catalogue::builtin())
}

fn network(name: &str, net: &str) -> (String, ipnet::IpNet) {
    (name.to_owned(), net.parse().unwrap())
}

#[track_caller]
fn fails(finding: &Finding, words: &[&str]) {
    assert_eq!(finding.verdict, CheckVerdict::Failed, "{finding:?}");
    assert!(!finding.remedy.is_empty());
    for word in words {
        assert!(finding.evidence.contains(word), "'{word}' is not in: {}", finding.evidence);
    }
}

#[test]
fn subnets_that_are_apart_pass() {
    let machine = Machine {
        addresses: vec![network("lo", "127.0.0.1/8"), network("eth0", "192.0.2.7/24"), network("eth0", "fe80::1/64")],
        routes: vec![network("eth0", "0.0.0.0/0"), network("tun0", "128.0.0.0/1"), network("eth0", "192.0.2.0/24")],
    };
    let finding = subnets::judge(&builtin(), &machine);
    assert_eq!(finding.verdict, CheckVerdict::Passed, "{finding:?}");
    assert!(finding.evidence.contains("1 addresses (eth0 192.0.2.7/24) and 1 routes"), "{}", finding.evidence);
    assert!(subnets::judge(&builtin(), &Machine::default()).evidence.contains("no address of its own"));
}

#[test]
fn a_management_address_in_a_range_of_the_bench() {
    let machine = Machine { addresses: vec![network("eth0", "172.17.0.1/16")], ..Machine::default() };
    fails(
        &subnets::judge(&builtin(), &machine),
        &["172.17.0.0/16 of inside network 'synthetic'", "eth0 (172.17.0.1/16)"],
    );
    let machine = Machine { addresses: vec![network("eth0", "fd00:172:16:5::9/64")], ..Machine::default() };
    fails(&subnets::judge(&builtin(), &machine), &["inside network 'browser'"]);
}

#[test]
fn a_route_of_the_machine_over_a_range_of_the_bench() {
    let machine = Machine { routes: vec![network("wg0", "172.16.0.0/12")], ..Machine::default() };
    fails(&subnets::judge(&builtin(), &machine), &["'browser'", "'synthetic'", "172.16.0.0/12 out of wg0"]);
}

#[test]
fn personas_with_private_addresses_and_ranges_that_overlap() {
    let range =
        |owner: &str, prefix: &str, public| Range { owner: owner.to_owned(), prefix: prefix.parse().unwrap(), public };
    let machine = Machine::default();
    fails(
        &subnets::judge(&[range("the personas of 'xx'", "10.1.2.0/24", true)], &machine),
        &["private range (RFC 1918)"],
    );
    let twice = [range("a", "198.51.100.0/24", true), range("b", "198.51.100.128/25", false)];
    fails(&subnets::judge(&twice, &machine), &["198.51.100.128/25 of b overlaps 198.51.100.0/24 of a"]);
    assert_eq!(subnets::judge(&[range("inside", "10.0.0.0/16", false)], &machine).verdict, CheckVerdict::Passed);
}

#[test]
fn a_long_list_of_conflicts_stays_a_sentence() {
    let machine =
        Machine { routes: vec![network("eth0", "0.0.0.0/2"), network("eth0", "128.0.0.0/2")], ..Machine::default() };
    let finding = subnets::judge(&builtin(), &machine);
    fails(&finding, &["more"]);
    assert!(finding.evidence.len() < 500, "{}", finding.evidence);
}

fn validity(from: i64, until: i64) -> pki::Validity {
    pki::Validity { what: "the persona CA", from, until, remedy: "make a new one" }
}

fn authority(trusted: Option<&str>, in_force: Option<&str>) -> pki::Authority {
    let [trusted, in_force] = [trusted, in_force].map(|it| it.map(str::to_owned));
    pki::Authority { what: "the device's CA", trusted, in_force, remedy: "give it to the agents" }
}

#[test]
fn certificates_are_valid_from_before_the_start_until_after_the_planned_end() {
    let judge =
        |from, until| pki::judge(NOW, NOW + 100, &[validity(from, until)], &[authority(Some("aa"), Some("aa"))]);
    assert_eq!(judge(NOW, NOW + 101).verdict, CheckVerdict::Passed);
    fails(&judge(NOW + 1, NOW + 1000), &["the persona CA will be valid from", "2025-11-24 16:00:01 UTC"]);
    fails(&judge(0, NOW), &["the persona CA ended on 2025-11-24 16:00:00 UTC"]);
    fails(&judge(0, NOW + 100), &["before the planned end of the run on 2025-11-24 16:01:40 UTC"]);
}

#[test]
fn agents_trust_the_authority_in_force() {
    let judge = |trusted, in_force| pki::judge(NOW, NOW, &[], &[authority(trusted, in_force)]);
    assert_eq!(judge(Some("aa"), Some("aa")).verdict, CheckVerdict::Passed);
    assert!(judge(Some("aa"), None).evidence.contains("was not told"));
    fails(&judge(Some("aa"), Some("bb")), &["trust the device's CA with SHA-256 aa", "in force has bb"]);
    fails(&judge(None, Some("bb")), &["were not given the certificate of the device's CA"]);
}

#[test]
fn a_planned_end_is_that_of_all_trials() {
    let plan = Plan::of_profile(Profile::Full);
    let hours = pki::planned_seconds(&plan) / 3600;
    assert!((20..60).contains(&hours), "{hours} h for hundreds of trials of 325 s");
}

fn reading() -> clock::Reading {
    let pasts = vec![
        clock::Past { what: "this program's build".to_owned(), at: NOW - 86_400 },
        clock::Past { what: "the end of an earlier run".to_owned(), at: NOW - 60 },
    ];
    clock::Reading { now: NOW, pasts, synchronised: Some(true), compared_ms: 1500, stepped: None }
}

#[test]
fn a_clock_before_the_build_or_before_what_was_known_last() {
    assert_eq!(clock::judge(&reading()).verdict, CheckVerdict::Passed);
    let behind = clock::Reading { now: NOW - 63, ..reading() };
    fails(
        &clock::judge(&behind),
        &["2025-11-24 15:58:57 UTC", "the end of an earlier run is of 2025-11-24 15:59:00 UTC"],
    );
    let pasts = reading().pasts.into_iter().take(1).collect();
    fails(&clock::judge(&clock::Reading { now: 0, pasts, ..reading() }), &["1970-01-01", "this program's build"]);
}

#[test]
fn a_clock_that_steps_fails_and_one_that_nobody_keeps_warns() {
    let stepped = clock::Reading { stepped: Some("The wall clock stepped.".to_owned()), ..reading() };
    fails(&clock::judge(&stepped), &["keep pace", "The wall clock stepped)"]);
    let finding = clock::judge(&clock::Reading { synchronised: Some(false), ..reading() });
    assert_eq!(finding.verdict, CheckVerdict::Warning);
    assert!(finding.evidence.contains("not synchronised") && !finding.remedy.is_empty());
    assert!(clock::judge(&clock::Reading { synchronised: None, ..reading() }).evidence.contains("no time service"));
}

#[test]
fn an_api_that_is_not_the_devices() {
    let said = device::Said {
        vendor: device::PRACTICE.0.to_owned(),
        model: device::PRACTICE.1.to_owned(),
        version: "1".to_owned(),
        ca_sha256: Some("aa".to_owned()),
        given_ca_sha256: Some("aa".to_owned()),
    };
    assert_eq!(device::judge("practice", Ok(&said)).verdict, CheckVerdict::Passed);
    fails(
        &device::judge("practice", Err("it refused to identify itself: there is nothing.")),
        &["identify itself: there is nothing"],
    );
    let other = device::Said { vendor: "Somebody".to_owned(), ..said.clone() };
    fails(&device::judge("practice", Ok(&other)), &["calls itself 'Somebody practice DUT'"]);
    assert_eq!(device::judge("another", Ok(&other)).verdict, CheckVerdict::Passed);
    let torn = device::Said { given_ca_sha256: Some("bb".to_owned()), ..said };
    fails(&device::judge("practice", Ok(&torn)), &["names a CA with SHA-256 aa, but gives one with bb"]);
    fails(&device::no_adapter(), &["no adapter"]);
}

fn gate(finding: &Finding, bypass: Option<Bypass>) -> Preflight {
    let check = |name| match name {
        CheckName::Clock => Check::new(name, finding.clone(), 3),
        _ => Check::new(name, Finding::passed("as it should be"), 1),
    };
    Preflight { checks: CheckName::ALL.map(check).into(), bypass }
}

#[test]
fn a_gate_opens_only_when_nothing_failed_or_was_left_out() {
    assert_eq!(gate(&Finding::passed("right"), None).refusal(), None);
    assert_eq!(gate(&Finding::warning("nobody keeps it", "do"), None).refusal(), None);
    let refusal = gate(&Finding::failed("it is 1970", "set it"), None).refusal().unwrap();
    assert_eq!(refusal, "The pre-flight check 'clock skew' failed, so nothing was measured: it is 1970; set it.");
    assert!(gate(&Finding::skipped("no time", "wait"), None).refusal().unwrap().contains("'clock skew' was skipped"));
    let mut short = gate(&Finding::passed("right"), None);
    short.checks.pop();
    assert!(short.refusal().unwrap().contains("'device API authenticates' was not made"));
}

#[test]
fn a_bypass_opens_the_gate_and_says_so() {
    let bypass = Bypass::new("  the clock of this box is known to be dead ", "anna").unwrap();
    let failed = gate(&Finding::failed("it is 1970", "set it"), Some(bypass.clone()));
    assert_eq!(failed.refusal(), None);
    assert_eq!(
        failed.caution().unwrap(),
        "Pre-flight bypassed by anna: the clock of this box is known to be dead. Not passed: 'clock skew' (it is 1970)."
    );
    assert!(
        gate(&Finding::passed("right"), Some(bypass)).caution().unwrap().contains("Every check passed all the same.")
    );
    assert_eq!(gate(&Finding::failed("it is 1970", "set it"), None).caution(), None);
}

#[test]
fn a_reason_is_one_that_can_stand_on_a_cover() {
    for (reason, length) in [("", Some(0)), ("too short", Some(9)), ("ten chars.", None)] {
        let error = length.map(|found| ReasonError::Length { found });
        assert_eq!(Bypass::new(reason, "a").err(), error, "{reason}");
    }
    assert!(Bypass::new(&"é".repeat(500), "a").is_ok());
    assert_eq!(Bypass::new(&"é".repeat(501), "a").err(), Some(ReasonError::Length { found: 501 }));
    for character in ['\n', '\u{7}', '\u{202e}', '\u{200b}', '\u{feff}', '\u{2028}'] {
        let reason = format!("because I{character}say so");
        assert_eq!(Bypass::new(&reason, "a").err(), Some(ReasonError::Unprintable(character)));
    }
}
