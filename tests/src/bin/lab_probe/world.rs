//! The lab as seen from inside: sockets, targets, trust, and the few orders every question gives.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's answer")]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use tbi_bench::control::engine::{
    CipherSuite, Group, Load, Phases, ProbeOrder, ProbeReport, Target, TlsProfile, TlsVersions, TrialOrder,
    TrialReport, TrialStatus, Trust,
};
use tbi_bench::control::practice_dut::Behaviour;
use tbi_bench::object::Object;
use tbi_bench::protocol::Protocol;
use tbi_bench::units::Span;
use tbi_daemon::UnixClient;

/// What `tbi-agent lab exec` writes for the programs it starts.
#[derive(Debug, Deserialize)]
struct LabFile {
    targets: Vec<Target>,
    sources: Vec<ipnet::IpNet>,
    trust: Trust,
}

/// The lab.
pub(crate) struct World {
    pub(crate) engine: UnixClient,
    pub(crate) dut: UnixClient,
    pub(crate) targets: Vec<Target>,
    sources: Vec<ipnet::IpNet>,
    pub(crate) trust: Trust,
    trials: u32,
}

impl World {
    pub(crate) fn open() -> Result<Self> {
        let dir = PathBuf::from(
            std::env::var_os("TBI_LAB").context("TBI_LAB is not set; start this with `tbi-agent lab exec`")?,
        );
        let file: LabFile = serde_json::from_slice(&std::fs::read(dir.join("lab.json"))?)?;
        let client = |name: &str| UnixClient::new(dir.join(name)).with_timeout(Duration::from_secs(120));
        Ok(Self {
            engine: client("engine.sock"),
            dut: client("practice-dut.sock"),
            targets: file.targets,
            sources: file.sources,
            trust: file.trust,
            trials: 0,
        })
    }

    pub(crate) async fn behave(&self, behaviour: &Behaviour) -> Result<()> {
        let _in_force: Behaviour = self.dut.put_json("/v1/behaviour", behaviour).await?;
        Ok(())
    }

    pub(crate) async fn probe(&self, protocol: Protocol, count: u32) -> Result<ProbeReport> {
        // Odd, because targets alternate between IPv4 and IPv6.
        let stride = ((self.targets.len() / count as usize).max(2) - 1) | 1;
        let order = ProbeOrder {
            protocol,
            targets: self.targets.iter().step_by(stride).take(count as usize).cloned().collect(),
            per_target: 1,
            parallel: 1,
            fall_back: protocol.is_quic(),
            sources: self.sources.clone(),
            trust: self.trust.clone(),
            tls: TlsProfile::default(),
            timeout: Span::from_millis(1500),
            seed: 7,
        };
        Ok(self.engine.post_json("/v1/probes", &order).await?)
    }

    /// TLS 1.2 with a curve that its certificates may use.
    pub(crate) fn tls12() -> TlsProfile {
        TlsProfile {
            versions: TlsVersions::Tls12,
            suites: vec![CipherSuite::Aes128Gcm],
            groups: vec![Group::X25519, Group::P256],
        }
    }

    /// Closed loop, one transaction per connection, for `sustain`.
    pub(crate) async fn connections(
        &mut self,
        protocol: Protocol,
        sustain: Span,
        tls: TlsProfile,
        seed: u64,
    ) -> Result<TrialReport> {
        self.trials += 1;
        let order = TrialOrder {
            protocol,
            object: Object::Kb1,
            load: Load::Closed { connections: 16, streams: 1 },
            transactions_per_connection: 1,
            phases: Phases { init: Span::ZERO, ramp_up: Span::ZERO, sustain, ramp_down: Span::ZERO },
            targets: self.targets.clone(),
            sources: self.sources.clone(),
            trust: self.trust.clone(),
            tls,
            handshake_timeout: Span::from_secs(5),
            request_timeout: Span::from_secs(5),
            seed,
        };
        let path = format!("/v1/trials/probe{}", self.trials);
        let _accepted: serde_json::Value = self.engine.put_json(&path, &order).await?;
        let deadline = tokio::time::Instant::now() + sustain.duration() + Duration::from_secs(30);
        let mut timer = tokio::time::interval(Duration::from_millis(50));
        loop {
            timer.tick().await;
            if let TrialStatus::Ended { report } = self.engine.get_json(&path).await? {
                return Ok(*report);
            }
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "the engine did not end the trial within its deadline"
            );
        }
    }
}

pub(crate) fn print(document: &serde_json::Value) {
    println!("{document:#}");
}

pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("{error:#}");
}
