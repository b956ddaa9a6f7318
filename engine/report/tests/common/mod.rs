//! Records as a run would leave them, made from a seed: for tests and for the examples. Not a measurement of anything.
#![allow(dead_code, reason = "each test and example uses a part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;
use std::collections::BTreeMap;

use tbi_bench::control::CpuTime;
use tbi_bench::control::engine::{Attempts, Cause, ErrorCount, Fault, Observed, Tick, Timings, Witness};
use tbi_bench::histogram::LatencyHistogram;
use tbi_bench::object::Object;
use tbi_bench::plan::{Plan, Profile};
use tbi_bench::proof::InterceptionCounts;
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::quic_class::{AltSvc, QuicClass, QuicVerdict};
use tbi_bench::record::*;
use tbi_bench::units::Span;

/// The small record that is committed as a fixture.
pub(crate) fn small() -> RunRecord {
    Sample { plan: Plan::of_profile(Profile::Quick), per_block: 12, failures: Cell::new(1) }.record()
}

/// Six pairs of the short profile.
pub(crate) fn short() -> RunRecord {
    Sample { plan: Plan::of_profile(Profile::Short), per_block: 400, failures: Cell::new(1) }.record()
}

/// Six pairs with sustain phases long enough for seconds to be seen.
pub(crate) fn seconds() -> RunRecord {
    let mut plan = Plan::of_profile(Profile::Short);
    plan.name = "decryption cost, twenty seconds of sustain".to_owned();
    plan.phases.ramp_up = Span::from_secs(2);
    plan.phases.sustain = Span::from_secs(20);
    plan.reference_blocks = 3;
    plan.objects = vec![Object::Kb1, Object::Kb16, Object::Kb64, Object::Kb256, Object::Mix];
    plan.thresholds =
        vec!["h3 1KB handshake_time cost <= 3".parse().unwrap(), "h2 64KB throughput cost >= 0.9".parse().unwrap()];
    Sample { plan, per_block: 3000, failures: Cell::new(1) }.record()
}

/// A record of a run that ended before it measured anything.
pub(crate) fn empty() -> RunRecord {
    let mut record = small();
    record.status = RunStatus::Interrupted;
    record.valid = false;
    record.verdict = Verdict::NotMeasured;
    record.reasons =
        vec!["The personas did not become ready within 10 s; look at their log, then run again.".to_owned()];
    record.thresholds.clear();
    record.results.clear();
    record.proof.clear();
    record.quic.clear();
    record.certificate = None;
    record.distributions.clear();
    record.blocks.clear();
    record.dut = DutRecord::default();
    record.environment.deviations.clear();
    record
}

struct Sample {
    plan: Plan,
    per_block: u64,
    failures: Cell<u32>,
}

/// xorshift64*: enough for samples.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normal, standard deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Factors by which an arm is slower than the reference: handshake, bytes.
fn slowness(protocol: Protocol, arm: Arm) -> (f64, f64) {
    match (arm, protocol.is_quic()) {
        (Arm::Reference, _) => (1.0, 1.0),
        (Arm::Bypass, _) => (1.08, 1.22),
        (Arm::On, true) => (2.75, 2.9),
        (Arm::On, false) => (2.31, 2.2),
    }
}

fn value_of(protocol: Protocol, object: Object, kpi: Kpi, arm: Arm) -> f64 {
    let (handshake, bytes) = slowness(protocol, arm);
    let handshake_ms = if protocol.is_quic() { 1.42 } else { 1.71 } * handshake;
    let transfer_ms = object.bytes() as f64 / 400_000.0 * bytes;
    let request_ms = 0.35 * bytes;
    // Large objects keep the personas less busy per byte, so that the bench has headroom there.
    let room = if arm == Arm::Reference && object > Object::Kb1 { 1.4 } else { 1.0 };
    let transactions = 26_000.0 / (1.0 + object.bytes() as f64 / 22_000.0) / bytes * room;
    match kpi {
        Kpi::HandshakeTime => handshake_ms,
        Kpi::TimeToFirstByte => handshake_ms + request_ms,
        Kpi::TimeToLastByte => handshake_ms + request_ms + transfer_ms,
        Kpi::DutAddedTime => request_ms - 0.3,
        Kpi::ConnectionsPerSecond => 2_350.0 / handshake,
        Kpi::TransactionsPerSecond => transactions,
        Kpi::Throughput => transactions * object.bytes() as f64 * 8.0 / 1e6,
    }
}

