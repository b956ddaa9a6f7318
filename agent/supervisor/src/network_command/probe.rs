//! `tbi-agent network probe`: asks the trunk who has the addresses of the topology, and ends. The unit puts it into one namespace of the bench
//! with CAP_NET_RAW and nothing else, so it enters none itself; it reads `network.json` and writes one file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use tbi_bench::netplan::{Namespace, Path};
use tbi_daemon::{Access, replace_file};

use super::config::ConfigError;
use super::plan;
use crate::network::probe::{ProbeError, ProbeOutcome, VlanSeen, ask, targets};

/// A namespace in which the trunk has VLAN interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Where {
    Agents,
    Isp,
}

impl From<Where> for Namespace {
    fn from(place: Where) -> Self {
        match place {
            Where::Agents => Self::Agents,
            Where::Isp => Self::Isp,
        }
    }
}

/// See the module.
#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// What the network is laid on (`network.json`)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The namespace that this is started in
    #[arg(long = "in", value_name = "NAMESPACE")]
    place: Where,
    /// Where to write what was seen
    #[arg(long, value_name = "FILE")]
    outcome: PathBuf,
}

/// Why nothing was asked.
#[derive(Debug, thiserror::Error)]
enum NotAsked {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error(
        "no network card is chosen as trunk; the box measures through its practice device, and there is nobody to ask"
    )]
    NoTrunk,
}

impl ProbeArgs {
    /// Exit code 0 when the wire was asked, whatever it answered.
    #[expect(clippy::print_stderr, reason = "the unit's last line in the journal")]
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let begun = Instant::now();
        let mut trunk = String::new();
        let asked = self.ask(&mut trunk);
        let (vlans, sentence) = match asked {
            Ok(vlans) => (vlans, String::new()),
            Err(error) => (Vec::new(), error.to_string()),
        };
        let failed = !sentence.is_empty();
        if failed {
            eprintln!("{sentence}");
        }
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let outcome = ProbeOutcome { when: Timestamp::now().to_string(), trunk, took_ms, vlans, sentence };
        let mut text = serde_json::to_vec(&outcome)?;
        text.push(b'\n');
        replace_file(&self.outcome, &text, Access::Everybody)?;
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn ask(&self, trunk: &mut String) -> Result<Vec<VlanSeen>, NotAsked> {
        let plan = plan(&self.config, Path::ThroughDut)?;
        *trunk = plan.state.trunk.ok_or(NotAsked::NoTrunk)?.to_string();
        Ok(ask(targets(&plan, self.place.into()), chance)?)
    }
}

/// A number from 0 to 1. Without a source of chance all boxes ask at the same times, which is no reason not to ask.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_no_chance) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::fs;

    use super::*;

    fn told(config: &str) -> (ExitCode, ProbeOutcome) {
        let folder = tempfile::tempdir().unwrap();
        let (file, outcome) = (folder.path().join("network.json"), folder.path().join("outcome.json"));
        fs::write(&file, config).unwrap();
        let code = ProbeArgs { config: file, place: Where::Agents, outcome: outcome.clone() }.run().unwrap();
        (code, serde_json::from_slice(&fs::read(outcome).unwrap()).unwrap())
    }

    #[test]
    fn a_wire_that_cannot_be_asked_says_why() {
        let (code, outcome) = told("nonsense");
        assert!(
            code == ExitCode::FAILURE && outcome.sentence.contains("is not a network configuration"),
            "{outcome:?}"
        );
        let (code, outcome) = told(r#"{ "version": 1, "topology": null, "trunk": null, "isp": "frr" }"#);
        assert!(code == ExitCode::FAILURE && outcome.sentence.contains("no network card is chosen"), "{outcome:?}");
        // Not in the namespace, and perhaps without the right to a raw socket: a sentence either way.
        let trunk = r#"{ "version": 1, "topology": null, "trunk": { "mac": "52:54:00:00:00:01" }, "isp": "frr" }"#;
        let (code, outcome) = told(trunk);
        assert!(code == ExitCode::FAILURE && !outcome.sentence.is_empty() && outcome.vlans.is_empty(), "{outcome:?}");
        assert_eq!(outcome.trunk, "52:54:00:00:00:01");
    }

    #[test]
    fn chance_is_between_nothing_and_one() {
        assert!((0..100).map(|_| chance()).all(|chance| (0.0..=1.0).contains(&chance)));
    }
}
