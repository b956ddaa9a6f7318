//! Annexes: thresholds, attempts, errors, blocks, environment, deviations, device, plan.

use std::collections::BTreeMap;

use tbi_bench::control::engine::{Attempts, Cause, Fault};
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::record::{RunRecord, TrialKind};

use super::table::Table;
use crate::number;
use crate::words;

pub(crate) struct Annex {
    pub(crate) thresholds: Table,
    pub(crate) throughput: Table,
    pub(crate) attempts: Table,
    pub(crate) errors: Table,
    pub(crate) blocks: Table,
    pub(crate) environment: Table,
    pub(crate) deviations: Vec<String>,
    pub(crate) dut: Table,
    pub(crate) configurations: Vec<Configuration>,
    pub(crate) plan: String,
}

/// Configuration of the device in one arm.
pub(crate) struct Configuration {
    pub(crate) arm: &'static str,
    pub(crate) sha256: String,
    pub(crate) text: String,
}

impl Annex {
    pub(crate) fn of(record: &RunRecord) -> Self {
        Self {
            thresholds: thresholds(record),
            throughput: throughput(record),
            attempts: attempts(record),
            errors: errors(record),
            blocks: blocks(record),
            environment: environment(record),
            deviations: record.environment.deviations.clone(),
            dut: dut(record),
            configurations: record
                .dut
                .configurations
                .iter()
                .map(|configuration| Configuration {
                    arm: words::arm(configuration.arm),
                    sha256: configuration.sha256.clone(),
                    text: configuration.text.clone(),
                })
                .collect(),
            plan: toml::to_string(&record.plan)
                .or_else(|_| serde_json::to_string_pretty(&record.plan))
                .unwrap_or_else(|_| "The plan cannot be shown; it is in run.json.".to_owned()),
        }
    }
}

fn thresholds(record: &RunRecord) -> Table {
    let mut table = Table::new(
        "Thresholds of the plan. They decide the exit code: 0 passed, 1 a threshold is broken, 2 could not measure.",
        &["Threshold", "#Value", "Outcome"],
    );
    for threshold in &record.thresholds {
        table.row(vec![
            threshold.threshold.clone(),
            threshold.value.map_or_else(|| "not measured".to_owned(), number::ratio),
            if threshold.holds { "✓ holds" } else { "✗ broken" }.to_owned(),
        ]);
        table.mark_last(if threshold.holds { "good" } else { "bad" });
    }
    table
}

/// RFC 9411 §6.3: Gbit/s with two decimals and kbit/s in parentheses, with the layer stated.
fn throughput(record: &RunRecord) -> Table {
    let mut table = Table::new(
        "Throughput as RFC 9411 §6.3 writes it: Gbit/s with kbit/s in parentheses; HTTP payload of successful transactions, not layer 2.",
        &["Protocol", "Object", "#ON", "#BYPASS", "#Reference"],
    );
    if record.certificate.is_none() {
        return table;
    }
    let gigabit = |mbit: Option<f64>| {
        mbit.filter(|mbit| mbit.is_finite()).map_or_else(
            || number::NONE.to_owned(),
            |mbit| format!("{} ({})", number::fixed(mbit / 1e3, 2), number::fixed(mbit * 1e3, 0)),
        )
    };
    for row in
        record.results.iter().filter(|row| row.kpi == tbi_bench::record::Kpi::Throughput && row.headroom.is_some())
    {
        table.row(vec![
            words::protocol(row.protocol).to_owned(),
            words::object(row.object).to_owned(),
            gigabit(row.on),
            gigabit(row.bypass),
            gigabit(row.reference),
        ]);
    }
    table
}

fn attempts(record: &RunRecord) -> Table {
    let mut table = Table::new(
        "Attempts in the sustain phases of all blocks that count. Nothing is dropped silently: scheduled = sent + skipped, sent = succeeded + \
         failed + unfinished; late sends (more than 1 ms) are part of sent.",
        &[
            "Protocol",
            "Arm",
            "Load",
            "#Scheduled",
            "#Sent",
            "#Late",
            "#Skipped",
            "#Succeeded",
            "#Failed",
            "#Unfinished",
            "#Connections",
        ],
    );
    let mut sums: BTreeMap<(Protocol, Arm, TrialKind), Attempts> = BTreeMap::new();
    for block in record.blocks.iter().filter(|block| block.void.is_none()) {
        for trial in &block.trials {
            let sum = sums.entry((trial.protocol, block.arm, trial.kind)).or_default();
            let attempts = trial.attempts;
            for (total, part) in [
                (&mut sum.scheduled, attempts.scheduled),
                (&mut sum.sent, attempts.sent),
                (&mut sum.late, attempts.late),
                (&mut sum.skipped, attempts.skipped),
                (&mut sum.connections, attempts.connections),
                (&mut sum.succeeded, attempts.succeeded),
                (&mut sum.failed, attempts.failed),
                (&mut sum.unfinished, attempts.unfinished),
            ] {
                *total = total.saturating_add(part);
            }
        }
    }
    for ((protocol, arm, kind), sum) in sums {
        let mut cells =
            vec![words::protocol(protocol).to_owned(), words::arm(arm).to_owned(), words::kind(kind).to_owned()];
        cells.extend(
            [
                sum.scheduled,
                sum.sent,
                sum.late,
                sum.skipped,
                sum.succeeded,
                sum.failed,
                sum.unfinished,
                sum.connections,
            ]
            .map(number::count),
        );
        table.row(cells);
    }
    table
}

