//! The run record: one file that holds everything a run claims and what is needed to run it again.
//!
//! `run.json` is [`RunRecord`]; its JSON Schema is generated from these types and committed as `engine/report/schema/run-v1.json`.
//! A change that older readers cannot take raises [`RECORD_VERSION`]; old records stay as fixtures.
//! Invariants: every number has its unit beside it or in its name; what could not be measured is absent (`null`), never zero.

mod authorization;
mod rows;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use authorization::Authorization;
pub use rows::{
    Certificate, Cost, Distribution, Headroom, Kpi, ProofRow, ReferenceDrift, ResultRow, ThresholdResult, TrialKind,
};

use crate::control::engine::{Attempts, ErrorCount, Observed, Tick, Witness};
use crate::object::Object;
use crate::plan::Plan;
use crate::preflight::Preflight;
use crate::proof::InterceptionCounts;
use crate::protocol::{Arm, Protocol};
use crate::quic_class::QuicVerdict;
use crate::units::Span;

/// Version of the record format.
pub const RECORD_VERSION: u32 = 1;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Every block of the plan was run.
    Completed,
    /// It stopped early; what was measured until then is in the record.
    Interrupted,
}

/// What the run says as a whole; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Valid, and every threshold of the plan holds (exit code 0).
    Passed,
    /// Valid, but a threshold is broken (exit code 1).
    Failed,
    /// Not valid: no claim is made (exit code 2).
    NotMeasured,
}

impl Verdict {
    /// Exit code for automation.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Passed => 0,
            Verdict::Failed => 1,
            Verdict::NotMeasured => 2,
        }
    }
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Format version, [`RECORD_VERSION`].
    pub version: u32,
    /// Id of the run.
    pub id: String,
    /// Start, RFC 3339, UTC.
    pub started: String,
    /// End, RFC 3339, UTC.
    pub ended: String,
    /// Program that made the record.
    pub tool: Tool,
    /// How it ended.
    pub status: RunStatus,
    /// Whether any claim may be made from it.
    pub valid: bool,
    /// Why it is not valid or was interrupted, and every caution a reader needs; one sentence each.
    pub reasons: Vec<String>,
    /// Verdict.
    pub verdict: Verdict,
    /// Thresholds of the plan and whether they hold.
    pub thresholds: Vec<ThresholdResult>,
    /// One row per protocol, object and KPI.
    pub results: Vec<ResultRow>,
    /// One row per protocol and arm.
    pub proof: Vec<ProofRow>,
    /// How the path treats QUIC, for the ON behaviour and for BYPASS.
    pub quic: Vec<QuicRow>,
    /// Bench certificate (RFC 9411 §5); `None` when the reference blocks were not run.
    pub certificate: Option<Certificate>,
    /// Merged histograms of every cell and arm.
    pub distributions: Vec<Distribution>,
    /// Every block in the order in which it ran.
    pub blocks: Vec<BlockRecord>,
    /// The device.
    pub dut: DutRecord,
    /// The machine and its software.
    pub environment: Environment,
    /// The pre-flight gate; `None` in records of programs that had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<Preflight>,
    /// What allowed the run; `None` where nothing has to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// The plan as resolved, enough to run it again.
    pub plan: Plan,
}

/// Program and build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Program.
    pub name: String,
    /// Version.
    pub version: String,
    /// Commit it was built from, when built by `cargo tbi run`; `-dirty` when the tree had changes.
    #[serde(default)]
    pub commit: Option<String>,
}

/// QUIC class of one arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuicRow {
    /// Arm whose behaviour was probed.
    pub arm: Arm,
    /// What was found.
    pub verdict: QuicVerdict,
}

/// One block: all cells measured once in one mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlockRecord {
    /// Position in the campaign, from 0.
    pub index: u32,
    /// What it stands for.
    pub arm: Arm,
    /// Pair it belongs to; `None` for reference blocks.
    pub pair: Option<u32>,
    /// Start since the start of the run.
    pub at: Span,
    /// Length.
    pub took: Span,
    /// Why it does not count; `None` when it does.
    pub void: Option<String>,
    /// Trials.
    pub trials: Vec<TrialRecord>,
    /// SHA-256 of the device's configuration during the block, where the adapter gives one.
    pub dut_configuration_sha256: Option<String>,
}

/// One trial as kept in the record: counts, KPI values and seconds; histograms are merged in [`RunRecord::distributions`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialRecord {
    /// Protocol.
    pub protocol: Protocol,
    /// Object.
    pub object: Object,
    /// Load.
    pub kind: TrialKind,
    /// Start since the start of the run.
    pub at: Span,
    /// Measured sustain phase.
    pub sustain: Span,
    /// KPI values of this trial, in the KPI's unit.
    pub kpis: BTreeMap<Kpi, f64>,
    /// 99th percentile of schedule lag (open loop only), µs.
    pub schedule_lag_p99_us: Option<u64>,
    /// Counts.
    pub attempts: Attempts,
    /// Failures.
    pub errors: Vec<ErrorCount>,
    /// Classes of its connections.
    pub proof: InterceptionCounts,
    /// Corroboration.
    pub observed: Observed,
    /// Witnesses of the engine.
    pub witness: Witness,
    /// CPU of the personas during the trial (whole trial, all phases), µs.
    pub personas_cpu_us: Option<u64>,
    /// CPU of the device during the trial, where it runs on this machine, µs.
    pub dut_cpu_us: Option<u64>,
    /// Seconds.
    pub ticks: Vec<Tick>,
}

/// What is known of the device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct DutRecord {
    /// Adapter that spoke to it.
    pub adapter: String,
    /// Maker.
    pub vendor: String,
    /// Model.
    pub model: String,
    /// Software version.
    pub version: String,
    /// SHA-256 of its CA certificate.
    pub ca_sha256: Option<String>,
    /// Sanitised configuration per arm, as text, with its SHA-256.
    pub configurations: Vec<DutConfiguration>,
}

/// Configuration of the device in one arm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DutConfiguration {
    /// Arm.
    pub arm: Arm,
    /// Text without secrets.
    pub text: String,
    /// SHA-256 of the text, lower-case hex.
    pub sha256: String,
}

/// Machine and software of the bench (RFC 9411 §6: tester details).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// CPU model.
    pub cpu: String,
    /// Logical cores.
    pub cores: u32,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// Distribution.
    pub os: String,
    /// One-minute load average when the run began; work of others disturbs a measurement.
    pub load_average: f64,
    /// How processes and links were made: `lab` (namespaces and veth pairs) or `appliance`.
    pub life: String,
    /// Who routes between device and personas.
    pub isp: String,
    /// Engine workers.
    pub engine_workers: u32,
    /// Persona workers.
    pub persona_workers: u32,
    /// Practice DUT workers, when it is the device.
    pub dut_workers: u32,
    /// Deviations from RFC 9411 that apply to this run, one sentence each.
    pub deviations: Vec<String>,
}
