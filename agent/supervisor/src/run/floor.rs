//! The floor a campaign runs on: network, engine, personas and device, with one method per [`Action`] of the campaign.
//!
//! It decides nothing; every failure becomes one sentence for the record.

use std::time::Duration;

use futures_util::StreamExt as _;
use ipnet::IpNet;
use tbi_bench::campaign::TrialSpec;
use tbi_bench::control::CpuTime;
use tbi_bench::control::engine::{ProbeOrder, ProbeReport, Target, Tick, TrialReport, TrialStatus, Trust};
use tbi_bench::control::personas::PersonasStatus;
use tbi_bench::netplan::Path;
use tbi_bench::plan::Plan;
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::units::Span;
use tbi_daemon::{BYE, ClientError, UnixClient};
use tbi_dut::{DecryptMode, DutAdapter, DutCounters, DutError, Snapshot};

use super::place::{PathError, PathLayer};

/// Time beyond a trial's phases and one request timeout after which an engine that has not answered is given up; it drains in seconds.
const GRACE: Duration = Duration::from_secs(15);

/// Everything a campaign touches.
pub(crate) struct Floor {
    /// Namespaces and links.
    pub network: Box<dyn PathLayer>,
    /// Load engine.
    pub engine: UnixClient,
    /// Personas.
    pub personas: UnixClient,
    /// Device.
    pub dut: Box<dyn DutAdapter>,
    /// Servers, already limited to the plan's number and family.
    pub targets: Vec<Target>,
    /// Agents' addresses.
    pub sources: Vec<IpNet>,
    /// Authorities.
    pub trust: Trust,
    /// Where a program's words are, for sentences.
    pub log: &'static str,
}

/// An action failed. One sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FloorError {
    /// Network.
    #[error("The {path} path could not be laid: {source}")]
    Path {
        /// Which.
        path: &'static str,
        /// Why.
        source: PathError,
    },
    /// Device.
    #[error(transparent)]
    Dut(#[from] DutError),
    /// A measuring daemon refused or did not answer.
    #[error("The {daemon} did not {operation}: {source}; {log}.")]
    Daemon {
        /// Which.
        daemon: &'static str,
        /// What was asked of it.
        operation: String,
        /// Why.
        source: ClientError,
        /// Where its words are.
        log: &'static str,
    },
    /// The engine does not end a trial.
    #[error("The load engine did not end {trial} within {seconds} s; {log}, run again.")]
    Hangs {
        /// Which trial.
        trial: String,
        /// Limit.
        seconds: u64,
        /// Where its words are.
        log: &'static str,
    },
}

/// A trial with what it cost the others.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The engine's report.
    pub report: TrialReport,
    /// CPU of the personas, µs.
    pub personas_cpu_us: Option<u64>,
    /// CPU of the device, µs.
    pub dut_cpu_us: Option<u64>,
    /// Packets the device lost against its will during the trial.
    pub overrun: u64,
}

impl Floor {
    pub(crate) async fn lay_path(&self, choice: Path) -> Result<(), FloorError> {
        let path = match choice {
            Path::Reference => "reference",
            Path::ThroughDut => "device's",
        };
        self.network.lay(choice).await.map_err(|source| FloorError::Path { path, source })
    }

    pub(crate) async fn switch_mode(&self, arm: Arm) -> Result<Snapshot, FloorError> {
        let mode = match arm {
            Arm::On => DecryptMode::On,
            Arm::Bypass | Arm::Reference => DecryptMode::Bypass,
        };
        self.dut.switch_mode(mode).await?;
        Ok(self.dut.snapshot().await?)
    }

    /// `verify_probes` probes spread over countries and, where the plan has both, families.
    pub(crate) async fn probe(&self, plan: &Plan, protocol: Protocol) -> Result<ProbeReport, FloorError> {
        let chosen = spread(self.targets.len(), plan.verify_probes as usize);
        let targets: Vec<Target> = chosen.into_iter().filter_map(|index| self.targets.get(index).cloned()).collect();
        let per_target = plan.verify_probes.div_ceil(targets.len().max(1) as u32);
        let probes = per_target.saturating_mul(targets.len() as u32);
        let order = ProbeOrder {
            protocol,
            per_target,
            targets,
            // One after the other: what is timed is the path, not the queue at the device.
            parallel: 1,
            fall_back: protocol.is_quic(),
            sources: self.sources.clone(),
            trust: self.trust.clone(),
            tls: plan.tls.clone(),
            timeout: plan.handshake_timeout,
            seed: plan.seed,
        };
        // An h3 probe that gives up may wait as long again for its fallback.
        let limit = plan.handshake_timeout.duration() * probes * 2 + GRACE;
        self.engine.clone().with_timeout(limit).post_json("/v1/probes", &order).await.map_err(|source| {
            FloorError::Daemon { daemon: "load engine", operation: format!("probe {protocol}"), source, log: self.log }
        })
    }

