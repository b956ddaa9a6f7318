//! The trials of a block, and the seed each gets.

use std::fmt;

use crate::campaign::BlockSpec;
use crate::control::engine::{Load, Target, TrialOrder, Trust};
use crate::mode_check::Expected;
use crate::object::Object;
use crate::plan::Plan;
use crate::protocol::{Arm, Protocol};
use crate::record::TrialKind;

/// One trial to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialSpec {
    /// Protocol.
    pub protocol: Protocol,
    /// Object.
    pub object: Object,
    /// Load.
    pub kind: TrialKind,
    /// Seed: the same in both arms of a pair, so that both see the same arrivals.
    pub seed: u64,
}

impl fmt::Display for TrialSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            TrialKind::Latency => "latency",
            TrialKind::ConnectionRate => "connection rate",
            TrialKind::Capacity => "capacity",
        };
        write!(f, "{} {} {kind}", self.protocol, self.object)
    }
}

/// Trials of a block in order. Protocols the device blocks in this arm are left out: nothing of them can be measured but the fallback.
/// Reference blocks measure the connection rate of every object, because headroom of latency rests on it.
#[must_use]
pub fn trials_of(plan: &Plan, block: BlockSpec) -> Vec<TrialSpec> {
    let mut trials = Vec::new();
    for &protocol in &plan.protocols {
        if plan.expectation(block.arm, protocol) == Expected::Blocked {
            continue;
        }
        for &object in &plan.objects {
            for kind in [TrialKind::Latency, TrialKind::ConnectionRate, TrialKind::Capacity] {
                let wanted = if block.arm == Arm::Reference {
                    plan.refers_to(kind, object)
                } else {
                    plan.measures(kind, object)
                };
                if wanted {
                    trials.push(TrialSpec { protocol, object, kind, seed: 0 });
                }
            }
        }
    }
    for trial in &mut trials {
        trial.seed = seed_of(plan.seed, block.pair, trial);
    }
    trials
}

impl TrialSpec {
    /// The order for the engine.
    #[must_use]
    pub fn order(&self, plan: &Plan, targets: Vec<Target>, sources: Vec<ipnet::IpNet>, trust: Trust) -> TrialOrder {
        let (load, transactions_per_connection) = match self.kind {
            TrialKind::Latency => (
                Load::Open {
                    rate: plan.latency.rate,
                    arrivals: plan.latency.arrivals,
                    max_in_flight: plan.latency.max_in_flight,
                },
                1,
            ),
            TrialKind::ConnectionRate => (Load::Closed { connections: plan.capacity.connections, streams: 1 }, 1),
            TrialKind::Capacity => (
                Load::Closed {
                    connections: plan.capacity.connections,
                    streams: if self.protocol == Protocol::H1 { 1 } else { plan.capacity.streams },
                },
                plan.capacity.transactions_per_connection,
            ),
        };
        TrialOrder {
            protocol: self.protocol,
            object: self.object,
            load,
            transactions_per_connection,
            phases: plan.phases,
            targets,
            sources,
            trust,
            tls: plan.tls.clone(),
            handshake_timeout: plan.handshake_timeout,
            request_timeout: plan.request_timeout,
            seed: self.seed,
        }
    }
}

/// Mixes campaign seed, pair and cell with SplitMix64's finaliser (Steele et al. 2014), so that neighbouring inputs give unlike seeds.
fn seed_of(campaign: u64, pair: Option<u32>, trial: &TrialSpec) -> u64 {
    let pair = pair.map_or(u64::from(u32::MAX), u64::from);
    let cell = (trial.protocol as u64) << 16 | (trial.object as u64) << 8 | trial.kind as u64;
    let mut mixed = campaign;
    for word in [pair, cell] {
        mixed = (mixed ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::sequence;
    use crate::control::practice_dut::QuicPolicy;
    use crate::plan::Profile;

    #[test]
    fn both_arms_of_a_pair_get_the_same_trials_and_seeds() {
        let plan = Plan::of_profile(Profile::Short);
        let blocks = sequence(&plan);
        for two in blocks.windows(2).filter(|two| two[0].pair.is_some() && two[0].pair == two[1].pair) {
            assert_eq!(trials_of(&plan, two[0]), trials_of(&plan, two[1]));
        }
        let seeds: std::collections::BTreeSet<u64> =
            blocks.iter().filter(|b| b.arm == Arm::On).flat_map(|b| trials_of(&plan, *b)).map(|t| t.seed).collect();
        assert_eq!(seeds.len(), 6 * trials_of(&plan, BlockSpec { arm: Arm::On, pair: Some(0) }).len());
    }

    #[test]
    fn a_blocked_protocol_is_not_measured_in_that_arm() {
        let mut plan = Plan::of_profile(Profile::Short);
        plan.dut.on.quic = QuicPolicy::BlockSilent;
        let on = trials_of(&plan, BlockSpec { arm: Arm::On, pair: Some(0) });
        assert!(on.iter().all(|trial| trial.protocol == Protocol::H2));
        let bypass = trials_of(&plan, BlockSpec { arm: Arm::Bypass, pair: Some(0) });
        assert!(bypass.iter().any(|trial| trial.protocol == Protocol::H3));
    }
}
