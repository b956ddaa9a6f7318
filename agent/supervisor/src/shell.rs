//! `lab-shell`: a command (or a shell) inside the lab's namespaces, with the network plan applied and no programs started. For looking
//! around: `ip netns exec dut ip route`.

use std::process::ExitCode;

use clap::Args;
use tbi_bench::catalogue::Catalogue;
use tbi_bench::netplan::{NetworkPlan, Path};
use tbi_bench::topology::Topology;
use tokio::process::Command;

use crate::network::NetworkHost;

/// A command inside the lab's namespaces.
#[derive(Debug, Args)]
pub(crate) struct LabShell {
    /// Around the device under test instead of through it.
    #[arg(long)]
    reference: bool,
    /// What to run; a shell when empty.
    #[arg(trailing_var_arg = true)]
    command: Vec<String>,
}

impl LabShell {
    /// Applies the plan and runs the command; the exit code is the command's.
    ///
    /// # Errors
    /// When the plan cannot be applied or the command not be started.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let path = if self.reference { Path::Reference } else { Path::ThroughDut };
        let topology = Topology::builtin();
        topology.check_lab()?;
        let mut host = NetworkHost::default();
        host.apply(&NetworkPlan::new(&topology, &Catalogue::builtin(), path)).await?;
        let mut command = self.command.into_iter();
        let program = command.next().unwrap_or_else(|| "bash".to_owned());
        let status = Command::new(program).args(command).kill_on_drop(true).status().await?;
        Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
    }
}
