//! A run, from options or an order to the report: the shell around [`tbi_bench::campaign`]. Only [`lab`] and [`appliance`] know where.
//!
//! | module | job |
//! |---|---|
//! | [`options`] | command line and plan |
//! | [`admission`], [`authorize`] | pre-flight, then authorization, before anything is measured |
//! | [`place`] | what a run needs of where it runs |
//! | [`lab`] | that, in namespaces of this machine |
//! | [`appliance`] | that, from units of systemd |
//! | [`home`] | what a desk of runs needs of either |
//! | [`desk`] | runs that are ordered, watched, stopped, listed |
//! | [`floor`] | one method per action of the campaign |
//! | [`drive`] | the loop |
//! | [`journal`] | what is kept on disk, when |
//! | [`assemble`] | the record |
//! | [`close`] | what a killed agent left |
//! | [`clock`], [`progress`], [`environment`] | what their names say |

mod admission;
pub(crate) mod appliance;
#[cfg(test)]
mod appliance_tests;
mod assemble;
pub(crate) mod authorize;
pub(crate) mod clock;
pub(crate) mod close;
pub(crate) mod desk;
mod drive;
pub(crate) mod environment;
pub(crate) mod floor;
pub(crate) mod home;
pub(crate) mod journal;
pub(crate) mod lab;
pub(crate) mod options;
pub(crate) mod place;
mod progress;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tbi_api::access::{By, LOCAL};
use tbi_bench::campaign::{Outcome, Stop};
use tbi_bench::plan::Plan;
use tbi_bench::preflight::Bypass;
use tbi_bench::record::{Environment, RunRecord, Verdict};
use tbi_bench::topology::Topology;
use tbi_daemon::Shutdown;

use self::admission::{Admission, Applicant};
use self::assemble::Facts;
use self::authorize::Developer;
use self::clock::Clocks;
use self::drive::{Driver, Harvest, Watch};
use self::environment::Life;
use self::journal::{Journal, JournalError};
use self::lab::Lab;
use self::options::RunArgs;
use self::place::{PlaceError, Up};
use self::progress::Sink;
use crate::preflight::Absent;

/// Time programs get to end by themselves.
const DRAIN: Duration = Duration::from_secs(5);
/// The record could not be kept.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Report(#[from] tbi_report::ReportError),
}

/// Columns of the closing table.
const WIDTH: usize = 100;

/// Runs a campaign in the lab, from inside the sandbox. The exit code is the verdict's.
pub(crate) async fn run(arguments: RunArgs) -> anyhow::Result<ExitCode> {
    let plan = arguments.resolve()?;
    let actor = actor();
    let bypass = arguments.bypass_preflight.as_deref().map(|reason| Bypass::new(reason, actor.clone())).transpose()?;
    let out = arguments.folder(jiff::Timestamp::now());
    let stop = Shutdown::on_signals()?;
    let mut journal = Journal::open(&out, &serde_json::to_string_pretty(&plan)?, journal::room(&plan))?;
    close::abandoned(&out);
    let started = jiff::Timestamp::now();
    let logs = journal.dir().join("logs");
    let up = async {
        let Lab { up, programs } = Lab::up(&plan, &arguments.authorities, &logs).await?;
        Ok((up, programs))
    };
    let applicant = Applicant {
        id: id_of(started),
        by: By { actor, role: None, source: LOCAL.to_owned(), correlation_id: String::new() },
        bypass,
        topology: Topology::builtin(),
        authorizer: Arc::new(Developer),
        since: Clocks::now(),
    };
    let terms = Terms { stop, life: Life::lab(), sink: Sink::Lines, applicant };
    let (measured, programs) = measure(&plan, &mut journal, terms, up).await;
    // A clean end is better, but the record matters more: what survives dies with the sandbox.
    if let Some(programs) = programs
        && let Err(error) = programs.shut_down(DRAIN).await
    {
        tracing::warn!("{error}");
    }
    let record = record_of(plan, measured, id_of(started), started);
    keep(journal, &record)?;
    link_latest(&out);
    conclude(arguments.terse, &record, &out);
    Ok(ExitCode::from(record.verdict.exit_code()))
}

/// Who runs a lab, as far as a developer's machine knows.
pub(crate) fn actor() -> String {
    let name = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let plain = |name: &String| !name.is_empty() && name.len() <= 64 && name.chars().all(|c| c.is_ascii_graphic());
    name.filter(plain).unwrap_or_else(|| "local".to_owned())
}

