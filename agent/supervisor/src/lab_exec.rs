//! `tbi-agent lab exec`: a lab with everything up and ready, and one command inside it. For looking around (`ip netns exec dut ip route`)
//! and for tests that ask questions no campaign asks.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tbi_bench::plan::{Plan, Profile};
use tokio::process::Command;

use crate::run::lab::{Authorities, Lab, RUN};

/// Brings the lab up and runs a command inside it; a shell when none is given.
#[derive(Debug, Args)]
#[command(after_help = "\
The command finds in $TBI_LAB the sockets (engine.sock, personas.sock, practice-dut.sock) and lab.json with targets, source prefixes and trust.
Namespaces are agents, dut, isp and personas.

Examples:
  tbi-agent lab exec -- ip netns exec dut ip route
  tbi-agent lab exec -- sh -c 'curl -s --unix-socket $TBI_LAB/practice-dut.sock http://dut/v1/identity'
  tbi-agent lab exec                  a shell")]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    authorities: Authorities,
    /// Folder for the programs' logs [default: a private one, gone with the lab].
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl ExecArgs {
    /// Exit code is the command's.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let plan = Plan::of_profile(Profile::Short);
        let logs = self.logs.unwrap_or_else(|| Path::new(RUN).join("logs"));
        let lab = Lab::up(&plan, &self.authorities, &logs).await?;
        let facts = serde_json::json!({
            "targets": lab.up.floor.targets,
            "sources": lab.up.floor.sources,
            "trust": lab.up.floor.trust,
        });
        std::fs::write(Path::new(RUN).join("lab.json"), facts.to_string()).context("lab.json cannot be written")?;
        let mut words = self.command.into_iter();
        let program = words.next().or_else(|| std::env::var("SHELL").ok()).unwrap_or_else(|| "sh".to_owned());
        let status = Command::new(&program)
            .args(words)
            .env("TBI_LAB", RUN)
            .kill_on_drop(true)
            .status()
            .await
            .with_context(|| format!("{program} cannot be started in the lab; check its path"))?;
        Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
    }
}