impl Sample {
    fn cells(&self) -> Vec<(Protocol, Object, TrialKind)> {
        let mut cells = Vec::new();
        for &protocol in &self.plan.protocols {
            for &object in &self.plan.objects {
                cells.push((protocol, object, TrialKind::Latency));
                if self.plan.connection_rate_object == Some(object) {
                    cells.push((protocol, object, TrialKind::ConnectionRate));
                }
                cells.push((protocol, object, TrialKind::Capacity));
            }
        }
        cells
    }

    fn arms(&self) -> Vec<(Arm, Option<u32>)> {
        let mut arms = vec![(Arm::Reference, None)];
        for pair in 0..self.plan.pairs {
            let order = if pair % 2 == 0 { [Arm::On, Arm::Bypass] } else { [Arm::Bypass, Arm::On] };
            arms.extend(order.map(|arm| (arm, Some(pair))));
            if self.plan.reference_blocks > 2 && pair == self.plan.pairs / 2 {
                arms.push((Arm::Reference, None));
            }
        }
        arms.push((Arm::Reference, None));
        arms
    }

    fn record(&self) -> RunRecord {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        let mut at = 1_200_000;
        let mut blocks = Vec::new();
        let mut distributions: BTreeMap<(Protocol, Object, TrialKind, Arm), Timings> = BTreeMap::new();
        for (index, (arm, pair)) in self.arms().into_iter().enumerate() {
            let start = at;
            let mut trials = Vec::new();
            for (protocol, object, kind) in self.cells() {
                let timings = distributions.entry((protocol, object, kind, arm)).or_default();
                trials.push(self.trial(&mut dice, arm, (protocol, object, kind), at, timings));
                at += self.plan.trial_length().as_micros() + 80_000;
            }
            blocks.push(BlockRecord {
                index: index as u32,
                arm,
                pair,
                at: Span::from_micros(start),
                took: Span::from_micros(at - start),
                void: None,
                trials,
                dut_configuration_sha256: Some(hash(arm)),
            });
            at += 350_000;
        }
        let results = self.results(&blocks);
        let thresholds: Vec<ThresholdResult> =
            self.plan.thresholds.iter().map(|threshold| threshold.check(&results)).collect();
        let verdict =
            if thresholds.iter().all(|threshold| threshold.holds) { Verdict::Passed } else { Verdict::Failed };
        let quick = self.plan.pairs < 6;
        RunRecord {
            version: RECORD_VERSION,
            id: "20261121T101500Z-7f3a".to_owned(),
            started: "2026-11-21T10:15:00Z".to_owned(),
            ended: format!("2026-11-21T10:{:02}:{:02}Z", 15 + at / 60_000_000, at / 1_000_000 % 60),
            tool: Tool { name: "cargo tbi".to_owned(), version: "0.1.0".to_owned(), commit: Some("0123456789ab".to_owned()) },
            status: RunStatus::Completed,
            valid: true,
            reasons: if quick { vec!["Fewer than 6 pairs: every cost is indicative.".to_owned()] } else { Vec::new() },
            verdict,
            thresholds,
            proof: self.proof(&blocks),
            quic: [(Arm::On, QuicClass::Decrypt, "intercepted"), (Arm::Bypass, QuicClass::Pass, "end to end")]
                .map(|(arm, class, word)| QuicRow {
                    arm,
                    verdict: QuicVerdict {
                        class,
                        evidence: format!("20 of 20 HTTP/3 probes answered, all {word}; 20 of 20 HTTP/2 probes answered; no packet lost."),
                        alt_svc: AltSvc::Kept,
                        fallback_penalty: None,
                        leaks: Vec::new(),
                    },
                })
                .to_vec(),
            certificate: Some(self.certificate(&results)),
            distributions: distributions
                .into_iter()
                .map(|((protocol, object, kind, arm), timings)| Distribution { protocol, object, kind, arm, timings })
                .collect(),
            results,
            blocks,
            dut: dut(),
            environment: environment(),
            preflight: None,
            authorization: None,
            plan: self.plan.clone(),
        }
    }

