//! `cargo tbi bench door`: what the front door costs beside nginx, what it adds to answer times, how many connections it holds, and the
//! scenarios that people and programs bring.
//!
//! The load is made by wrk and h2load, which nobody here wrote. Answer times are those of fixed rates. What is "added" is a percentile
//! through the door less the same percentile of the same requests at the same rate directly at the daemon's socket.

mod costs;
mod first_page;
pub(crate) mod load;
mod page;
mod scenarios;
pub(crate) mod stand;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::table::{Record, Row};
use super::{BAR_MISSED, figures, machine, servers, table, today};
use crate::command::{print, say, succeed};
use crate::packages;
use crate::workspace::{Profile, Workspace};
use stand::Stand;

/// Fewer rounds are for development; their figures are not written into the document.
const WORTH_WRITING: u32 = 3;

/// Requests per second per core beside nginx, added latency, 10,000 connections, and the front door's scenarios.
#[derive(Args)]
#[command(
    after_help = "Writes target/tbi/bench-door.json and, with 3 rounds or more and without --only and --programs, the front door's section of
docs/figures.md. Takes some minutes.
Exit codes: 0 every bar met, 1 a bar missed, 2 something could not be measured.

Examples:
  cargo tbi bench door
  cargo tbi bench door --only connections --rounds 1"
)]
pub(super) struct Door {
    /// Only measurements whose name contains this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds of each comparison.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Directory with the programs to measure, built already; nothing is built then.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// Where and how long things are measured.
struct Stage {
    stand: Stand,
    time: Duration,
    rounds: u32,
}

/// One measurement; it may give several rows.
struct Measurement {
    name: &'static str,
    measure: fn(&mut Stage) -> Result<Vec<Row>>,
}

impl Door {
    /// Measures everything asked for and writes it down.
    pub(super) fn run(&self) -> Result<ExitCode> {
        if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
            bail!("bench needs two cores, one for the door and one for those who ask");
        }
        packages::ensure(&[packages::BUILD, packages::PEERS, packages::DOOR])?;
        let workspace = Workspace::find()?;
        let programs = match &self.programs {
            Some(directory) => directory.clone(),
            None => build(&workspace)?,
        };
        let busy_before = machine::busy_share()?;
        if busy_before > machine::QUIET {
            let busy = busy_before * 100.0;
            say(&format!(
                "warning: other programs keep the machine {busy:.0} % busy; what is measured now is theirs as much as ours"
            ));
        }
        let rows = self.measure(&programs)?;
        let record = Record {
            version: 1,
            date: today()?,
            seconds_each: self.seconds as f64,
            rounds: self.rounds,
            machine: machine::describe(busy_before, servers::peer_versions()),
            rows,
        };
        print(&table::text(&record.rows));
        fs::create_dir_all(workspace.output())?;
        let file = workspace.output().join("bench-door.json");
        fs::write(&file, serde_json::to_string_pretty(&record)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        say(&format!("written to {}", file.display()));
        let failed = record.rows.iter().any(|row| row.ours.is_none());
        if self.only.is_none() && self.programs.is_none() && self.rounds >= WORTH_WRITING && !failed {
            figures::write(&workspace, figures::Section::Door, &page::page(&record))?;
        }
        Ok(if failed {
            ExitCode::from(crate::COULD_NOT)
        } else if record.rows.iter().any(|row| row.met == Some(false)) {
            ExitCode::from(BAR_MISSED)
        } else {
            ExitCode::SUCCESS
        })
    }

    fn measure(&self, programs: &Path) -> Result<Vec<Row>> {
        let wanted = |it: &&Measurement| self.only.as_ref().is_none_or(|only| it.name.contains(only));
        let all: Vec<_> = costs::ALL.iter().chain(&scenarios::ALL).chain(&first_page::ALL).filter(wanted).collect();
        if all.is_empty() {
            bail!("no measurement is called like '{}'", self.only.as_deref().unwrap_or_default());
        }
        let stand = Stand::start(programs)?;
        let mut stage = Stage { stand, time: Duration::from_secs(self.seconds), rounds: self.rounds };
        let mut rows = Vec::new();
        for measurement in all {
            say(measurement.name);
            // A door that ended has no further figures; that is said once for each of them.
            let measured = stage.stand.check().and_then(|()| (measurement.measure)(&mut stage));
            // What was not measured meets none of its bars.
            let missing = |error: anyhow::Error| Row {
                met: Some(false),
                ..Row::missing(measurement.name, "-", None, None, format!("{error:#}"))
            };
            rows.extend(measured.unwrap_or_else(|error| vec![missing(error)]));
        }
        Ok(rows)
    }
}

/// Builds everything the stand starts; the directory it is in.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    say("building the front door in release (minutes the first time, seconds later)");
    let release = ["build", "--release", "--locked"];
    succeed(workspace.cargo().args(release).args(["--package", "tbi-agent", "--package", "tbi-dashboard"]))?;
    succeed(workspace.cargo().args(release).args(["--package", "tbi-tests", "--bin", "door-daemon"]))?;
    Ok(workspace.programs(Profile::Release))
}
