//! `tbi-console`: the status screen on a serial line or a monitor, for whoever stands in front of the box. It shows and takes no orders.
//!
//! Once a second it asks the agent, makes the rows ([`frame`]), finds what differs ([`paint`]) and writes that in one piece ([`terminal`]).
//! It never exits by itself: neither a silent agent nor a lost terminal ends it.

mod ask;
mod frame;
mod paint;
mod screen;
mod terminal;
mod text;
mod watch;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use tbi_api::client::AgentClient;

use crate::ask::Asker;
use crate::frame::{Size, frame};
use crate::paint::{Speech, page};
use crate::screen::Screen;
use crate::terminal::Terminal;
use crate::watch::Watch;

/// Longer than an answer takes on a busy box, short enough that a person sees the screen live.
const ANSWER: Duration = Duration::from_secs(3);
/// Exit code of `--once` when the agent did not answer.
const SILENT: u8 = 2;

/// The status screen of TLSStress.Art TBI.
#[derive(Debug, Parser)]
#[command(name = "tbi-console", version)]
struct Cli {
    /// Socket of the agent
    #[arg(long, value_name = "PATH", default_value = tbi_api::AGENT_SOCKET)]
    socket: PathBuf,
    /// Terminal to draw on; without it, the one that is standard input
    #[arg(long, value_name = "PATH")]
    device: Option<PathBuf>,
    /// Print the screen once as plain lines and end; exit code 2 when the agent does not answer
    #[arg(long)]
    once: bool,
    /// Columns; terminals on serial lines do not tell theirs
    #[arg(long, value_name = "COLUMNS", default_value_t = 80, value_parser = clap::value_parser!(u16).range(40..=240))]
    width: u16,
    /// Rows
    #[arg(long, value_name = "ROWS", default_value_t = 24, value_parser = clap::value_parser!(u16).range(24..=100))]
    height: u16,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    tbi_daemon::init_tracing("tbi-console", "warn");
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(cli))
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let agent = AgentClient::new(&cli.socket).with_timeout(ANSWER);
    let size = Size { width: usize::from(cli.width), height: usize::from(cli.height) };
    if cli.once {
        return once(&agent, size).await;
    }
    let device = match cli.device {
        Some(device) => device,
        None => own_terminal().context("standard input is no terminal; name one with --device, or use --once")?,
    };
    let speech = Speech::of(std::env::var("TERM").ok().as_deref());
    Screen::new(Terminal::new(device), speech, size, Watch::new(Instant::now())).show(&agent).await?;
    Ok(ExitCode::SUCCESS)
}

async fn once(agent: &AgentClient, size: Size) -> Result<ExitCode> {
    use std::io::Write as _;

    let answer = Asker::new(agent.clone()).ask().await;
    let code = if answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(SILENT) };
    let view = Watch::new(Instant::now()).heard(answer, Instant::now());
    std::io::stdout().write_all(&page(&frame(&view, size), "\n")).context("cannot write to standard output")?;
    Ok(code)
}

/// Path of the terminal that is our standard input.
fn own_terminal() -> Result<PathBuf> {
    let stdin = std::io::stdin();
    anyhow::ensure!(stdin.is_terminal(), "not a terminal");
    Ok(nix::unistd::ttyname(stdin)?)
}