    fn trial(
        &self,
        dice: &mut Dice,
        arm: Arm,
        (protocol, object, kind): (Protocol, Object, TrialKind),
        at: u64,
        timings: &mut Timings,
    ) -> TrialRecord {
        let wobble = 1.0 + 0.03 * dice.normal();
        let kpis: BTreeMap<Kpi, f64> = Kpi::ALL
            .into_iter()
            .filter(|kpi| kpi.trial() == kind && !(*kpi == Kpi::DutAddedTime && arm == Arm::Reference))
            .map(|kpi| (kpi, value_of(protocol, object, kpi, arm) * (wobble + 0.01 * dice.normal())))
            .collect();
        let put = |histogram: &mut LatencyHistogram, us: f64| histogram.record(us as u64);
        for _ in 0..self.per_block {
            let tail = if dice.unit() > 0.995 { 6.0 } else { 1.0 };
            let spread = (0.22 * dice.normal()).exp() * tail * wobble * 1000.0;
            let lag = 20.0 + 30.0 * dice.unit();
            let ms = |kpi| value_of(protocol, object, kpi, arm);
            put(&mut timings.tls_handshake, ms(Kpi::HandshakeTime) * spread * 0.92);
            if !protocol.is_quic() {
                put(&mut timings.tcp_connect, 80.0 * spread / 1000.0);
            }
            put(&mut timings.handshake_service, ms(Kpi::HandshakeTime) * spread);
            put(&mut timings.handshake_response, ms(Kpi::HandshakeTime) * spread + lag);
            put(&mut timings.ttfb_service, ms(Kpi::TimeToFirstByte) * spread);
            put(&mut timings.ttfb_response, ms(Kpi::TimeToFirstByte) * spread + lag);
            put(&mut timings.ttlb_service, ms(Kpi::TimeToLastByte) * spread);
            put(&mut timings.ttlb_response, ms(Kpi::TimeToLastByte) * spread + lag);
            put(&mut timings.request_ttfb, 350.0 * spread / 1000.0);
            put(&mut timings.request_ttlb, 420.0 * spread / 1000.0);
            if kind == TrialKind::Latency {
                put(&mut timings.schedule_lag, lag);
                put(&mut timings.dut_added, 150.0 * spread / 1000.0);
            }
        }
        let sent = self.per_block;
        // One failure in a whole run, so that the tables of errors have something to show and the proof still holds.
        let failed = u64::from(arm == Arm::On && sent > 100 && self.failures.replace(0) == 1);
        TrialRecord {
            protocol,
            object,
            kind,
            at: Span::from_micros(at),
            sustain: self.plan.phases.sustain,
            ticks: self.ticks(dice, &kpis),
            kpis,
            attempts: Attempts {
                scheduled: sent,
                sent,
                late: sent / 200,
                skipped: 0,
                connections: sent - failed,
                transactions: sent,
                succeeded: sent - failed,
                failed,
                unfinished: 0,
            },
            errors: (failed > 0)
                .then(|| ErrorCount {
                    cause: Cause::HandshakeTimeout,
                    fault: Fault::Path,
                    count: failed,
                    example: "sakura-news.jp.persona.tlsstress.art: no answer within 3s".to_owned(),
                })
                .into_iter()
                .collect(),
            proof: if arm == Arm::On {
                InterceptionCounts { intercepted: sent - failed, unknown: failed, ..Default::default() }
            } else {
                InterceptionCounts { end_to_end: sent, ..Default::default() }
            },
            observed: Observed {
                issuer_dut_ca: if arm == Arm::On { sent - failed } else { 0 },
                issuer_persona_ca: if arm == Arm::On { 0 } else { sent },
                tls13: sent - failed,
                client_hello: "t13d0510h3_8daaf6152771_2253c82f03d8".to_owned(),
                quic_packets_sent: if protocol.is_quic() { sent * 9 } else { 0 },
                ..Default::default()
            },
            witness: Witness {
                cpu: CpuTime { user_us: sent * 120, system_us: sent * 60 },
                busiest_worker: 0.43 + 0.2 * dice.unit(),
                workers: 1,
                gso: true,
                udp_receive_drops: 0,
            },
            schedule_lag_p99_us: (kind == TrialKind::Latency).then_some(49),
            personas_cpu_us: Some(sent * 140),
            dut_cpu_us: (arm != Arm::Reference).then_some(sent * 210),
        }
    }

