//! Whole conclusions from synthetic blocks: valid, bench-limited, mislabelled, broken, interrupted.
#![expect(clippy::unwrap_used, reason = "tests")]

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;
use crate::campaign::{Outcome, Stop, sequence, trials_of};
use crate::control::engine::{Attempts, Cause, ErrorCount, Fault};
use crate::object::Object;
use crate::plan::{Plan, Profile};
use crate::proof::InterceptionCounts;
use crate::protocol::{Arm, Protocol};
use crate::record::{ResultRow, RunStatus, Verdict};
use crate::units::Span;

/// A campaign in which ON takes twice the time and gives half the rate, with headroom 10 for rates and 5 for latency.
fn blocks(plan: &Plan) -> Vec<BlockRecord> {
    let value = |arm: Arm, kpi: Kpi| match (arm, kpi) {
        (Arm::Reference, Kpi::ConnectionsPerSecond) => 500.0,
        (Arm::Reference, Kpi::TransactionsPerSecond) => 10_000.0,
        (Arm::On, Kpi::ConnectionsPerSecond) => 25.0,
        (_, Kpi::ConnectionsPerSecond) => 50.0,
        (Arm::On, kpi) if kpi.more_is_worse() => 2.0,
        (Arm::On, _) => 500.0,
        (_, kpi) if kpi.more_is_worse() => 1.0,
        _ => 1000.0,
    };
    let specs = sequence(plan);
    let block = |(index, spec): (usize, &crate::campaign::BlockSpec)| BlockRecord {
        index: index as u32,
        arm: spec.arm,
        pair: spec.pair,
        at: Span::from_secs(index as u64 * 10),
        took: Span::from_secs(10),
        void: None,
        trials: trials_of(plan, *spec)
            .into_iter()
            .map(|trial| TrialRecord {
                protocol: trial.protocol,
                object: trial.object,
                kind: trial.kind,
                at: Span::ZERO,
                sustain: Span::from_secs(1),
                kpis: Kpi::ALL
                    .into_iter()
                    .filter(|kpi| kpi.trial() == trial.kind)
                    // a per cent of scatter, different in both arms
                    .map(|kpi| (kpi, value(spec.arm, kpi) * (1.0 + 0.01 * ((index * 7 % 5) as f64 - 2.0) / 2.0)))
                    .collect(),
                schedule_lag_p99_us: Some(80),
                attempts: Attempts { succeeded: 100, transactions: 100, ..Attempts::default() },
                errors: Vec::new(),
                proof: match spec.arm {
                    Arm::On => InterceptionCounts { intercepted: 100, ..Default::default() },
                    _ => InterceptionCounts { end_to_end: 100, ..Default::default() },
                },
                observed: Default::default(),
                witness: Default::default(),
                personas_cpu_us: None,
                dut_cpu_us: None,
                ticks: Vec::new(),
            })
            .collect(),
        dut_configuration_sha256: None,
    };
    specs.iter().enumerate().map(block).collect()
}

fn analyse(plan: &Plan, outcome: &Outcome, blocks: &[BlockRecord]) -> (Vec<ResultRow>, Conclusion) {
    let certificate = certificate(plan, blocks);
    let results = results(plan, blocks, certificate.as_ref());
    let proof = proof(plan, blocks);
    let conclusion = conclude(Evidence {
        plan,
        outcome,
        blocks,
        results: &results,
        proof: &proof,
        certificate: certificate.as_ref(),
    });
    (results, conclusion)
}

fn plan() -> Plan {
    Plan { thresholds: vec!["h3 1KB handshake_time cost <= 2.5".parse().unwrap()], ..Plan::of_profile(Profile::Short) }
}

#[test]
fn a_healthy_run_is_valid_and_costs_what_it_costs() {
    let plan = plan();
    let (results, conclusion) = analyse(&plan, &Outcome::Completed, &blocks(&plan));
    assert_eq!((conclusion.valid, conclusion.verdict), (true, Verdict::Passed), "{:?}", conclusion.reasons);
    // 2 protocols x (2 objects x 6 KPIs + connection rate for one object)
    assert_eq!(results.len(), 26);
    for row in &results {
        let cost = row.cost.unwrap();
        let wanted = if row.kpi.more_is_worse() { 2.0 } else { 0.5 };
        assert!((cost.ratio / wanted - 1.0).abs() < 0.02, "{} {}", row.kpi, cost.ratio);
        assert_eq!((cost.pairs, cost.indicative, row.bench_limited), (6, false, false));
        assert!(cost.low.unwrap() < wanted && wanted < cost.high.unwrap(), "{} {cost:?}", row.kpi);
    }
}