    /// Measures a trial; `heard` is told each of its seconds once, as soon as the engine counted it.
    pub(crate) async fn trial(
        &self,
        plan: &Plan,
        spec: &TrialSpec,
        id: &str,
        heard: &mut (dyn FnMut(Tick) + Send),
    ) -> Result<Measured, FloorError> {
        let order = spec.order(plan, self.targets.clone(), self.sources.clone(), self.trust.clone());
        let log = self.log;
        let fail = |operation: &str| {
            let operation = format!("{operation} {spec}");
            move |source| FloorError::Daemon { daemon: "load engine", operation, source, log }
        };
        let (personas_before, dut_before) = (self.personas_cpu().await, self.dut_counters().await);
        let path = format!("/v1/trials/{id}");
        let _accepted: serde_json::Value = self.engine.put_json(&path, &order).await.map_err(fail("begin"))?;
        let limit = plan.trial_length().duration() + plan.request_timeout.duration() + GRACE;
        let ended = tokio::time::timeout(limit, self.follow(&path, heard)).await;
        let report = match ended {
            Ok(report) => report.map_err(fail("report"))?,
            Err(_) => {
                // Best effort: the engine may be gone, and the run ends with the sentence below in any case.
                let _stopped = self.engine.delete(&path).await;
                return Err(FloorError::Hangs { trial: spec.to_string(), seconds: limit.as_secs(), log });
            }
        };
        let since = |before: Option<CpuTime>, after: Option<CpuTime>| Some(after?.since(before?).total_us());
        let dut_after = self.dut_counters().await;
        Ok(Measured {
            report,
            personas_cpu_us: since(personas_before, self.personas_cpu().await),
            dut_cpu_us: since(dut_before.cpu, dut_after.cpu),
            overrun: dut_after.overrun.unwrap_or(0).saturating_sub(dut_before.overrun.unwrap_or(0)),
        })
    }

    /// Follows the ticks until the engine says goodbye, then takes the report; asks again when the stream breaks early, which then begins
    /// with the first tick again.
    async fn follow(&self, path: &str, heard: &mut (dyn FnMut(Tick) + Send)) -> Result<TrialReport, ClientError> {
        let mut until = Span::ZERO;
        loop {
            let mut ticks = Box::pin(self.engine.events(&format!("{path}/ticks")).await?);
            while let Some(event) = ticks.next().await {
                let event = event?;
                if event.name == BYE {
                    break;
                }
                // Only shown: what counts is the report, and a tick that cannot be read is in it as well.
                let tick = serde_json::from_str::<Tick>(&event.data).ok();
                if let Some(tick) = tick.filter(|tick| event.name == "tick" && tick.at > until) {
                    until = tick.at;
                    heard(tick);
                }
            }
            if let TrialStatus::Ended { report } = self.engine.get_json(path).await? {
                return Ok(*report);
            }
        }
    }

    async fn personas_cpu(&self) -> Option<CpuTime> {
        self.personas.get_json::<PersonasStatus>("/v1/status").await.ok().map(|status| status.cpu)
    }

    /// Nothing when it cannot be asked: the next switch of its mode tells.
    async fn dut_counters(&self) -> DutCounters {
        self.dut.counters().await.unwrap_or_default()
    }
}

/// Positions of `wanted` targets out of `all`, spread evenly. The list alternates between families, and an even stride would only ever
/// meet one of them, so positions alternate between even and odd.
fn spread(all: usize, wanted: usize) -> Vec<usize> {
    let wanted = wanted.min(all).max(1);
    let stride = (all / wanted).max(1);
    let alternate =
        |position: usize, turn: usize| if stride > 1 { ((position & !1) | (turn & 1)).min(all - 1) } else { position };
    (0..all).step_by(stride).take(wanted).enumerate().map(|(turn, position)| alternate(position, turn)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::spread;

    #[test]
    fn probes_meet_both_families_and_no_target_twice() {
        for (all, wanted) in [(200, 20), (200, 50), (200, 1000), (14, 5), (100, 20), (2, 1), (1, 20), (0, 20)] {
            let chosen = spread(all, wanted);
            assert_eq!(chosen.len(), wanted.min(all), "{all} {wanted}");
            assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), chosen.len(), "{all} {wanted} {chosen:?}");
            assert!(chosen.iter().all(|position| *position < all));
            if chosen.len() > 1 {
                let ipv4 = chosen.iter().filter(|position| *position % 2 == 0).count();
                assert!(ipv4.abs_diff(chosen.len() - ipv4) <= 1, "{all} {wanted} {chosen:?}");
            }
        }
    }
}
