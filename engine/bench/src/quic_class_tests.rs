//! Table tests: every class and its borders.

use super::*;
use crate::control::engine::{Fallback, ProbeFailure};

fn ok(persona: &str, interception: Interception, sent: u64, lost: u64) -> Probe {
    Probe { quic_packets: Some((sent, lost)), ..probe_for_tests(persona, interception) }
}

fn failed(persona: &str, cause: Cause, fault: Fault, active: bool) -> Probe {
    let failure = ProbeFailure { cause, fault, active, after: Span::from_millis(500), detail: String::new() };
    Probe { failure: Some(failure), ..probe_for_tests(persona, Interception::Unknown) }
}

fn silent(persona: &str) -> Probe {
    failed(persona, Cause::HandshakeTimeout, Fault::Path, false)
}

fn refused(persona: &str) -> Probe {
    failed(persona, Cause::ConnectRefused, Fault::Path, true)
}

fn with_fallback(probe: Probe, from_quic_start_ms: Option<u64>) -> Probe {
    let fallback = Fallback {
        interception: Interception::Intercepted,
        ttfb_from_quic_start: from_quic_start_ms.map(Span::from_millis),
        ttfb: from_quic_start_ms.map(|_| Span::from_millis(7)),
    };
    Probe { fallback: Some(fallback), ..probe }
}

fn h2(alt_svc: bool) -> Probe {
    Probe {
        alt_svc: Some(alt_svc),
        ttfb: Some(Span::from_millis(10)),
        ..probe_for_tests("a", Interception::Intercepted)
    }
}

fn report(probes: Vec<Probe>) -> ProbeReport {
    ProbeReport { probes }
}

/// `count` probes spread over five personas, made by `probe`.
fn spread(count: usize, probe: impl Fn(&str) -> Probe) -> Vec<Probe> {
    (0..count).map(|i| probe(["a", "b", "c", "d", "e"][i % 5])).collect()
}

fn class(h3: Vec<Probe>, h2: Vec<Probe>) -> QuicClass {
    classify(&report(h3), &report(h2)).class
}

fn kept() -> Vec<Probe> {
    vec![h2(true); 5]
}

use Interception::{Altered, EndToEnd, Intercepted};

#[test]
fn the_plain_classes() {
    let decrypted = || spread(20, |persona| ok(persona, Intercepted, 12, 0));
    let passed = || spread(20, |persona| ok(persona, EndToEnd, 12, 0));
    let cases = [
        (decrypted(), kept(), QuicClass::Decrypt),
        (passed(), kept(), QuicClass::Pass),
        (passed(), Vec::new(), QuicClass::Pass),
        (passed(), vec![h2(false); 5], QuicClass::Strip),
        (decrypted(), vec![h2(false); 5], QuicClass::Strip),
        (spread(20, silent), kept(), QuicClass::BlockSilent),
        (spread(20, refused), kept(), QuicClass::BlockActive),
        (spread(20, silent), vec![h2(false); 5], QuicClass::BlockSilent),
    ];
    for (number, (h3, h2, expected)) in cases.into_iter().enumerate() {
        let verdict = classify(&report(h3), &report(h2));
        assert_eq!(verdict.class, expected, "case {number}: {}", verdict.evidence);
        assert!(verdict.leaks.is_empty() && verdict.evidence.ends_with('.'), "case {number}");
    }
}

#[test]
fn a_block_is_active_only_by_majority() {
    for (told, expected) in [(0, QuicClass::BlockSilent), (10, QuicClass::BlockSilent), (11, QuicClass::BlockActive)] {
        let mut h3 = spread(20 - told, silent);
        h3.extend(spread(told, refused));
        assert_eq!(class(h3, kept()), expected, "{told} of 20");
    }
}

#[test]
fn failed_attempts_degrade_when_chance_cannot_explain_them() {
    for (failures, of, expected) in [
        (0, 20, QuicClass::Pass),
        (1, 20, QuicClass::Pass), // one in twenty happens on a healthy path
        (2, 20, QuicClass::Degrade),
        (19, 20, QuicClass::Degrade),
        (1, 5, QuicClass::Unclear), // too few to excuse it
        (2, 5, QuicClass::Degrade),
        (9, 1000, QuicClass::Pass), // below 1 %
        (10, 1000, QuicClass::Degrade),
    ] {
        let mut h3 = spread(of - failures, |persona| ok(persona, EndToEnd, 12, 0));
        // All on one persona that works otherwise, or spread: never a whole persona.
        h3.extend(spread(failures, silent));
        assert_eq!(class(h3, kept()), expected, "{failures} of {of}");
    }
}

