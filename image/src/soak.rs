//! `cargo tbi soak`: campaigns too long for every change, started by hand or at night.
//!
//! A campaign is a question `lab-probe` asks in a lab, or a fuzzer; both are also part of the tests, with shorter lengths.

mod door;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::command::{become_program, output_of, print, say, succeed};
use crate::packages;
use crate::run;
use crate::workspace::{Profile, Workspace};

/// The fuzz targets, a workspace of its own.
const FUZZ_HOME: &str = "tests/fuzz";

/// Run a long campaign.
#[derive(Args)]
#[command(after_help = "Examples:
  cargo tbi soak --list
  cargo tbi soak interception --connections 100000
  cargo tbi soak door
  cargo tbi soak fuzz --minutes 60")]
pub(crate) struct Soak {
    /// Which campaign.
    #[arg(required_unless_present = "list")]
    campaign: Option<Campaign>,
    /// Say what the campaigns are, and run nothing.
    #[arg(long)]
    list: bool,
    /// Connections for each behaviour of the practice DUT (interception).
    #[arg(long, default_value_t = 100_000)]
    connections: u64,
    /// Minutes for each fuzz target (fuzz), or of steady load (door).
    // To libFuzzer 0 means for ever.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: u64,
    /// Directory with the programs to load, built already; nothing is built then (door).
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Campaign {
    Interception,
    Door,
    Fuzz,
}

impl Campaign {
    const ALL: [Campaign; 3] = [Campaign::Interception, Campaign::Door, Campaign::Fuzz];

    fn line(self) -> &'static str {
        match self {
            Campaign::Interception => {
                "interception  every behaviour of the practice DUT, --connections each: not one connection misclassified\n"
            }
            Campaign::Door => {
                "door          steady load through the front door, --minutes: every request answered, its memory stable\n"
            }
            Campaign::Fuzz => {
                "fuzz          every parser of ours, --minutes each (needs the nightly toolchain and cargo-fuzz)\n"
            }
        }
    }
}

impl Soak {
    /// Ends with the campaign's own exit code.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.campaign {
            Some(campaign) if !self.list => {
                let workspace = Workspace::find()?;
                match campaign {
                    Campaign::Interception => interception(&workspace, self.connections),
                    Campaign::Door => door::run(&workspace, self.minutes, self.programs.as_deref()),
                    Campaign::Fuzz => fuzz(&workspace, self.minutes),
                }
            }
            _ => {
                print(&Campaign::ALL.map(Campaign::line).concat());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn interception(workspace: &Workspace, connections: u64) -> Result<ExitCode> {
    packages::ensure(&[packages::BUILD, packages::LAB])?;
    run::build(workspace)?;
    succeed(workspace.cargo().args([
        "build",
        "--release",
        "--locked",
        "--package",
        "tbi-tests",
        "--bin",
        "lab-probe",
    ]))?;
    let mut lab = Command::new(workspace.program(Profile::Release, "tbi-agent")?);
    lab.args(["lab", "exec", "--"]).arg(workspace.program(Profile::Release, "lab-probe")?);
    lab.args(["interception", "--connections", &connections.to_string()]);
    become_program(&mut lab)
}

fn fuzz(workspace: &Workspace, minutes: u64) -> Result<ExitCode> {
    let cargo_fuzz = |arguments: &[&str]| {
        // Through rustup's cargo: `+nightly` is its word, and our own cargo is already the pinned one.
        let mut command = Command::new("cargo");
        command.args(["+nightly", "fuzz"]).args(arguments).current_dir(workspace.root());
        // Set by the cargo that runs us, they would pin the toolchain and the target directory of the other workspace.
        command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("CARGO_TARGET_DIR");
        command
    };
    let Ok(targets) = output_of(&mut cargo_fuzz(&["list", "--fuzz-dir", FUZZ_HOME])) else {
        bail!(
            "fuzzing needs a nightly toolchain and cargo-fuzz; type: rustup toolchain install nightly && cargo install cargo-fuzz"
        );
    };
    let seconds = format!("-max_total_time={}", minutes.saturating_mul(60));
    for target in targets.lines() {
        say(&format!("fuzzing {target} for {minutes} min"));
        // libFuzzer adds what it finds to the first directory; the committed corpus stays as it is.
        let found = workspace.output().join("fuzz").join(target);
        fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
        let (found, corpus) = (found.to_string_lossy().into_owned(), format!("{FUZZ_HOME}/corpus/{target}"));
        succeed(&mut cargo_fuzz(&["run", "--fuzz-dir", FUZZ_HOME, target, &found, &corpus, "--", &seconds]))?;
    }
    Ok(ExitCode::SUCCESS)
}
