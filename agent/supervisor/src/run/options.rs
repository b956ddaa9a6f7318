//! What the operator asked for on the command line, and the plan it stands for.

use std::fs;
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

Exit codes:
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
    /// Print the path of run.json and nothing else on standard output.
    #[arg(long)]
    pub terse: bool,
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
        }
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