#[test]
fn lost_packets_degrade_from_one_per_cent_and_more_than_chance() {
    for (lost, sent, expected) in [
        (0, 240, QuicClass::Decrypt),
        (3, 240, QuicClass::Decrypt), // above 1 %, yet three losses among so few packets happen
        (4, 240, QuicClass::Degrade),
        (99, 10_000, QuicClass::Decrypt),
        (100, 10_000, QuicClass::Degrade),
        (1_000_000, 2_000_000, QuicClass::Degrade),
        (0, 0, QuicClass::Decrypt),
    ] {
        let mut h3 = spread(19, |persona| ok(persona, Intercepted, 0, 0));
        h3.push(ok("a", Intercepted, sent, lost));
        assert_eq!(class(h3, kept()), expected, "{lost} of {sent}");
    }
}

#[test]
fn false_alarms_stay_improbable_at_every_size() {
    // The rule itself, against the exact binomial tail on a path that fails one in a thousand.
    for all in [5u64, 20, 100, 240, 500, 1000, 3000] {
        let least = (1..=all).find(|&bad| beyond_chance(bad, all));
        let Some(least) = least else { panic!("no number of failures among {all} would alarm") };
        let mut below = 0.0;
        let mut term = 0.999f64.powi(i32::try_from(all).unwrap());
        for bad in 0..least {
            below += term;
            term *= (all - bad) as f64 / (bad + 1) as f64 / 999.0;
        }
        assert!(1.0 - below <= 0.0011, "{least} of {all}: {}", 1.0 - below);
    }
}

#[test]
fn both_kinds_of_connection_are_a_leak_and_the_minority_is_named() {
    let mut h3 = spread(15, |persona| ok(persona, Intercepted, 12, 0));
    h3.extend([ok("bank", EndToEnd, 12, 0), ok("bank", EndToEnd, 12, 0), ok("c", EndToEnd, 12, 0)]);
    let verdict = classify(&report(h3), &report(kept()));
    assert_eq!(verdict.class, QuicClass::Mixed);
    assert_eq!(verdict.leaks, ["bank: 0 decrypted, 2 end to end, 0 failed", "c: 3 decrypted, 1 end to end, 0 failed"]);
}

#[test]
fn a_persona_that_is_blocked_as_a_whole_is_a_policy_and_not_bad_luck() {
    let mut h3 = spread(15, |persona| ok(persona, EndToEnd, 12, 0));
    h3.extend([silent("bank"), silent("bank"), silent("bank")]);
    let verdict = classify(&report(h3.clone()), &report(kept()));
    assert_eq!(verdict.class, QuicClass::Mixed);
    assert_eq!(verdict.leaks, ["bank: 0 decrypted, 0 end to end, 3 failed"]);
    // One answer from it, or fewer probes, and it may as well be loss.
    h3.push(ok("bank", EndToEnd, 12, 0));
    assert_eq!(class(h3.clone(), kept()), QuicClass::Degrade);
    h3.truncate(17);
    assert_eq!(class(h3, kept()), QuicClass::Degrade);
}

#[test]
fn alt_svc_removed_for_some_is_a_leak() {
    let h3 = spread(20, |persona| ok(persona, EndToEnd, 12, 0));
    let verdict = classify(&report(h3), &report(vec![h2(true), h2(false), h2(false)]));
    assert_eq!((verdict.class, verdict.alt_svc), (QuicClass::Mixed, AltSvc::Partly));
    assert_eq!(verdict.leaks, ["a: 2 without Alt-Svc over HTTP/2"]);
}

