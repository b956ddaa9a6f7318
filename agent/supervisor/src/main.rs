//! `tbi-agent`: the agent. In the lab it is the supervisor of one run (`lab run`) or of a lab to look around in (`lab exec`); on an
//! appliance it is the daemon (`serve`), the health gate (`gate`), the two short programs that need root (`network`, `settings`) and the
//! one that needs the network (`usage`).
#![expect(clippy::print_stderr, reason = "errors of a command-line program")]

mod appliance;
mod audit_command;
mod backup_command;
mod bench;
mod front;
mod gate;
mod lab_bench;
mod lab_dashboard;
mod lab_exec;
mod network;
mod network_command;
mod preflight;
mod process;
mod run;
mod sandbox;
mod serve;
mod settings_command;
mod shell;
mod systemd;
mod usage_command;

use std::io::IsTerminal as _;
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
    Audit(audit_command::AuditCommand),
    #[command(subcommand)]
    Backup(backup_command::BackupCommand),
    #[command(subcommand)]
    Settings(settings_command::SettingsCommand),
    #[command(subcommand)]
    Usage(usage_command::UsageCommand),
    /// The bench in private namespaces of this machine.
    #[command(subcommand)]
    Lab(LabCommand),
    /// The bench's network on the appliance.
    #[command(subcommand)]
    Network(network_command::NetworkCommand),
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
    match command {
        Command::Serve(serve) => serve.run(),
        Command::Gate(gate) => gate.run(),
        Command::Audit(audit) => audit.run(),
        Command::Backup(backup) => backup.run(),
        Command::Settings(settings) => settings.run(),
        Command::Usage(usage) => usage.run(),
        Command::Network(network) => network.run(),
        Command::Lab(LabCommand::Close { dir }) => {
            let record = run::close::close(&dir, &run::environment::Life::lab())?;
            eprintln!("closed: {}", record.reasons.first().map_or("", String::as_str));
            Ok(ExitCode::SUCCESS)
        }
        Command::Lab(LabCommand::Run(arguments)) if arguments.has_dashboard(std::io::stdout().is_terminal()) => {
            // A port of this machine belongs to its network for ever, so it also serves what is inside.
            let front = match sandbox::is_outside() {
                true => Some(front::Front::bind(arguments.dashboard.listen)?),
                false => None,
            };
            in_the_sandbox(front, lab_dashboard::run(*arguments))
        }
        Command::Lab(LabCommand::Run(arguments)) => in_the_sandbox(None, run::run(*arguments)),
        Command::Lab(LabCommand::Exec(arguments)) => in_the_sandbox(None, arguments.run()),
        Command::LabShell(shell) => in_the_sandbox(None, shell.run()),
    }
}

/// Does the work inside private namespaces. They are made before the first thread: the kernel gives user namespaces to single-threaded
/// processes only.
fn in_the_sandbox(
    front: Option<front::Front>,
    work: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    if let sandbox::Entered::Ended(code) = sandbox::enter(front)? {
        return Ok(code);
    }
    tbi_daemon::init_tracing("tbi-agent", "warn");
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