    fn ticks(&self, dice: &mut Dice, kpis: &BTreeMap<Kpi, f64>) -> Vec<Tick> {
        let phases = self.plan.phases;
        let seconds = self.plan.trial_length().as_micros().div_ceil(1_000_000);
        let sustain = phases.init.as_micros() + phases.ramp_up.as_micros();
        (1..=seconds)
            .map(|second| {
                let wobble = 1.0 + 0.025 * dice.normal();
                let us = |kpi: Kpi| kpis.get(&kpi).map(|ms| (ms * wobble * 1000.0) as u64);
                let rate = |kpi: Kpi| kpis.get(&kpi).map_or(0, |rate| (rate * wobble) as u64);
                Tick {
                    at: Span::from_secs(second),
                    sustain: (second - 1) * 1_000_000 >= sustain
                        && second * 1_000_000 <= sustain + phases.sustain.as_micros(),
                    length: Span::from_secs(1),
                    connections: rate(Kpi::ConnectionsPerSecond),
                    succeeded: rate(Kpi::TransactionsPerSecond),
                    failed: 0,
                    body_bytes: (kpis.get(&Kpi::Throughput).copied().unwrap_or(0.0) * wobble * 125_000.0) as u64,
                    open_connections: 16,
                    handshake_p50_us: us(Kpi::HandshakeTime),
                    ttfb_p50_us: us(Kpi::TimeToFirstByte),
                    ttfb_p99_us: us(Kpi::TimeToFirstByte).map(|us| us * 2),
                }
            })
            .collect()
    }

    fn results(&self, blocks: &[BlockRecord]) -> Vec<ResultRow> {
        let mut rows = Vec::new();
        for (protocol, object, kind) in self.cells() {
            for kpi in Kpi::ALL.into_iter().filter(|kpi| kpi.trial() == kind) {
                rows.push(self.result(blocks, protocol, object, kpi));
            }
        }
        rows.sort_by_key(|row| (row.protocol, row.object, row.kpi));
        rows
    }

    fn result(&self, blocks: &[BlockRecord], protocol: Protocol, object: Object, kpi: Kpi) -> ResultRow {
        let values = |arm: Arm| -> Vec<f64> {
            blocks
                .iter()
                .filter(|block| block.arm == arm)
                .flat_map(|block| &block.trials)
                .filter(|trial| trial.protocol == protocol && trial.object == object)
                .filter_map(|trial| trial.kpis.get(&kpi).copied())
                .collect()
        };
        let mean = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        let (on, bypass, reference) =
            (mean(&values(Arm::On)), mean(&values(Arm::Bypass)), mean(&values(Arm::Reference)));
        let (ratio, pairs) = (on.unwrap() / bypass.unwrap(), self.plan.pairs);
        let half = 0.075 / f64::from(pairs).sqrt();
        let difference = on.unwrap() - bypass.unwrap();
        let headroom = match kpi.trial() {
            TrialKind::Latency => 11.7,
            TrialKind::ConnectionRate | TrialKind::Capacity => reference.unwrap() / bypass.unwrap(),
        };
        ResultRow {
            protocol,
            object,
            object_bytes: object.bytes(),
            kpi,
            unit: kpi.unit().to_owned(),
            on,
            bypass,
            reference,
            cost: Some(Cost {
                ratio,
                low: Some(ratio * (1.0 - half)),
                high: Some(ratio * (1.0 + half)),
                bootstrap_low: Some(ratio * (1.0 - half * 0.8)),
                bootstrap_high: Some(ratio * (1.0 + half * 0.8)),
                difference,
                difference_low: Some(difference - difference.abs() * half),
                difference_high: Some(difference + difference.abs() * half),
                pairs,
                indicative: pairs < 6,
            }),
            headroom: Some(headroom),
            bench_limited: headroom < 1.3,
            note: None,
        }
    }

