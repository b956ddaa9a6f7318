//! What the operator asked for on the command line, and the plan it stands for.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use tbi_bench::plan::{Plan, PlanError, PlanFile, PlanFormat, Profile};

/// Measures what decryption costs, on this machine: a hundred personas, the practice DUT and the load engine in private network namespaces.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cargo tbi run                              six pairs, under three minutes, report under target/tbi/runs/
  cargo tbi run --quick --out /tmp/first     two pairs, half a minute; every cost is indicative
  cargo tbi run --plan plans/rsa.toml        your own plan; its thresholds decide the exit code
  cargo tbi run --again target/tbi/runs/latest/run.json
  cargo tbi run --quick --no-dashboard       measure, print, end: as in a pipe or a script

The dashboard:
  At a terminal the lab also has the dashboard of an appliance, on loopback. Its URL and the code that makes its first account are printed,
  the run is seen live there, more runs can be ordered there, and everything stays up until Ctrl-C. Where standard output is no terminal,
  and with --no-dashboard or --terse, the command measures, prints and ends; --dashboard serves it there, too.
  Accounts, audit chain and certificate are kept in target/tbi/lab, runs in target/tbi/runs; with --out in DIR/state and DIR/runs.

Exit codes (with the dashboard: of the first run, when everything is down):
  0  valid, and every threshold of the plan holds
  1  valid, but a threshold is broken
  2  nothing could be measured (the sentence says why), or the run was interrupted")]
pub(crate) struct RunArgs {
    /// The short way: two pairs, one object size.
    #[arg(long)]
    pub quick: bool,
    /// Plan file, TOML or JSON (by its extension; TOML otherwise).
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Run again what this record ran, from the plan inside it.
    #[arg(long, value_name = "RUN.JSON", conflicts_with_all = ["plan", "quick"])]
    pub again: Option<PathBuf>,
    /// Folder for run.json, report.html and logs; made when absent [default: target/tbi/runs/<time>].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Another seed than the plan's: other arrivals, another order of blocks.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Authorities from outside.
    #[command(flatten)]
    pub authorities: super::lab::Authorities,
    /// Measure although a pre-flight check fails, and say why in 10 to 500 characters; printed on the report's cover.
    #[arg(long, value_name = "REASON")]
    pub bypass_preflight: Option<String>,
    /// Print the path of run.json and nothing else on standard output; no dashboard.
    #[arg(long, conflicts_with = "dashboard")]
    pub terse: bool,
    /// Whether and where there is a dashboard.
    #[command(flatten)]
    pub dashboard: DashboardArgs,
    /// Folder of runs and of the dashboard's state when --out is not given [default: tbi below the target folder].
    #[arg(long, value_name = "DIR", hide = true)]
    pub base: Option<PathBuf>,
}

/// The dashboard of a lab.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DashboardArgs {
    /// Serve the dashboard although standard output is no terminal.
    #[arg(long)]
    pub dashboard: bool,
    /// Measure, print and end; what happens by itself where standard output is no terminal.
    #[arg(long, visible_alias = "exit", conflicts_with = "dashboard")]
    pub no_dashboard: bool,
    /// Where the dashboard listens [default: 127.0.0.1:8443, or another port when that one is taken].
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "no_dashboard")]
    pub listen: Option<SocketAddr>,
}

/// Where a lab with a dashboard keeps what stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// One folder for each run.
    pub runs: PathBuf,
    /// Accounts, audit chain, certificate.
    pub state: PathBuf,
}

