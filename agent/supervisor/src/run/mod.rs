//! A run in the lab, from options to report: the shell around [`tbi_bench::campaign`].
//!
//! | module | job |
//! |---|---|
//! | [`options`] | command line and plan |
//! | [`lab`] | network and programs, up and down |
//! | [`floor`] | one method per action of the campaign |
//! | [`drive`] | the loop |
//! | [`journal`] | what is kept on disk, when |
//! | [`assemble`] | the record |
//! | [`close`] | what a killed agent left |
//! | [`clock`], [`progress`], [`environment`] | what their names say |

mod assemble;
mod clock;
pub(crate) mod close;
mod drive;
mod environment;
mod floor;
mod journal;
pub(crate) mod lab;
pub(crate) mod options;
mod progress;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tbi_bench::campaign::{Outcome, Stop};
use tbi_bench::plan::Plan;
use tbi_bench::record::{RunRecord, Verdict};
use tbi_daemon::Shutdown;

use self::assemble::Facts;
use self::drive::{Driver, Harvest, Watch};
use self::journal::Journal;
use self::lab::{Authorities, Lab};
use self::options::RunArgs;

/// Time programs get to end by themselves.
const DRAIN: Duration = Duration::from_secs(5);
/// Columns of the closing table.
const WIDTH: usize = 100;

/// Runs a campaign in the lab, from inside the sandbox. The exit code is the verdict's.
pub(crate) async fn run(arguments: RunArgs) -> anyhow::Result<ExitCode> {
    let plan = arguments.resolve()?;
    let out = arguments.out.clone().unwrap_or_else(default_out);
    let stop = Shutdown::on_signals()?;
    let mut journal = Journal::open(&out, &serde_json::to_string_pretty(&plan)?, journal::room(&plan))?;
    close::abandoned(&out);
    let started = jiff::Timestamp::now();
    let measured = measure(&plan, &arguments.authorities, &mut journal, stop).await;
    let record = assemble::record(
        plan,
        measured.harvest,
        Facts {
            id: started.strftime("%Y%m%dT%H%M%SZ").to_string(),
            started: started.to_string(),
            ended: jiff::Timestamp::now().to_string(),
            adapter: measured.adapter,
            identity: measured.identity,
            environment: measured.environment,
        },
    );
    keep(journal, &record)?;
    link_latest(&out);
    conclude(&arguments, &record, &out);
    Ok(ExitCode::from(record.verdict.exit_code()))
}

/// What [`measure`] gives, whether or not the lab came up.
struct Measured {
    harvest: Harvest,
    adapter: &'static str,
    identity: Option<tbi_dut::DutIdentity>,
    environment: tbi_bench::record::Environment,
}

async fn measure(plan: &Plan, authorities: &Authorities, journal: &mut Journal, stop: Shutdown) -> Measured {
    // Before the lab is up, so that the load average is that of the machine and not ours.
    let environment = environment::environment(plan, "static routes in a namespace; no routing daemon");
    let logs = journal.dir().join("logs");
    let up = tokio::select! {
        up = Lab::up(plan, authorities, &logs) => up.map_err(|error| error.to_string()),
        () = stop.requested() => Err("Stopped by the operator before anything was measured.".to_owned()),
    };
    match up {
        Ok(Lab { mut floor, events, programs }) => {
            let adapter = floor.dut.name();
            let identity = floor.dut.identity().await.ok();
            let harvest = Driver::new(plan, &mut floor, journal).run(Watch { events, stop }).await;
            // A clean end is better, but the record matters more: what survives dies with the sandbox.
            if let Err(error) = programs.shut_down(DRAIN).await {
                tracing::warn!("{error}");
            }
            Measured { harvest, adapter, identity, environment }
        }
        Err(sentence) => Measured {
            harvest: Harvest::nothing(Outcome::Stopped(Stop::Interrupt(sentence))),
            adapter: "practice",
            identity: None,
            environment,
        },
    }
}

fn keep(journal: Journal, record: &RunRecord) -> anyhow::Result<()> {
    let json = tbi_report::json(record)?;
    let html = tbi_report::html(record);
    // A report that cannot be rendered must not take the record with it.
    journal.finish(&json, html.as_deref().ok())?;
    html?;
    Ok(())
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the result of the command")]
fn conclude(arguments: &RunArgs, record: &RunRecord, out: &Path) {
    if arguments.terse {
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
fn link_latest(out: &Path) {
    let (Some(parent), Some(name)) = (out.parent(), out.file_name()) else { return };
    if !parent.ends_with("tbi/runs") {
        return;
    }
    let link = parent.join("latest");
    // A convenience: a run is not worse for lacking it.
    let _gone = std::fs::remove_file(&link);
    let _linked = std::os::unix::fs::symlink(name, &link);
}

/// `target/tbi/runs/<time>`, so that no run overwrites another.
fn default_out() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("tbi/runs").join(jiff::Zoned::now().strftime("%Y-%m-%d-%H%M%S").to_string())
}
