//! `cargo tbi run`: prepare the machine, build in release, become the agent.
//!
//! Every option belongs to the agent (`tbi-agent lab run`), which owns the plan; this file only adds a place for the results when none
//! is given. That includes whether the lab has a dashboard.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::command::{become_program, print, say, succeed};
use crate::packages;
use crate::workspace::{DAEMONS, Profile, Workspace};

/// Shown while the agent, which owns the options, is not built yet.
const HELP_BEFORE_FIRST_BUILD: &str = "\
Build everything and measure, on this machine alone: agents, a decrypting practice firewall and a hundred web servers.

At a terminal the lab's dashboard is served as well: the command prints its URL and a one-time code, and stays up until Ctrl-C.

Usage: cargo tbi run [OPTIONS]

Options (the agent, once built by a first run, lists all of them here):
  --quick            the short, labelled profile
  --plan FILE        a plan of your own, TOML or JSON
  --again RUN.JSON   the run that this record describes, once more
  --out DIR          where run.json and report.html go [default: target/tbi/runs/<time>]
  --no-dashboard     measure, print and end, also at a terminal

Exit codes: 0 passed, 1 a threshold of the plan was broken, 2 could not measure.

Examples:
  cargo tbi run --quick
  cargo tbi run --plan my-plan.toml --out results
";

/// Measure the cost of decryption on this machine (options: see `cargo tbi run --help`).
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Run {
    /// Handed to `tbi-agent lab run` as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

impl Run {
    /// Returns only when something is missing; otherwise the agent takes over.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let workspace = Workspace::find()?;
        if wants_help(&self.options) && workspace.program(Profile::Release, "tbi-agent").is_err() {
            print(HELP_BEFORE_FIRST_BUILD);
            return Ok(ExitCode::SUCCESS);
        }
        if !wants_help(&self.options) {
            packages::ensure(&[packages::BUILD, packages::LAB])?;
            build(&workspace)?;
        }
        let mut agent = std::process::Command::new(workspace.program(Profile::Release, "tbi-agent")?);
        agent.args(["lab", "run"]).args(&self.options);
        if needs_place(&self.options) {
            agent.arg("--base").arg(workspace.output());
        }
        become_program(&mut agent)
    }
}

/// Builds the programs of a run in release. cargo shows its progress.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    say("building the measuring programs in release (minutes the first time, seconds later)");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--locked"]);
    if let Some(commit) = workspace.commit() {
        // The agent writes it into every record, so that "same build" can be checked.
        cargo.env("TBI_COMMIT", commit);
    }
    for daemon in DAEMONS {
        cargo.args(["--package", daemon]);
    }
    succeed(&mut cargo)
}

fn wants_help(options: &[OsString]) -> bool {
    options.iter().any(|option| option == "--help" || option == "-h")
}

fn needs_place(options: &[OsString]) -> bool {
    !wants_help(options)
        && !options.iter().any(|option| option == "--out" || option.as_encoded_bytes().starts_with(b"--out="))
}

/// Gregorian date from days since 1970-01-01, by counting eras of 400 years that start on 1 March.
pub(crate) fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // days from 0000-03-01 to 1970-01-01
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn a_place_is_chosen_only_when_none_is_given() {
        assert!(needs_place(&options("--quick")));
        assert!(needs_place(&options("")));
        assert!(!needs_place(&options("--out x")));
        assert!(!needs_place(&options("--quick --out=x")));
        assert!(!needs_place(&options("--help")));
    }

    #[test]
    fn days_are_dates() {
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(civil_from_days(951_782_399 / 86_400), (2000, 2, 28));
        assert_eq!(civil_from_days(951_782_400 / 86_400), (2000, 2, 29));
        assert_eq!(civil_from_days(1_798_761_599 / 86_400), (2026, 12, 31));
        assert_eq!(civil_from_days(1_798_761_600 / 86_400), (2027, 1, 1));
    }
}
