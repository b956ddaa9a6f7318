//! The plan: what an operator asks a campaign to do, in two stages (STYLE 13).
//!
//! [`PlanFile`] is what was written, TOML or JSON, unknown fields refused, everything optional. [`Plan`] is what the program runs
//! with: complete, checked, and itself a valid plan file, so that a run record can be run again from its `plan` alone.
//! No I/O here. Times and rates carry units ([`crate::units`]).

mod defaults;
mod file;
mod threshold;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use file::{PlanError, PlanFile, PlanFormat};
pub use threshold::{Threshold, ThresholdError};

use crate::control::engine::{Arrivals, Phases, TlsProfile};
use crate::control::personas::KeyKind;
use crate::control::practice_dut::{Behaviour, QuicPolicy, TcpPolicy};
use crate::mode_check::Expected;
use crate::object::Object;
use crate::proof::Interception;
use crate::protocol::{Arm, Protocol};
use crate::record::TrialKind;
use crate::units::{Rate, Span};

/// Version of the plan format.
pub const PLAN_VERSION: u32 = 1;

/// How much time a run takes and what it may call itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Under a minute; every cost is indicative.
    Quick,
    /// Under three minutes on two cores; six pairs. Not RFC 9411: sustain phases are too short.
    #[default]
    Short,
    /// Sustain phases of 300 s as RFC 9411 §4.3.4 recommends; hours.
    Full,
}

/// What the ON arm stands for, and so which class its connections must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Experiment {
    /// ON decrypts, BYPASS does not.
    DecryptionCost,
    /// Both arms leave connections end to end: an A/A control, or a known delay or loss as dose.
    Control,
}

/// Address family of targets and sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
    /// Half of the connections each.
    Both,
}

/// Equal offered rate for latency (RFC 9411 §7.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Connections per second, one transaction each.
    pub rate: Rate,
    /// Gaps.
    pub arrivals: Arrivals,
    /// Connections in flight at most; further ones are skipped and counted.
    pub max_in_flight: u32,
}

/// Closed-loop load for capacity (RFC 9411 §7.6, §7.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// Connections held at once.
    pub connections: u32,
    /// Requests in flight on each connection with h2 and h3.
    pub streams: u32,
    /// Transactions on each connection.
    pub transactions_per_connection: u32,
}

/// The device and its behaviour in both arms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DutPlan {
    /// Adapter to use.
    pub adapter: Adapter,
    /// Practice DUT: behaviour in the ON arm.
    pub on: Behaviour,
    /// Practice DUT: behaviour in the BYPASS arm.
    pub bypass: Behaviour,
}

/// Which adapter speaks to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Adapter {
    /// The built-in practice DUT.
    Practice,
}

/// Programs' threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workers {
    /// Load engine.
    pub engine: u32,
    /// Personas.
    pub personas: u32,
    /// Practice DUT.
    pub dut: u32,
}

/// A complete, checked plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Format version, [`PLAN_VERSION`].
    pub version: u32,
    /// Name, printed on the report's cover.
    pub name: String,
    /// Profile.
    pub profile: Profile,
    /// Experiment.
    pub experiment: Experiment,
    /// Seed of everything random in the campaign: order within pairs, schedules, target rotation, tokens, bootstrap.
    pub seed: u64,
    /// Pairs of ON and BYPASS blocks.
    pub pairs: u32,
    /// Reference blocks (no device in the path): before, between and after the pairs.
    pub reference_blocks: u32,
    /// Protocols, in the order of measuring.
    pub protocols: Vec<Protocol>,
    /// Objects, in the order of measuring.
    pub objects: Vec<Object>,
    /// Loads to measure under; reference blocks add what headroom rests on.
    pub loads: Vec<TrialKind>,
    /// Object of the connection-rate trials; `None` measures no connection rate outside the reference blocks.
    pub connection_rate_object: Option<Object>,
    /// How many of the hundred personas are used, spread over all countries.
    pub personas: u32,
    /// Address family.
    pub family: Family,
    /// Key type of persona CA and leaves.
    pub key: KeyKind,
    /// ClientHello.
    pub tls: TlsProfile,
    /// Phases of latency and capacity trials alike.
    pub phases: Phases,
    /// Latency load.
    pub latency: Latency,
    /// Capacity load.
    pub capacity: Capacity,
    /// Time limit of a handshake.
    pub handshake_timeout: Span,
    /// Time limit of a request.
    pub request_timeout: Span,
    /// Largest drift between reference blocks before the run is void, per mille.
    pub drift_limit_per_mille: u32,
    /// Probe connections per protocol that verify a mode before measuring.
    pub verify_probes: u32,
    /// Device.
    pub dut: DutPlan,
    /// Threads.
    pub workers: Workers,
    /// Thresholds that decide the exit code.
    pub thresholds: Vec<Threshold>,
}

impl Plan {
    /// What connections of `protocol` must be in `arm`, from experiment and behaviour.
    #[must_use]
    pub fn expectation(&self, arm: Arm, protocol: Protocol) -> Expected {
        let behaviour = match arm {
            Arm::Reference => return Expected::Class(Interception::EndToEnd),
            Arm::On => &self.dut.on,
            Arm::Bypass => &self.dut.bypass,
        };
        let decrypts = if protocol.is_quic() {
            match behaviour.quic {
                QuicPolicy::Decrypt => true,
                QuicPolicy::Route => false,
                QuicPolicy::BlockSilent | QuicPolicy::BlockActive => return Expected::Blocked,
            }
        } else {
            behaviour.tcp == TcpPolicy::Decrypt
        };
        Expected::Class(if decrypts { Interception::Intercepted } else { Interception::EndToEnd })
    }

    /// Whether cells of this object are measured under this load in ON and BYPASS blocks.
    #[must_use]
    pub fn measures(&self, kind: TrialKind, object: Object) -> bool {
        self.loads.contains(&kind)
            && self.objects.contains(&object)
            && (kind != TrialKind::ConnectionRate || self.connection_rate_object == Some(object))
    }

    /// Whether reference blocks measure it: what the arms measure, and the connection rate on which headroom of latency rests.
    #[must_use]
    pub fn refers_to(&self, kind: TrialKind, object: Object) -> bool {
        self.measures(kind, object)
            || (kind == TrialKind::ConnectionRate
                && self.objects.contains(&object)
                && self.loads.contains(&TrialKind::Latency))
    }

    /// Length of one trial with all its phases.
    #[must_use]
    pub fn trial_length(&self) -> Span {
        let Phases { init, ramp_up, sustain, ramp_down } = self.phases;
        Span::from_micros(init.as_micros() + ramp_up.as_micros() + sustain.as_micros() + ramp_down.as_micros())
    }
}