    fn certificate(&self, results: &[ResultRow]) -> Certificate {
        let headroom = self
            .cells()
            .into_iter()
            .filter_map(|(protocol, object, kind)| {
                let row = results
                    .iter()
                    .find(|row| (row.protocol, row.object, row.kpi.trial()) == (protocol, object, kind))?;
                let headroom = row.headroom?;
                let reached = match kind {
                    TrialKind::Latency => 100.0 * headroom,
                    TrialKind::ConnectionRate | TrialKind::Capacity => row.reference?,
                };
                Some(Headroom { protocol, object, kind, reached, asked: reached / headroom, headroom })
            })
            .collect();
        let drift = results
            .iter()
            .filter(|row| row.reference.is_some())
            .map(|row| ReferenceDrift { protocol: row.protocol, object: row.object, kpi: row.kpi, relative: 0.021 })
            .collect();
        Certificate {
            blocks: self.plan.reference_blocks,
            headroom,
            drift,
            holds: true,
            busiest_worker: 0.62,
            schedule_lag_p99_us: Some(49),
            udp_receive_drops: 0,
        }
    }

    fn proof(&self, blocks: &[BlockRecord]) -> Vec<ProofRow> {
        let mut rows = Vec::new();
        for &protocol in &self.plan.protocols {
            for arm in [Arm::On, Arm::Bypass, Arm::Reference] {
                let mut counts = InterceptionCounts::default();
                for trial in blocks.iter().filter(|block| block.arm == arm).flat_map(|block| &block.trials) {
                    if trial.protocol == protocol {
                        counts.merge(&trial.proof);
                    }
                }
                rows.push(ProofRow {
                    protocol,
                    arm,
                    intercepted: counts.intercepted,
                    end_to_end: counts.end_to_end,
                    altered: counts.altered,
                    unknown: counts.unknown,
                    as_expected: counts.total().abs_diff(counts.intercepted.max(counts.end_to_end)) * 10_000
                        <= counts.total(),
                    issuer_dut_ca: counts.intercepted,
                    issuer_persona_ca: counts.end_to_end,
                });
            }
        }
        rows
    }
}

fn hash(arm: Arm) -> String {
    match arm {
        Arm::On => "5f1c".repeat(16),
        Arm::Bypass | Arm::Reference => "a20e".repeat(16),
    }
}

fn dut() -> DutRecord {
    let configuration = |arm, tcp, quic| DutConfiguration {
        arm,
        text: format!(
            "tcp = \"{tcp}\"\nquic = \"{quic}\"\nalt_svc = \"keep\"\nforge = \"warm\"\nmirror = \"faithful\"\n"
        ),
        sha256: hash(arm),
    };
    DutRecord {
        adapter: "practice".to_owned(),
        vendor: "TLSStress.Art".to_owned(),
        model: "practice DUT".to_owned(),
        version: "0.1.0".to_owned(),
        ca_sha256: Some("c4fe".repeat(16)),
        configurations: vec![
            configuration(Arm::On, "decrypt", "decrypt"),
            configuration(Arm::Bypass, "route", "route"),
        ],
    }
}

fn environment() -> Environment {
    Environment {
        cpu: "Example CPU at 2.5 GHz".to_owned(),
        cores: 2,
        memory_mib: 7_950,
        kernel: "6.12.0".to_owned(),
        os: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        load_average: 0.31,
        life: "lab".to_owned(),
        isp: "static routes".to_owned(),
        engine_workers: 1,
        persona_workers: 1,
        dut_workers: 1,
        deviations: vec![
            "Sustain phases are shorter than 300 s (RFC 9411 §4.3.4).".to_owned(),
            "Throughput is HTTP payload, not layer 2 (RFC 9411 §6.3).".to_owned(),
            "The TCP push flag and the number of delayed acknowledgements are the kernel's (RFC 9411 §4.3.1.1)."
                .to_owned(),
        ],
    }
}
