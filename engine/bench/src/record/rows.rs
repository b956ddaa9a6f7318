//! Rows of the record: results, proof, certificate, thresholds and distributions.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::engine::Timings;
use crate::object::Object;
use crate::protocol::{Arm, Protocol};
pub use crate::stats::paired::CostEstimate as Cost;

/// Key performance indicators. Names follow RFC 9411 §6.3 where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kpi {
    /// Actual start (SYN or QUIC Initial) to handshake complete; median of a trial.
    HandshakeTime,
    /// Actual start to first byte (RFC 9411 TTFB); median of a trial.
    TimeToFirstByte,
    /// Actual start to last byte (RFC 9411 TTLB); median of a trial.
    TimeToLastByte,
    /// Request sent to first byte, less the persona's handler (A9): what path, device and both TLS stacks add; median of a trial. Its
    /// ON − BYPASS difference is the device's own share; its ratio says little, because BYPASS is not zero.
    DutAddedTime,
    /// Connections with a full handshake and one transaction each, per second, closed loop.
    ConnectionsPerSecond,
    /// Transactions per second on reused connections, closed loop (the table calls it requests/s).
    TransactionsPerSecond,
    /// Body bytes of successful transactions, closed loop; HTTP payload, not layer 2.
    Throughput,
}

impl Kpi {
    /// The name in plans, queries and records; that of its serde form.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HandshakeTime => "handshake_time",
            Self::TimeToFirstByte => "time_to_first_byte",
            Self::TimeToLastByte => "time_to_last_byte",
            Self::DutAddedTime => "dut_added_time",
            Self::ConnectionsPerSecond => "connections_per_second",
            Self::TransactionsPerSecond => "transactions_per_second",
            Self::Throughput => "throughput",
        }
    }

    /// All, in the order of the table.
    pub const ALL: [Kpi; 7] = [
        Kpi::HandshakeTime,
        Kpi::TimeToFirstByte,
        Kpi::TimeToLastByte,
        Kpi::DutAddedTime,
        Kpi::ConnectionsPerSecond,
        Kpi::TransactionsPerSecond,
        Kpi::Throughput,
    ];

    /// Unit of its values.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Kpi::HandshakeTime | Kpi::TimeToFirstByte | Kpi::TimeToLastByte | Kpi::DutAddedTime => "ms",
            Kpi::ConnectionsPerSecond | Kpi::TransactionsPerSecond => "1/s",
            Kpi::Throughput => "Mbit/s",
        }
    }

    /// Words for a reader.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Kpi::HandshakeTime => "handshake time",
            Kpi::TimeToFirstByte => "time to first byte",
            Kpi::TimeToLastByte => "time to last byte",
            Kpi::DutAddedTime => "DUT-added time",
            Kpi::ConnectionsPerSecond => "connections/s",
            Kpi::TransactionsPerSecond => "requests/s",
            Kpi::Throughput => "throughput",
        }
    }

    /// Whether it is a time, so that more is worse; rates are the other way round.
    #[must_use]
    pub fn more_is_worse(self) -> bool {
        self.unit() == "ms"
    }

    /// The kind of trial it comes from.
    #[must_use]
    pub fn trial(self) -> TrialKind {
        match self {
            Kpi::HandshakeTime | Kpi::TimeToFirstByte | Kpi::TimeToLastByte | Kpi::DutAddedTime => TrialKind::Latency,
            Kpi::ConnectionsPerSecond => TrialKind::ConnectionRate,
            Kpi::TransactionsPerSecond | Kpi::Throughput => TrialKind::Capacity,
        }
    }
}

impl fmt::Display for Kpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// The three loads a cell is measured under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrialKind {
    /// Open loop at an equal offered rate on both arms, a full handshake per connection (RFC 9411 §7.8).
    Latency,
    /// Closed loop, a full handshake and one transaction per connection (RFC 9411 §7.6).
    ConnectionRate,
    /// Closed loop, several transactions per connection (RFC 9411 §7.7).
    Capacity,
}

