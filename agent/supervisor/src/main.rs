//! The agent: network plan, processes, runs.

mod network;
mod run;
mod sandbox;
mod shell;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    #[command(hide = true)]
    LabShell(shell::LabShell),
}

fn main() -> anyhow::Result<ExitCode> {
    let Cli { command } = Cli::parse();
    // Before the first thread: the kernel gives user namespaces to single-threaded processes only.
    if let sandbox::Entered::Ended(code) = sandbox::enter()? {
        return Ok(code);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Action::LabShell(shell) => runtime.block_on(shell.run()),
    }
}