#[test]
fn a_broken_threshold_fails_the_run_but_leaves_it_valid() {
    let plan = Plan { thresholds: vec!["h3 1KB handshake_time cost <= 1.5".parse().unwrap()], ..plan() };
    let (_, conclusion) = analyse(&plan, &Outcome::Completed, &blocks(&plan));
    assert_eq!((conclusion.valid, conclusion.verdict, conclusion.verdict.exit_code()), (true, Verdict::Failed, 1));
}

#[test]
fn numbers_near_the_bench_limit_are_marked() {
    let plan = plan();
    let mut blocks = blocks(&plan);
    for block in blocks.iter_mut().filter(|block| block.arm == Arm::Reference) {
        for trial in &mut block.trials {
            if let Some(value) = trial.kpis.get_mut(&Kpi::TransactionsPerSecond) {
                *value = 1100.0;
            }
        }
    }
    let (results, conclusion) = analyse(&plan, &Outcome::Completed, &blocks);
    for row in &results {
        let capacity = matches!(row.kpi, Kpi::TransactionsPerSecond | Kpi::Throughput);
        assert_eq!(row.bench_limited, capacity, "{}", row.kpi);
        assert_eq!(row.note.as_ref().is_some_and(|note| note.contains("at least")), capacity);
    }
    assert!(conclusion.reasons.iter().any(|reason| reason.contains("bench-limited")));
}

#[test]
fn without_reference_blocks_nothing_may_be_claimed() {
    let plan = plan();
    let blocks: Vec<BlockRecord> = blocks(&plan).into_iter().filter(|block| block.arm != Arm::Reference).collect();
    let (results, conclusion) = analyse(&plan, &Outcome::Completed, &blocks);
    assert!(results.iter().all(|row| row.headroom.is_none() && row.note.is_some()));
    assert_eq!(conclusion.verdict, Verdict::NotMeasured);
    assert!(conclusion.reasons[0].contains("no bench certificate"), "{:?}", conclusion.reasons);
}

#[test]
fn one_wrong_connection_in_ten_thousand_is_the_border() {
    let plan = plan();
    for (wrong, valid) in [(1, true), (2, false)] {
        let mut blocks = blocks(&plan);
        // 10,000 ON connections of h3 in all, `wrong` of them end to end.
        let mut rest = 10_000;
        for trial in blocks.iter_mut().filter(|block| block.arm == Arm::On).flat_map(|block| &mut block.trials) {
            if trial.protocol == Protocol::H3 {
                trial.proof = InterceptionCounts { intercepted: rest, ..Default::default() };
                rest = 0;
                if trial.proof.intercepted > 0 {
                    trial.proof.intercepted -= wrong;
                    trial.proof.end_to_end = wrong;
                }
            }
        }
        let (_, conclusion) = analyse(&plan, &Outcome::Completed, &blocks);
        assert_eq!(conclusion.valid, valid, "{wrong} wrong: {:?}", conclusion.reasons);
    }
}

#[test]
fn a_drifting_bench_voids_the_run() {
    let plan = Plan { drift_limit_per_mille: 20, ..plan() };
    let mut blocks = blocks(&plan);
    for value in blocks[0].trials.iter_mut().filter_map(|trial| trial.kpis.get_mut(&Kpi::ConnectionsPerSecond)) {
        *value *= 1.2;
    }
    let (_, conclusion) = analyse(&plan, &Outcome::Completed, &blocks);
    assert!(!conclusion.valid);
    assert!(
        conclusion.reasons[0].contains("drifted") && conclusion.reasons[0].contains("2 %"),
        "{:?}",
        conclusion.reasons
    );
}

#[test]
fn a_path_that_fails_often_is_broken_not_slow() {
    let plan = plan();
    let mut blocks = blocks(&plan);
    let trial = &mut blocks[1].trials[0];
    trial.attempts = Attempts { succeeded: 90, failed: 10, transactions: 100, ..Attempts::default() };
    trial.errors = vec![ErrorCount {
        cause: Cause::HandshakeTimeout,
        fault: Fault::Path,
        count: 10,
        example: "br-bank".to_owned(),
    }];
    let (_, conclusion) = analyse(&plan, &Outcome::Completed, &blocks);
    assert!(conclusion.reasons[0].contains("In block 2") && conclusion.reasons[0].contains("the handshake timed out"));
    assert_eq!(conclusion.verdict, Verdict::NotMeasured);
}

