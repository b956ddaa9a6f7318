//! The floor a campaign runs on: network, engine, personas and device, with one method per [`Action`] of the campaign.
//!
//! It decides nothing; every failure becomes one sentence for the record.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use ipnet::IpNet;
use tbi_bench::campaign::TrialSpec;
use tbi_bench::control::CpuTime;
use tbi_bench::control::engine::{ProbeOrder, ProbeReport, Target, TrialReport, TrialStatus, Trust};
use tbi_bench::control::personas::PersonasStatus;
use tbi_bench::netplan::{NetworkPlan, Path};
use tbi_bench::plan::Plan;
use tbi_bench::protocol::{Arm, Protocol};
use tbi_daemon::{BYE, ClientError, UnixClient};
use tbi_dut::{DecryptMode, DutAdapter, DutError, Snapshot};
use tokio::sync::Mutex;

use crate::network::{NetworkError, NetworkHost};

/// Time beyond a trial's phases after which an engine that has not answered is given up: draining takes at most one request timeout.
const GRACE: Duration = Duration::from_secs(15);

/// Both network plans: with the device as the only way, and without it.
#[derive(Debug)]
pub(crate) struct Paths {
    /// For reference blocks.
    pub reference: NetworkPlan,
    /// For ON and BYPASS.
    pub through_dut: NetworkPlan,
}

/// Everything a campaign touches.
pub(crate) struct Floor {
    /// Namespaces and links.
    pub network: Arc<Mutex<NetworkHost>>,
    /// Both plans for them.
    pub paths: Paths,
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
        source: NetworkError,
    },
    /// Device.
    #[error(transparent)]
    Dut(#[from] DutError),
    /// A measuring daemon refused or did not answer.
    #[error("The {daemon} did not {operation}: {source}; its log is in the run's folder under logs/.")]
    Daemon {
        /// Which.
        daemon: &'static str,
        /// What was asked of it.
        operation: String,
        /// Why.
        source: ClientError,
    },
    /// The engine does not end a trial.
    #[error(
        "The load engine did not end {trial} within {seconds} s; its log is in the run's folder under logs/, run again."
    )]
    Hangs {
        /// Which trial.
        trial: String,
        /// Limit.
        seconds: u64,
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
}

impl Floor {
    pub(crate) async fn lay_path(&self, choice: Path) -> Result<(), FloorError> {
        let (path, plan) = match choice {
            Path::Reference => ("reference", &self.paths.reference),
            Path::ThroughDut => ("device's", &self.paths.through_dut),
        };
        // One path at a time: restarts of programs wait for the lock, too.
        let steps = self.network.lock().await.apply(plan).await.map_err(|source| FloorError::Path { path, source })?;
        tracing::debug!(path, steps, "path laid");
        Ok(())
    }

    pub(crate) async fn switch_mode(&self, arm: Arm) -> Result<Snapshot, FloorError> {
        let mode = match arm {
            Arm::On => DecryptMode::On,
            Arm::Bypass | Arm::Reference => DecryptMode::Bypass,
        };
        self.dut.switch_mode(mode).await?;
        Ok(self.dut.snapshot().await?)
    }

    /// Probes spread over all countries: the first `verify_probes` targets of a stride through the list.
    pub(crate) async fn probe(&self, plan: &Plan, protocol: Protocol) -> Result<ProbeReport, FloorError> {
        let wanted = (plan.verify_probes as usize).min(self.targets.len()).max(1);
        let stride = (self.targets.len() / wanted).max(1);
        let targets: Vec<Target> = self.targets.iter().step_by(stride).take(wanted).cloned().collect();
        let order = ProbeOrder {
            protocol,
            per_target: plan.verify_probes.div_ceil(targets.len().max(1) as u32),
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
        let limit = plan.handshake_timeout.duration() * plan.verify_probes * 2 + GRACE;
        self.engine.clone().with_timeout(limit).post_json("/v1/probes", &order).await.map_err(|source| {
            FloorError::Daemon { daemon: "load engine", operation: format!("probe {protocol}"), source }
        })
    }

    pub(crate) async fn trial(&self, plan: &Plan, spec: &TrialSpec, id: &str) -> Result<Measured, FloorError> {
        let order = spec.order(plan, self.targets.clone(), self.sources.clone(), self.trust.clone());
        let fail = |operation: &str| {
            let operation = format!("{operation} {spec}");
            move |source| FloorError::Daemon { daemon: "load engine", operation, source }
        };
        let (personas_before, dut_before) = (self.personas_cpu().await, self.dut_cpu().await);
        let path = format!("/v1/trials/{id}");
        let _accepted: serde_json::Value = self.engine.put_json(&path, &order).await.map_err(fail("begin"))?;
        let limit = plan.trial_length().duration() + plan.request_timeout.duration() + GRACE;
        let ended = tokio::time::timeout(limit, self.follow(&path)).await;
        let report = match ended {
            Ok(report) => report.map_err(fail("report"))?,
            Err(_) => {
                // Best effort: the engine may be gone, and the run ends with the sentence below in any case.
                let _stopped = self.engine.delete(&path).await;
                return Err(FloorError::Hangs { trial: spec.to_string(), seconds: limit.as_secs() });
            }
        };
        let since = |before: Option<CpuTime>, after: Option<CpuTime>| Some(after?.since(before?).total_us());
        Ok(Measured {
            report,
            personas_cpu_us: since(personas_before, self.personas_cpu().await),
            dut_cpu_us: since(dut_before, self.dut_cpu().await),
        })
    }

    /// Follows the ticks until the engine says goodbye, then takes the report; asks again when the stream breaks early.
    async fn follow(&self, path: &str) -> Result<TrialReport, ClientError> {
        loop {
            let mut ticks = Box::pin(self.engine.events(&format!("{path}/ticks")).await?);
            while let Some(event) = ticks.next().await {
                if event?.name == BYE {
                    break;
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

    async fn dut_cpu(&self) -> Option<CpuTime> {
        self.dut.counters().await.ok().and_then(|counters| counters.cpu)
    }
}