/// `20260131T235959Z`.
pub(crate) fn id_of(started: jiff::Timestamp) -> String {
    started.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// What [`measure`] gives, whether or not the place came up.
struct Measured {
    harvest: Harvest,
    adapter: &'static str,
    identity: Option<tbi_dut::DutIdentity>,
    environment: Environment,
    admission: Admission,
}

impl Measured {
    /// Of a place that never came up.
    fn nothing(harvest: Harvest, environment: Environment, admission: Admission) -> Self {
        Self { harvest, adapter: "practice", identity: None, environment, admission }
    }
}

/// How a run is watched and ended.
struct Terms {
    stop: Shutdown,
    life: Life,
    sink: Sink,
    applicant: Applicant,
}

/// Waits for the place to come up, asks for permission, runs the campaign, and hands back what came up beside the floor.
async fn measure<P>(
    plan: &Plan,
    journal: &mut Journal,
    terms: Terms,
    up: impl Future<Output = Result<(Up, P), PlaceError>>,
) -> (Measured, Option<P>) {
    let Terms { stop, life, sink, applicant } = terms;
    let stopped = || "Stopped by the operator before anything was measured.".to_owned();
    // Before anything is up, so that the load average is that of the machine and not ours.
    let environment = environment::environment(plan, &life);
    let up = tokio::select! {
        up = up => up,
        () = stop.requested() => {
            let harvest = Harvest::nothing(Outcome::Stopped(Stop::Interrupt(stopped())));
            return (Measured::nothing(harvest, environment, Admission::default()), None);
        }
    };
    let (Up { mut floor, events }, rest) = match up {
        Ok(up) => up,
        Err(error) => {
            let absent = Absent { why: error.to_string(), no_adapter: matches!(error, PlaceError::NoAdapter) };
            let preflight = Some(applicant.check(plan, Err(&absent), journal).await);
            let harvest = Harvest::nothing(Outcome::Stopped(Stop::Interrupt(absent.why)));
            return (Measured::nothing(harvest, environment, Admission { preflight, authorization: None }), None);
        }
    };
    let (admission, admitted) = tokio::select! {
        // Cancelled only by a stop; it has switched the device at most, as every block does first.
        preflight = applicant.check(plan, Ok(&floor), journal) => {
            sink.say(&admission::line(&preflight));
            applicant.admit(plan, preflight, journal).await
        }
        () = stop.requested() => (Admission::default(), Err(stopped())),
    };
    let (adapter, identity) = (floor.dut.name(), floor.dut.identity().await.ok());
    let harvest = match admitted {
        Ok(()) => Driver::new(plan, &mut floor, journal, sink).run(Watch { events, stop, life }).await,
        Err(sentence) => Harvest::nothing(Outcome::Stopped(Stop::Interrupt(sentence))),
    };
    (Measured { harvest, adapter, identity, environment, admission }, Some(rest))
}

/// The record of what was measured since `started`.
fn record_of(plan: Plan, measured: Measured, id: String, started: jiff::Timestamp) -> RunRecord {
    assemble::record(
        plan,
        measured.harvest,
        Facts {
            id,
            started: started.to_string(),
            ended: jiff::Timestamp::now().to_string(),
            adapter: measured.adapter,
            identity: measured.identity,
            environment: measured.environment,
            admission: measured.admission,
        },
    )
}

fn keep(journal: Journal, record: &RunRecord) -> Result<(), KeepError> {
    let json = tbi_report::json(record)?;
    let html = tbi_report::html(record);
    // A report that cannot be rendered must not take the record with it.
    journal.finish(&json, html.as_deref().ok())?;
    html?;
    Ok(())
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the result of the command")]
pub(crate) fn conclude(terse: bool, record: &RunRecord, out: &Path) {
    if terse {
        println!("{}", out.join("run.json").display());
    } else {
        println!("{}", tbi_report::table(record, WIDTH, colour()));
        println!("report  {}", out.join("report.html").display());
        println!("record  {}", out.join("run.json").display());
    }
    if record.verdict == Verdict::NotMeasured
        && let Some(reason) = record.reasons.first()
    {
        eprintln!("error: {reason}");
    }
}

/// Colour on a terminal, unless the operator asked for none (no-color.org).
fn colour() -> tbi_report::Colour {
    use std::io::IsTerminal as _;
    let wanted = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted { tbi_report::Colour::Ansi } else { tbi_report::Colour::Plain }
}

/// Points `latest` beside the run's folder to it, when the folder is one of ours (`runs/<time>`).
pub(crate) fn link_latest(out: &Path) {
    let (Some(parent), Some(name)) = (out.parent(), out.file_name()) else { return };
    if !parent.ends_with("tbi/runs") {
        return;
    }
    let link = parent.join("latest");
    // A convenience: a run is not worse for lacking it.
    let _gone = std::fs::remove_file(&link);
    let _linked = std::os::unix::fs::symlink(name, &link);
}
