//! What a run measured, small enough to be drawn: of a run under way as of one that is over. A record has tens of megabytes; this has a few
//! hundred kilobytes at most, because lines of many seconds are thinned.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tbi_bench::object::Object;
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::record::{Kpi, ProofRow, ResultRow, TrialKind};
use utoipa::{IntoParams, ToSchema};

/// Points of one [`Trace`] at most.
pub const MOST_POINTS: usize = 400;

/// A run's measurements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = RunSeries)]
pub struct Series {
    /// The run is over, and this is what its record says; otherwise it is what its finished blocks say so far, and nothing may be claimed.
    pub over: bool,
    /// Blocks that the plan has.
    pub blocks: u32,
    /// Pairs that the plan has.
    pub pairs: u32,
    /// One row per protocol, object and KPI.
    #[schema(value_type = Vec<Object>)]
    pub results: Vec<ResultRow>,
    /// Proof of decryption, one row per protocol and arm.
    #[schema(value_type = Vec<Object>)]
    pub proof: Vec<ProofRow>,
    /// Blocks in the order in which they ran, the one under way last.
    pub done: Vec<Block>,
    /// What is being measured now.
    pub doing: Option<Doing>,
    /// Seconds of the trials.
    pub traces: Vec<Trace>,
}

/// What is being measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Doing {
    /// Number of the block, from 1.
    pub block: u32,
    /// What it stands for.
    pub arm: Arm,
    /// Pair, from 1.
    pub pair: Option<u32>,
    /// Trials of the block that are done.
    pub trials_done: u32,
    /// Trials it has.
    pub trials: u32,
    /// The trial under way, in words; `None` between blocks.
    pub trial: Option<String>,
}

/// One block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = RunSeriesBlock)]
pub struct Block {
    /// Number, from 1.
    pub number: u32,
    /// What it stands for.
    pub arm: Arm,
    /// Pair, from 1; `None` for reference blocks.
    pub pair: Option<u32>,
    /// Seconds from the start of the run to its start.
    pub at_s: f64,
    /// Its length, s; `None` while it is under way.
    pub took_s: Option<f64>,
    /// Why it does not count; `None` when it does.
    pub void: Option<String>,
    /// Connections whose way was looked at.
    pub connections: u64,
    /// Of them, those proven intercepted.
    pub intercepted: u64,
    /// Transactions that failed.
    pub failed: u64,
    /// KPI values of its trials.
    pub values: Vec<Value>,
}

/// A KPI in one block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = RunSeriesValue)]
pub struct Value {
    /// Protocol.
    pub protocol: Protocol,
    /// Object.
    pub object: Object,
    /// KPI.
    pub kpi: Kpi,
    /// Its unit.
    pub unit: String,
    /// Its value.
    pub value: f64,
}

/// Seconds of the trials of one kind, as columns of equal length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = RunSeriesTrace)]
pub struct Trace {
    /// Protocol.
    pub protocol: Protocol,
    /// Object.
    pub object: Object,
    /// Load.
    #[schema(value_type = String)]
    pub kind: TrialKind,
    /// Arm.
    pub arm: Arm,
    /// Seconds of measuring in one point: 1, or more where a line had more than [`MOST_POINTS`].
    pub joined: u32,
    /// End of each point, seconds since the start of the run.
    pub at_s: Vec<f64>,
    /// Connections established, 1/s.
    pub connections_per_s: Vec<f64>,
    /// Transactions that succeeded, 1/s.
    pub requests_per_s: Vec<f64>,
    /// Transactions that failed, 1/s.
    pub failed_per_s: Vec<f64>,
    /// Body bytes received, Mbit/s.
    pub mbit_per_s: Vec<f64>,
    /// Median time to first byte, ms; of joined seconds the highest.
    pub ttfb_p50_ms: Vec<Option<f64>>,
}

/// A second of the trial under way, as counted; it is in the traces as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RunSecond)]
pub struct Second {
    /// Protocol.
    pub protocol: Protocol,
    /// Object.
    pub object: Object,
    /// Load.
    #[schema(value_type = String)]
    pub kind: TrialKind,
    /// Arm.
    pub arm: Arm,
    /// Its end, since the start of the run, ms.
    pub at_ms: u64,
    /// Its length, µs; the last one of a trial may be shorter than a second.
    pub length_us: u64,
    /// Connections established.
    pub connections: u64,
    /// Transactions that succeeded.
    pub succeeded: u64,
    /// Transactions that failed.
    pub failed: u64,
    /// Body bytes received.
    pub body_bytes: u64,
    /// Median time to first byte, µs.
    pub ttfb_p50_us: Option<u64>,
}

/// How a table is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// Zone of its times, by its IANA name; UTC when absent.
    #[param(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$")]
    pub zone: Option<String>,
}

/// There is no such zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone '{0}'; use an IANA name like America/Sao_Paulo")]
pub struct NoZone(String);

impl Written {
    /// The zone.
    ///
    /// # Errors
    /// [`NoZone`].
    pub fn time_zone(&self) -> Result<TimeZone, NoZone> {
        let Some(name) = &self.zone else { return Ok(TimeZone::UTC) };
        let unknown = || NoZone(name.chars().take(64).collect());
        // Names only: a path would be a file of the machine.
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'+'))
            && !name.starts_with('/');
        if !fits {
            return Err(unknown());
        }
        TimeZone::get(name).map_err(|_unknown| unknown())
    }
}
