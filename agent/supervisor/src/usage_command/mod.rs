//! `tbi-agent usage report`: carries pending ticks from the agent to the configured endpoint. The agent's unit has no IP network, so this
//! short program of another user does it: it asks the agent's socket, posts by HTTPS, and tells the agent what the endpoint has.
//!
//! It keeps nothing. A tick is forgotten by the agent only after the endpoint has said that it has it, and the endpoint takes each number of
//! a box once; so this program, the agent and the endpoint may each die at any point: what was not acknowledged is sent again.

mod check;
mod post;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use tbi_api::settings::Snapshot;
use tbi_api::usage::{Accepted, LOST, Report, Usage};
use tbi_daemon::{ClientError, UnixClient};

use self::check::Contradiction;
use self::post::{PostError, Poster};
use crate::appliance::settings::usage::{UsageEndpoint, UsageError};

/// Exit code when the endpoint answered and did not take the report.
const REFUSED: u8 = 1;
/// Exit code when the endpoint or the agent could not be asked.
const UNREACHABLE: u8 = 2;
/// How long the agent may take for an answer: it reads a spool of 64 MB at most.
const AGENT: Duration = Duration::from_secs(30);
/// How long name look-ups that were given up may still hold the end of the program.
const LEAVE: Duration = Duration::from_millis(100);

/// The usage report.
#[derive(Debug, Subcommand)]
pub(crate) enum UsageCommand {
    /// Reports finished work to the endpoint of the settings (`usage.url`). Exit code 0: done, nothing to do, or no endpoint configured;
    /// 1: the endpoint refused; 2: the endpoint or the agent could not be reached. What was not taken is reported the next time.
    ///
    /// Example: tbi-agent usage report --json
    Report(ReportArgs),
}

/// See [`UsageCommand::Report`].
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Socket of the agent
    #[arg(long, value_name = "SOCKET", default_value = tbi_api::AGENT_SOCKET)]
    agent: PathBuf,
    /// Ticks in one report
    #[arg(long, value_name = "TICKS", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=1000))]
    batch: u16,
    /// Reports to send at most; the next run goes on where this one stopped
    #[arg(long, value_name = "REPORTS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    batches: u32,
    /// Seconds that the endpoint may take for one report, connecting included
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// How it ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// There is no endpoint.
    NotConfigured,
    /// The endpoint has everything already.
    NothingToDo,
    /// It has everything now.
    Done,
    /// Enough for once; more is pending.
    MoreIsPending,
}

/// Why it ended before.
#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error(transparent)]
    Agent(#[from] ClientError),
    #[error("the settings name no usable endpoint: {0}")]
    Settings(#[from] UsageError),
    #[error(transparent)]
    Post(#[from] PostError),
    #[error("{authority} contradicts itself: {source}")]
    Contradiction { authority: String, source: Contradiction },
}

/// What was carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Carried {
    ticks: u64,
    reports: u32,
    through: u64,
}

impl UsageCommand {
    /// # Errors
    /// When there is no runtime.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Report(report) => report.run(),
        }
    }
}

impl ReportArgs {
    fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut carried = Carried::default();
        let ended = runtime.block_on(self.report(&mut carried));
        // A look-up of a name cannot be cut off; it must not hold the end.
        runtime.shutdown_timeout(LEAVE);
        let (outcome, sentence, code) = match &ended {
            Ok(end) => (end.name(), end.sentence(&carried), ExitCode::SUCCESS),
            Err(error) if error.is_refusal() => ("refused", format!("{error}."), ExitCode::from(REFUSED)),
            Err(error) => ("unreachable", format!("{error}."), ExitCode::from(UNREACHABLE)),
        };
        if self.json {
            let Carried { ticks, reports, through } = carried;
            line(
                std::io::stdout(),
                json!({ "outcome": outcome, "ticks": ticks, "reports": reports, "through": through, "sentence": sentence }),
            );
        } else if ended.is_ok() {
            line(std::io::stdout(), sentence);
        } else {
            line(std::io::stderr(), format_args!("error: {sentence}"));
        }
        Ok(code)
    }

    async fn report(&self, carried: &mut Carried) -> Result<End, ReportError> {
        let agent = UnixClient::new(&self.agent).with_timeout(AGENT);
        let snapshot: Snapshot = agent.get_json("/v1/settings").await?;
        let Some(endpoint) = UsageEndpoint::parse(&snapshot.settings.usage)? else { return Ok(End::NotConfigured) };
        let poster = Poster::new(&endpoint, Duration::from_secs(self.timeout))?;
        let standing: Usage = agent.get_json("/v1/usage").await?;
        if !standing.sentence.is_empty() {
            progress(format_args!("The meter: {}.", standing.sentence));
        }
        carried.through = standing.acknowledged;
        while carried.reports < self.batches {
            let report: Report = agent.get_json(&format!("/v1/usage/pending?limit={}", self.batch)).await?;
            let Some(last) = report.ticks.last() else {
                return Ok(if carried.reports == 0 { End::NothingToDo } else { End::Done });
            };
            progress(format_args!("Reporting {} ticks, the last is {}.", report.ticks.len(), last.client_seq));
            let lost = report.ticks.iter().filter(|tick| tick.kind == LOST).count();
            if lost > 0 {
                progress(format_args!("{lost} of them were damaged on this box and are reported as lost."));
            }
            let accepted = poster.post(&report).await?;
            let through = check::through(carried.through, &report.ticks, accepted)
                .map_err(|source| ReportError::Contradiction { authority: endpoint.authority(), source })?;
            let noted: Usage = agent.post_json("/v1/usage/acknowledgement", &Accepted { through }).await?;
            carried.ticks += report.ticks.iter().filter(|tick| tick.client_seq <= through).count() as u64;
            carried.reports += 1;
            carried.through = through.max(noted.acknowledged);
            progress(format_args!("The endpoint has everything through {through} of {}.", noted.last));
        }
        Ok(End::MoreIsPending)
    }
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::NotConfigured => "not-configured",
            Self::NothingToDo => "nothing-to-do",
            Self::Done => "done",
            Self::MoreIsPending => "more-is-pending",
        }
    }

    fn sentence(self, carried: &Carried) -> String {
        let Carried { ticks, reports, through } = carried;
        match self {
            Self::NotConfigured => {
                "No endpoint is configured; ticks are kept on this box. Set usage.url and usage.ca_pem to report them."
                    .to_owned()
            }
            Self::NothingToDo => format!("Nothing to report; the endpoint has everything through {through}."),
            Self::Done => format!("Reported {ticks} ticks in {reports} reports; the endpoint has everything."),
            Self::MoreIsPending => {
                format!("Reported {ticks} ticks in {reports} reports, as many as one run sends; the next run goes on.")
            }
        }
    }
}

impl ReportError {
    /// The endpoint answered, and did not take it.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Post(error) => error.is_refusal(),
            Self::Contradiction { .. } => true,
            Self::Agent(_) | Self::Settings(_) => false,
        }
    }
}

/// Progress is for a person or the journal; standard output belongs to the result.
fn progress(said: fmt::Arguments<'_>) {
    line(std::io::stderr(), said);
}

/// Whoever read may have gone, and the report goes on: `println!` would panic.
fn line(mut to: impl std::io::Write, said: impl fmt::Display) {
    let _unheard = writeln!(to, "{said}");
}