#[test]
fn an_interrupted_run_keeps_what_it_measured_and_claims_nothing() {
    let plan = plan();
    let blocks: Vec<BlockRecord> = blocks(&plan).into_iter().take(4).collect();
    let outcome = Outcome::Stopped(Stop::Interrupt("Stopped by the operator.".to_owned()));
    let (results, conclusion) = analyse(&plan, &outcome, &blocks);
    assert_eq!((conclusion.status, conclusion.verdict), (RunStatus::Interrupted, Verdict::NotMeasured));
    assert_eq!(conclusion.reasons[0], "Stopped by the operator.");
    assert!(results.iter().any(|row| row.cost.is_some()), "one whole pair was measured and is kept");
}

#[test]
fn a_blocked_protocol_has_words_instead_of_a_cost() {
    let mut plan = Plan { thresholds: Vec::new(), ..plan() };
    plan.dut.on.quic = crate::control::practice_dut::QuicPolicy::BlockSilent;
    let (results, _) = analyse(&plan, &Outcome::Completed, &blocks(&plan));
    for row in results.iter().filter(|row| row.protocol == Protocol::H3) {
        assert_eq!((row.on, row.cost), (None, None));
        assert!(row.note.as_ref().is_some_and(|note| note.contains("fallback penalty")));
    }
}

#[test]
fn responses_that_never_come_are_losses_too() {
    let plan = plan();
    let mut blocks = blocks(&plan);
    blocks[1].trials[0].attempts = Attempts { succeeded: 90, unfinished: 10, transactions: 100, ..Attempts::default() };
    let (_, conclusion) = analyse(&plan, &Outcome::Completed, &blocks);
    assert!(conclusion.reasons[0].contains("10 of 100") && conclusion.reasons[0].contains("not answered in time"));
    assert_eq!(conclusion.verdict, Verdict::NotMeasured);
}

#[test]
fn a_resumed_handshake_voids_the_run() {
    let plan = plan();
    let mut blocks = blocks(&plan);
    blocks[2].trials[0].observed.resumed = 1;
    let (_, conclusion) = analyse(&plan, &Outcome::Completed, &blocks);
    assert!(conclusion.reasons[0].contains("1 handshakes were resumed"), "{:?}", conclusion.reasons);
    assert!(!conclusion.valid);
}

#[test]
fn a_rate_that_was_not_offered_is_not_measured() {
    let plan = plan();
    for (skipped, valid) in [(5, true), (6, false)] {
        let mut blocks = blocks(&plan);
        let attempts =
            Attempts { scheduled: 100, sent: 100 - skipped, succeeded: 100 - skipped, skipped, ..Attempts::default() };
        blocks[1].trials[0].attempts = attempts;
        let (_, conclusion) = analyse(&plan, &Outcome::Completed, &blocks);
        assert_eq!(conclusion.valid, valid, "{:?}", conclusion.reasons);
        assert!(conclusion.reasons[0].contains("max_in_flight"), "{:?}", conclusion.reasons);
    }
}

#[test]
fn a_device_that_is_reconfigured_between_blocks_voids_the_run() {
    let plan = plan();
    let mut blocks = blocks(&plan);
    for block in blocks.iter_mut().filter(|block| block.arm != Arm::Reference) {
        block.dut_configuration_sha256 = Some(block.arm.to_string());
    }
    assert!(analyse(&plan, &Outcome::Completed, &blocks).1.valid, "one configuration per arm is as it should be");
    let last = blocks.iter_mut().rfind(|block| block.arm == Arm::On).unwrap();
    last.dut_configuration_sha256 = Some("changed".to_owned());
    let (_, conclusion) = analyse(&plan, &Outcome::Completed, &blocks);
    assert!(conclusion.reasons[0].contains("2 different configurations in the ON blocks"), "{:?}", conclusion.reasons);
}

#[test]
fn an_incomplete_certificate_does_not_blame_drift() {
    let plan = plan();
    let mut blocks = blocks(&plan);
    for block in blocks.iter_mut().filter(|block| block.arm == Arm::Reference) {
        block.trials.retain(|trial| (trial.protocol, trial.kind) != (Protocol::H2, TrialKind::Capacity));
    }
    let (_, conclusion) = analyse(&plan, &Outcome::Completed, &blocks);
    assert!(conclusion.reasons[0].contains("certificate is incomplete"), "{:?}", conclusion.reasons);
}