#[test]
fn pages_that_are_not_the_personas_say_nothing_of_alt_svc() {
    let h3 = || spread(20, |persona| ok(persona, EndToEnd, 12, 0));
    let block_page = Probe { interception: Altered, ..h2(false) };
    let error_page = Probe { alt_svc: Some(false), ..failed("a", Cause::HttpStatus, Fault::Peer, false) };
    assert_eq!(class(h3(), vec![h2(true), block_page.clone(), error_page.clone()]), QuicClass::Pass);
    let verdict = classify(&report(h3()), &report(vec![block_page, error_page]));
    assert_eq!((verdict.class, verdict.alt_svc), (QuicClass::Pass, AltSvc::Unseen));
}

#[test]
fn what_cannot_be_judged_says_what_to_repair() {
    let untrusted = |persona: &str| failed(persona, Cause::CertificateUntrusted, Fault::Path, false);
    let local = |persona: &str| failed(persona, Cause::LocalResource, Fault::Local, false);
    let h2_dead = vec![silent("a"); 5];
    for (h3, h2, remedy) in [
        (Vec::new(), kept(), "was not probed"),
        (spread(20, |persona| ok(persona, Altered, 12, 0)), kept(), "check what answers"),
        (spread(20, untrusted), kept(), "give the engine the CA"),
        (spread(20, local), kept(), "repair the engine's network"),
        (spread(20, silent), h2_dead, "the path is down"),
        (spread(20, silent), Vec::new(), "the path is down"),
        (spread(19, local).into_iter().chain([ok("a", EndToEnd, 12, 0)]).collect(), Vec::new(), ""),
    ] {
        let verdict = classify(&report(h3), &report(h2));
        assert!(verdict.evidence.contains(remedy), "{}", verdict.evidence);
        assert!(remedy.is_empty() || verdict.class == QuicClass::Unclear, "{}", verdict.evidence);
    }
}

#[test]
fn a_fallback_that_worked_shows_that_the_path_lives() {
    let h3 = spread(20, |persona| with_fallback(silent(persona), Some(520)));
    assert_eq!(class(h3, Vec::new()), QuicClass::BlockSilent);
    let h3 = spread(20, |persona| with_fallback(silent(persona), None));
    assert_eq!(class(h3, Vec::new()), QuicClass::Unclear);
}

#[test]
fn the_fallback_penalty_is_what_trying_quic_first_cost() {
    let penalty = |h3: Vec<Probe>, h2: Vec<Probe>| classify(&report(h3), &report(h2)).fallback_penalty;
    let times = [500, 510, 530, 900].map(|ms| with_fallback(silent("a"), Some(ms))).to_vec();
    // Median of the four is 520 ms, of HTTP/2 alone 10 ms.
    let expected = FallbackPenalty { median: Span::from_millis(510), samples: 4, kind: PenaltyKind::Timeout };
    assert_eq!(penalty(times.clone(), kept()), Some(expected));
    let told: Vec<Probe> = spread(3, |persona| with_fallback(refused(persona), Some(12)));
    let expected = FallbackPenalty { median: Span::from_millis(2), samples: 3, kind: PenaltyKind::Refusal };
    assert_eq!(penalty(told, kept()), Some(expected));
    // Faster than HTTP/2 alone by chance: no penalty rather than a negative one.
    let quick = vec![with_fallback(refused("a"), Some(5))];
    assert_eq!(penalty(quick, kept()).map(|penalty| penalty.median), Some(Span::ZERO));
    assert_eq!(penalty(times, Vec::new()), None);
    assert_eq!(penalty(vec![with_fallback(silent("a"), None)], kept()), None);
    assert_eq!(penalty(spread(20, |persona| ok(persona, EndToEnd, 12, 0)), kept()), None);
}

#[test]
fn the_evidence_is_one_sentence_with_the_counts() {
    let mut h3 = spread(18, |persona| ok(persona, Intercepted, 10, 0));
    h3.extend([refused("a"), silent("b")]);
    let verdict = classify(&report(h3), &report(kept()));
    assert_eq!(
        verdict.evidence,
        "HTTP/3 works for a part of the attempts only: of 20 HTTP/3 probes 18 were decrypted, 0 end to end, 0 altered, 2 failed \
         (1 of them refused) and 0 failed in the bench; 0 of 180 QUIC packets were lost; Alt-Svc over HTTP/2 was kept."
    );
}