/// One KPI of one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultRow {
    /// Protocol.
    pub protocol: Protocol,
    /// Object class.
    pub object: Object,
    /// Its size in bytes (mean for the mix).
    pub object_bytes: u64,
    /// KPI.
    pub kpi: Kpi,
    /// Unit of `on`, `bypass` and `reference`.
    pub unit: String,
    /// Mean over the ON blocks; `None` when nothing was measured.
    pub on: Option<f64>,
    /// Mean over the BYPASS blocks.
    pub bypass: Option<f64>,
    /// Mean over the reference blocks (no device in the path).
    pub reference: Option<f64>,
    /// Cost; `None` when no whole pair was measured.
    pub cost: Option<Cost>,
    /// How far the bench itself was from its limit; `None` without certificate, and then nothing may be claimed.
    pub headroom: Option<f64>,
    /// Headroom under 1.3: the number says something about the bench, not about the device alone.
    pub bench_limited: bool,
    /// What must be said beside the number, in words ("at least", "no QUIC got through", …).
    pub note: Option<String>,
}

/// Proof of decryption of all connections of a protocol in an arm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProofRow {
    /// Protocol.
    pub protocol: Protocol,
    /// Arm.
    pub arm: Arm,
    /// Connections proven intercepted.
    pub intercepted: u64,
    /// Connections proven end to end.
    pub end_to_end: u64,
    /// Responses without a well-formed echo.
    pub altered: u64,
    /// Connections that gave no response.
    pub unknown: u64,
    /// Whether the arm is what its label says (at least 99.99 % in the expected class).
    pub as_expected: bool,
    /// Corroboration: leaves that chain to the DUT CA.
    pub issuer_dut_ca: u64,
    /// Corroboration: leaves that chain to the persona CA.
    pub issuer_persona_ca: u64,
}

/// Bench certificate: what the bench does with no device in the path, same profile, same day, same build (RFC 9411 §5, A7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// Reference blocks it rests on.
    pub blocks: u32,
    /// Headroom per cell and kind of trial.
    pub headroom: Vec<Headroom>,
    /// Drift between first, middle and last reference block.
    pub drift: Vec<ReferenceDrift>,
    /// Whether drift stayed under the plan's limit and every cell was measured.
    pub holds: bool,
    /// Busiest engine worker over all measured trials, share of one core.
    pub busiest_worker: f64,
    /// Median of schedule lag p99 over latency trials, µs.
    pub schedule_lag_p99_us: Option<u64>,
    /// Datagrams dropped in the engine's namespace for want of buffer.
    pub udp_receive_drops: u64,
}

/// Headroom of one cell under one kind of load: what the bench can do divided by what was asked of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Headroom {
    /// Protocol.
    pub protocol: Protocol,
    /// Object.
    pub object: Object,
    /// Load.
    pub kind: TrialKind,
    /// What the bench reached without device, 1/s.
    pub reached: f64,
    /// What was offered (latency) or the larger of ON and BYPASS (capacity), 1/s.
    pub asked: f64,
    /// `reached / asked`.
    pub headroom: f64,
}

/// Drift of a reference value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReferenceDrift {
    /// Protocol.
    pub protocol: Protocol,
    /// Object.
    pub object: Object,
    /// KPI.
    pub kpi: Kpi,
    /// Largest relative difference between two reference blocks.
    pub relative: f64,
}

/// Outcome of one threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThresholdResult {
    /// The threshold in words.
    pub threshold: String,
    /// Value it was compared with; `None` when it was not measured.
    pub value: Option<f64>,
    /// Whether it holds; a threshold on something unmeasured does not.
    pub holds: bool,
}

/// Merged histograms of one cell, load and arm; percentiles in both views follow from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// Protocol.
    pub protocol: Protocol,
    /// Object.
    pub object: Object,
    /// Load.
    pub kind: TrialKind,
    /// Arm.
    pub arm: Arm,
    /// All timings, merged by adding counts.
    pub timings: Timings,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_kpis_are_those_of_their_serde_form() {
        for kpi in Kpi::ALL {
            assert_eq!(serde_json::to_value(kpi).ok(), Some(kpi.name().into()));
        }
    }
}
