//! `tbi-agent`: the agent. In the lab it is the supervisor of one run (`lab run`) or of a lab to look around in (`lab exec`); on an appliance
//! it is the daemon (`serve`), the health gate (`gate`) and what carries settings out (`settings apply`).
#![expect(clippy::print_stderr, reason = "errors of a command-line program")]

mod appliance;
mod gate;
mod lab_exec;
mod network;
mod process;
mod run;
mod sandbox;
mod serve;
mod settings_command;
mod shell;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit code for "could not measure".
const NOT_MEASURED: u8 = 2;

/// The agent of TLSStress.Art TBI.
#[derive(Debug, Parser)]
#[command(name = "tbi-agent", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Gate(gate::GateArgs),
    #[command(subcommand)]
    Settings(settings_command::SettingsCommand),
    /// The bench in private namespaces of this machine.
    #[command(subcommand)]
    Lab(LabCommand),
    #[command(hide = true)]
    LabShell(shell::LabShell),
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    Run(Box<run::options::RunArgs>),
    Exec(lab_exec::ExecArgs),
    /// Makes a record of a run whose agent was killed, from the blocks it left; `run` does so by itself in its default folder.
    Close {
        /// Folder of the run.
        #[arg(value_name = "DIR")]
        dir: std::path::PathBuf,
    },
}

fn main() -> ExitCode {
    match start(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(NOT_MEASURED)
        }
    }
}

fn start(command: Command) -> anyhow::Result<ExitCode> {
    // On an appliance: no namespaces of our own around these.
    let command = match command {
        Command::Serve(serve) => return serve.run(),
        Command::Gate(gate) => return gate.run(),
        Command::Settings(settings) => return settings.run(),
        command => command,
    };
    if let Command::Lab(LabCommand::Close { dir }) = command {
        let record = run::close::close(&dir)?;
        eprintln!("closed: {}", record.reasons.first().map_or("", String::as_str));
        return Ok(ExitCode::SUCCESS);
    }
    // Before the first thread: the kernel gives user namespaces to single-threaded processes only.
    if let sandbox::Entered::Ended(code) = sandbox::enter()? {
        return Ok(code);
    }
    tbi_daemon::init_tracing("tbi-agent", "warn");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Command::Lab(LabCommand::Run(arguments)) => runtime.block_on(run::run(*arguments)),
        Command::Lab(LabCommand::Exec(arguments)) => runtime.block_on(arguments.run()),
        // Handled above, without namespaces of our own.
        Command::Lab(LabCommand::Close { .. }) | Command::Serve(_) | Command::Gate(_) | Command::Settings(_) => {
            Ok(ExitCode::SUCCESS)
        }
        Command::LabShell(shell) => runtime.block_on(shell.run()),
    }
}