/// The plan could not be had. Names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    /// The file could not be read.
    #[error("{} cannot be read: {source}; check the path.", .path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// It is not a plan this program takes.
    #[error("{}: {source}", .path.display())]
    Plan {
        /// File.
        path: PathBuf,
        /// What is wrong.
        source: PlanError,
    },
    /// It is not a run record.
    #[error("{} is not a run record: {why}; give the run.json of an earlier run.", .path.display())]
    Record {
        /// File.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl RunArgs {
    /// Whether there is a dashboard, when standard output is a terminal or is none.
    pub(crate) fn has_dashboard(&self, at_a_terminal: bool) -> bool {
        let asked = &self.dashboard;
        asked.dashboard || asked.listen.is_some() || (at_a_terminal && !asked.no_dashboard && !self.terse)
    }

    /// Folder of one run without a dashboard; by default one of its own, so that no run overwrites another.
    pub(crate) fn folder(&self, now: jiff::Timestamp) -> PathBuf {
        self.out.clone().unwrap_or_else(|| self.base().join("runs").join(super::id_of(now)))
    }

    /// Where a lab with a dashboard keeps what stays.
    pub(crate) fn places(&self) -> Places {
        match &self.out {
            Some(out) => Places { runs: out.join("runs"), state: out.join("state") },
            None => Places { runs: self.base().join("runs"), state: self.base().join("lab") },
        }
    }

    fn base(&self) -> PathBuf {
        self.base.clone().unwrap_or_else(|| {
            let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
            target.join("tbi")
        })
    }

    /// The complete plan.
    ///
    /// # Errors
    /// [`OptionsError`], always one sentence with the file's name.
    pub(crate) fn resolve(&self) -> Result<Plan, OptionsError> {
        let profile = if self.quick { Profile::Quick } else { Profile::Short };
        let mut plan = match (&self.plan, &self.again) {
            (Some(path), _) => {
                let format = match path.extension() {
                    Some(extension) if extension.eq_ignore_ascii_case("json") => PlanFormat::Json,
                    _ => PlanFormat::Toml,
                };
                checked(path, &read(path)?, format, profile)?
            }
            (None, Some(path)) => {
                #[derive(Deserialize)]
                struct OnlyPlan {
                    plan: serde_json::Value,
                }
                let record: OnlyPlan = serde_json::from_str(&read(path)?)
                    .map_err(|error| OptionsError::Record { path: path.clone(), why: error.to_string() })?;
                checked(path, &record.plan.to_string(), PlanFormat::Json, profile)?
            }
            (None, None) => Plan::of_profile(profile),
        };
        if let Some(seed) = self.seed {
            plan.seed = seed;
        }
        Ok(plan)
    }
}

fn read(path: &Path) -> Result<String, OptionsError> {
    fs::read_to_string(path).map_err(|source| OptionsError::Read { path: path.to_owned(), source })
}

fn checked(path: &Path, text: &str, format: PlanFormat, profile: Profile) -> Result<Plan, OptionsError> {
    PlanFile::parse(text, format)
        .and_then(|file| file.resolve(profile))
        .map_err(|source| OptionsError::Plan { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn args(plan: Option<PathBuf>, again: Option<PathBuf>) -> RunArgs {
        RunArgs {
            quick: false,
            plan,
            again,
            out: None,
            seed: None,
            authorities: Default::default(),
            bypass_preflight: None,
            terse: false,
            dashboard: DashboardArgs::default(),
            base: Some("/b".into()),
        }
    }

    #[test]
    fn a_dashboard_is_for_somebody_who_sits_there_unless_they_say_otherwise() {
        let quiet = args(None, None);
        assert!(quiet.has_dashboard(true) && !quiet.has_dashboard(false));
        let asked = DashboardArgs { dashboard: true, ..DashboardArgs::default() };
        assert!(RunArgs { dashboard: asked, ..args(None, None) }.has_dashboard(false));
        let declined = DashboardArgs { no_dashboard: true, ..DashboardArgs::default() };
        assert!(!RunArgs { dashboard: declined, ..args(None, None) }.has_dashboard(true));
        assert!(!RunArgs { terse: true, ..args(None, None) }.has_dashboard(true), "its one line is for a program");
    }

    #[test]
    fn everything_of_a_lab_is_below_the_folder_that_was_named() {
        let named = RunArgs { out: Some("/o".into()), ..args(None, None) };
        assert_eq!(named.folder(jiff::Timestamp::UNIX_EPOCH), Path::new("/o"));
        assert_eq!(named.places(), Places { runs: "/o/runs".into(), state: "/o/state".into() });
        let default = args(None, None);
        assert_eq!(default.folder(jiff::Timestamp::UNIX_EPOCH), Path::new("/b/runs/19700101T000000Z"));
        assert_eq!(default.places(), Places { runs: "/b/runs".into(), state: "/b/lab".into() });
    }

    #[test]
    fn a_record_can_be_run_again_from_its_plan_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.json");
        let plan = Plan { seed: 77, pairs: 9, ..Plan::of_profile(Profile::Quick) };
        fs::write(&path, serde_json::json!({ "plan": plan, "else": 1 }).to_string()).unwrap();
        assert_eq!(args(None, Some(path)).resolve().unwrap(), plan);
    }

    #[test]
    fn every_refusal_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let bad = dir.path().join("bad.toml");
        fs::write(&bad, "colour = 1").unwrap();
        for args in [
            args(Some(bad.clone()), None),
            args(None, Some(bad.clone())),
            args(Some(dir.path().join("bad.toml.missing")), None),
        ] {
            let error = args.resolve().unwrap_err().to_string();
            assert!(error.contains("bad.toml"), "{error}");
        }
    }
}