fn errors(record: &RunRecord) -> Table {
    let mut table = Table::new(
        "Failures by cause, most frequent first, sustain phases of all blocks, void ones included.",
        &["Protocol", "Arm", "Load", "Cause", "Whose", "#Count", "Example"],
    );
    type Key = (Protocol, Arm, TrialKind, Cause, Fault);
    let mut sums: BTreeMap<Key, (u64, &str)> = BTreeMap::new();
    for block in &record.blocks {
        for trial in &block.trials {
            for error in &trial.errors {
                let key = (trial.protocol, block.arm, trial.kind, error.cause, error.fault);
                let sum = sums.entry(key).or_insert((0, error.example.as_str()));
                sum.0 = sum.0.saturating_add(error.count);
            }
        }
    }
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by_key(|(key, (count, _))| (std::cmp::Reverse(*count), *key));
    for ((protocol, arm, kind, cause, fault), (count, example)) in rows {
        table.row(vec![
            words::protocol(protocol).to_owned(),
            words::arm(arm).to_owned(),
            words::kind(kind).to_owned(),
            words::cause(cause).to_owned(),
            words::fault(fault).to_owned(),
            number::count(count),
            example.to_owned(),
        ]);
    }
    table
}

fn blocks(record: &RunRecord) -> Table {
    let mut table = Table::new(
        "Blocks in the order in which they ran; one block measures every cell once in one mode. A void block counts nowhere.",
        &[
            "#Block",
            "Arm",
            "#Pair",
            "#Start (s)",
            "#Length (s)",
            "#Trials",
            "#Connections",
            "Device configuration",
            "Counts",
        ],
    );
    for block in &record.blocks {
        let classes = block.trials.iter().map(|trial| trial.proof);
        let connections = number::total(classes.flat_map(|p| [p.intercepted, p.end_to_end, p.altered, p.unknown]));
        table.row(vec![
            number::count(u64::from(block.index) + 1),
            words::arm(block.arm).to_owned(),
            block.pair.map_or_else(|| number::NONE.to_owned(), |pair| number::count(u64::from(pair) + 1)),
            number::fixed(block.at.as_secs_f64(), 1),
            number::fixed(block.took.as_secs_f64(), 1),
            number::count(block.trials.len() as u64),
            number::count(connections),
            block.dut_configuration_sha256.as_deref().map_or_else(|| number::NONE.to_owned(), short_hash),
            block.void.as_ref().map_or_else(|| "✓ counts".to_owned(), |reason| format!("✗ void: {reason}")),
        ]);
        table.mark_last(if block.void.is_some() { "bad" } else { "good" });
    }
    table
}

/// The first digits of a hash, enough to tell two apart by eye.
fn short_hash(hash: &str) -> String {
    let short: String = hash.chars().take(12).collect();
    if short.len() < hash.len() { format!("{short}…") } else { short }
}

fn environment(record: &RunRecord) -> Table {
    let environment = &record.environment;
    let mut table = Table::new("Machine and software of the bench (RFC 9411 §6, tester details).", &["What", "Value"]);
    let workers =
        |engine: u32, personas: u32, dut: u32| format!("{engine} engine, {personas} personas, {dut} practice DUT");
    for (what, value) in [
        ("CPU", format!("{}, {} logical cores", environment.cpu, environment.cores)),
        ("Memory", format!("{} MiB", number::count(environment.memory_mib))),
        ("Operating system", format!("{}, kernel {}", environment.os, environment.kernel)),
        ("Load average at the start", number::value(environment.load_average)),
        ("Processes and links", environment.life.clone()),
        ("Router between device and personas", environment.isp.clone()),
        ("Workers", workers(environment.engine_workers, environment.persona_workers, environment.dut_workers)),
        (
            "Program",
            match &record.tool.commit {
                Some(commit) => format!("{} {}, commit {commit}", record.tool.name, record.tool.version),
                None => format!("{} {}", record.tool.name, record.tool.version),
            },
        ),
        ("ClientHello", words::tls(&record.plan)),
        ("ClientHello fingerprints", fingerprints(record)),
        ("Latency load", words::load(TrialKind::Latency, &record.plan)),
        ("Connection-rate load", words::load(TrialKind::ConnectionRate, &record.plan)),
        ("Capacity load", words::load(TrialKind::Capacity, &record.plan)),
        (
            "Time limits",
            format!(
                "handshake {}, request {}",
                number::span(record.plan.handshake_timeout),
                number::span(record.plan.request_timeout)
            ),
        ),
    ] {
        table.row(vec![what.to_owned(), value]);
    }
    table
}

/// Every ClientHello that was offered, so that both arms can be seen to have offered the same.
fn fingerprints(record: &RunRecord) -> String {
    let mut seen: Vec<&str> = record
        .blocks
        .iter()
        .flat_map(|block| &block.trials)
        .map(|trial| trial.observed.client_hello.as_str())
        .filter(|fingerprint| !fingerprint.is_empty())
        .collect();
    seen.sort_unstable();
    seen.dedup();
    if seen.is_empty() { number::NONE.to_owned() } else { seen.join(", ") }
}

fn dut(record: &RunRecord) -> Table {
    let dut = &record.dut;
    let mut table = Table::new("Device under test.", &["What", "Value"]);
    let known = |text: &str| if text.is_empty() { "not known".to_owned() } else { text.to_owned() };
    for (what, value) in [
        ("Vendor", known(&dut.vendor)),
        ("Model", known(&dut.model)),
        ("Software", known(&dut.version)),
        ("Adapter", known(&dut.adapter)),
        ("SHA-256 of its CA certificate", dut.ca_sha256.clone().unwrap_or_else(|| "not known".to_owned())),
    ] {
        table.row(vec![what.to_owned(), value]);
    }
    table
}