#[test]
fn a_ratio_of_two_bench_limited_rates_bounds_nothing_and_says_so() {
    let plan = Plan { thresholds: vec!["h3 1KB connections_per_second cost >= 0.5".parse().unwrap()], ..plan() };
    let mut blocks = blocks(&plan);
    for trial in blocks.iter_mut().flat_map(|block| &mut block.trials) {
        if let Some(value) = trial.kpis.get_mut(&Kpi::ConnectionsPerSecond) {
            *value = 500.0;
        }
    }
    let (results, conclusion) = analyse(&plan, &Outcome::Completed, &blocks);
    let row = results.iter().find(|row| row.kpi == Kpi::ConnectionsPerSecond).unwrap();
    assert!(row.note.as_ref().is_some_and(|note| note.contains("bounds nothing")), "{:?}", row.note);
    assert!(conclusion.reasons.iter().any(|reason| reason.contains("judged by a bench-limited number")));
}

#[test]
fn a_zero_is_not_a_missing_pair() {
    let plan = plan();
    let mut blocks = blocks(&plan);
    let pairs = blocks.iter_mut().filter(|block| block.pair.is_some());
    for value in pairs.flat_map(|block| &mut block.trials).filter_map(|trial| trial.kpis.get_mut(&Kpi::DutAddedTime)) {
        *value = 0.0;
    }
    let (results, _) = analyse(&plan, &Outcome::Completed, &blocks);
    let row = results.iter().find(|row| row.kpi == Kpi::DutAddedTime).unwrap();
    assert_eq!((row.on, row.cost), (Some(0.0), None));
    assert!(row.note.as_ref().is_some_and(|note| note.contains("zero")), "{:?}", row.note);
}

#[test]
fn a_void_block_takes_its_pair_along() {
    let plan = plan();
    let mut blocks = blocks(&plan);
    blocks.iter_mut().find(|block| block.arm == Arm::On).unwrap().void = Some("the run ended in it".to_owned());
    let (results, conclusion) = analyse(&plan, &Outcome::Completed, &blocks);
    assert!(results.iter().all(|row| row.cost.is_some_and(|cost| cost.pairs == 5 && cost.indicative)));
    assert!(conclusion.reasons.iter().any(|reason| reason.contains("Fewer than six pairs (5)")));
}

#[test]
fn short_phases_are_told_whatever_the_profile_is_called() {
    let plan = Plan { phases: plan().phases, ..Plan::of_profile(Profile::Full) };
    let (_, conclusion) = analyse(&plan, &Outcome::Completed, &blocks(&plan));
    assert!(conclusion.reasons.iter().any(|reason| reason.contains("RFC 9411")), "{:?}", conclusion.reasons);
    let plan = Plan::of_profile(Profile::Full);
    let (_, conclusion) = analyse(&plan, &Outcome::Completed, &blocks(&plan));
    assert!(!conclusion.reasons.iter().any(|reason| reason.contains("RFC 9411")), "{:?}", conclusion.reasons);
}

/// The statistics alone are tried in tests/truth.rs; here the way from a sequence of blocks to a row, pairing and order included.
#[test]
fn whole_campaigns_of_bypass_against_bypass_cover_no_cost() {
    const CAMPAIGNS: u64 = 2000;
    let mut covered = 0u64;
    for seed in 0..CAMPAIGNS {
        let (protocols, objects) = (vec![Protocol::H2], vec![Object::Kb1]);
        let short = Plan::of_profile(Profile::Short);
        let plan = Plan { seed, protocols, objects, loads: vec![TrialKind::Capacity], ..short };
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut blocks = blocks(&plan);
        for (index, block) in blocks.iter_mut().enumerate() {
            // Steady drift of 2 % per block, which the drawn order cancels, and 5 % of nearly normal noise (sum of twelve uniforms).
            let normal = (0..12).map(|_| f64::from(random.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0;
            let value = 1000.0 * libm::exp(0.02 * index as f64 + 0.05 * normal);
            for trial in &mut block.trials {
                trial.kpis = [(Kpi::TransactionsPerSecond, value)].into();
            }
        }
        let rows = results(&plan, &blocks, certificate(&plan, &blocks).as_ref());
        let cost = rows.iter().find(|row| row.kpi == Kpi::TransactionsPerSecond).and_then(|row| row.cost).unwrap();
        covered += u64::from(cost.low.unwrap() <= 1.0 && 1.0 <= cost.high.unwrap());
    }
    let share = covered as f64 / CAMPAIGNS as f64;
    assert!((share - 0.95).abs() <= 0.015, "{share}");
}
