//! `cargo tbi bench image`: how large the appliance is, how long it takes to be ready and what its daemons hold in memory at rest, beside a
//! bare Debian image built by the same mkosi and booted the same way.
//!
//! Sizes are read from what was built; nothing of the appliance is built here. Times are taken from outside, on the serial line, in rounds
//! that alternate between the two images. One machine runs at a time.

mod machine;
mod memory;
mod page;
mod sizes;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::figures::{self, Section};
use super::table::median;
use super::{BAR_MISSED, machine as host, today};
use crate::command::{print, say};
use crate::image::bare::{self, Bare};
use crate::image::manifest::{Manifest, OutputKind};
use crate::image::tools::Tools;
use crate::image::{Places, Variant, cache};
use crate::packages;
use crate::workspace::Workspace;
use machine::{Setup, Took, Writes};
use memory::{AtRest, Daemon};
use page::Row;

/// On the serial line: the status screen of the appliance, when every part is well; the bare image's last unit.
const OUR_WORD: &str = " healthy";
const BARE_WORD: &str = "multi-user.target is reached";
/// After the first start: the health gate looks for some seconds more, then the version is marked good, and only then is the disk what later
/// starts find. The release variant cannot be asked.
const SETTLE: Duration = Duration::from_secs(25);
/// The bare image has no gate; what is still being written gets this long.
const BARE_SETTLE: Duration = Duration::from_secs(5);
/// Fewer rounds are for development; their figures are not written into the document.
const WORTH_WRITING: u32 = 3;

/// Size, start and memory of the appliance's image beside a bare Debian image.
#[derive(Args)]
#[command(
    after_help = "Needs both variants built: cargo tbi image build; cargo tbi image build --variant debug --only raw
The bare Debian image is built when needed (minutes, once). Writes target/tbi/bench-image.json and, with 3 rounds or more, the image's
section of docs/figures.md. Without KVM every start takes a minute or two. TBI_KVM=1 uses KVM where it is known to work.
Exit codes: 0 every bar met, 1 a bar missed, 2 something could not be measured.

Examples:
  cargo tbi bench image
  cargo tbi bench image --rounds 1"
)]
pub(super) struct Image {
    /// Starts of each image that are timed, after a first one.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds a start may take.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    within: u64,
    /// Measure nothing; write the section anew from the last record.
    #[arg(long, conflicts_with_all = ["rounds", "within"])]
    render: bool,
}

/// An image that is timed.
struct Contender {
    name: &'static str,
    raw: PathBuf,
    word: &'static str,
    settle: Duration,
}

/// One image's starts.
#[derive(Debug, Clone, PartialEq)]
struct Starts {
    first: Took,
    later: Vec<Took>,
}

/// The whole record, `target/tbi/bench-image.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// UTC, `YYYY-MM-DD`.
    date: String,
    machine: host::Machine,
    accel: String,
    rounds: u32,
    release: Built,
    debug: Built,
    kernel: String,
    sizes: Vec<Row>,
    starts: Vec<Row>,
    /// What did not go as the section says.
    #[serde(default)]
    notes: Vec<String>,
    memory: AtRest,
}

/// Which image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Built {
    version: String,
    commit: String,
}

impl Built {
    fn of(manifest: &Manifest) -> Self {
        let commit = manifest.commit.clone().unwrap_or_else(|| "unknown".to_owned());
        Self { version: manifest.version.clone(), commit }
    }
}

impl Image {
    /// Measures everything and writes it down.
    pub(super) fn run(&self) -> Result<ExitCode> {
        let workspace = Workspace::find()?;
        if self.render {
            return render(&workspace);
        }
        packages::ensure(&[packages::IMAGE])?;
        let (places, debug_places) =
            (Places::new(&workspace, Variant::Release), Places::new(&workspace, Variant::Debug));
        let (release, debug) = built(&places, &debug_places)?;
        warn(&release, &debug, &workspace);
        let tools = cache::tools(&workspace, &places)?;
        let kernel = sizes::kernel(&sizes::our_packages(&places)?)?;
        let bare = bare::ready(&workspace, &places, &tools, &kernel)?;
        let bare_kernel = sizes::kernel(&bare.packages()?)?;
        if bare_kernel != kernel {
            bail!(
                "the bare image has {bare_kernel}, the appliance {kernel}; build both from the same package lists: \
                 cargo tbi image build --force, and again for --variant debug"
            );
        }
        let busy = host::busy_share()?;
        if busy > host::QUIET {
            say(&format!(
                "warning: other programs keep the machine {:.0} % busy; times measured now are theirs as much as ours",
                busy * 100.0
            ));
        }
        let sizes = sizes::measure(&release, &places, &bare, &tools)?;
        let mut notes = Vec::new();
        let (ours, bares) = self.starts(&tools, &places, &release, &bare, &mut notes)?;
        let memory = self.memory(&tools, &places, &debug_places, &debug)?;
        let record = Record {
            version: 1,
            date: today()?,
            machine: host::describe(busy, Vec::new()),
            accel: machine::accel_name().to_owned(),
            rounds: self.rounds,
            release: Built::of(&release),
            debug: Built::of(&debug),
            kernel,
            sizes,
            starts: start_rows(&ours, &bares),
            notes,
            memory,
        };
        self.write(&record, &workspace)
    }

    fn write(&self, record: &Record, workspace: &Workspace) -> Result<ExitCode> {
        let file = record_file(workspace);
        fs::write(&file, serde_json::to_string_pretty(record)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        say(&format!("written to {}", file.display()));
        show(record, workspace)
    }

    /// A first start of each image, then alternating ones from the disks the first ones left.
    fn starts(
        &self,
        tools: &Tools,
        places: &Places,
        release: &Manifest,
        bare: &Bare,
        notes: &mut Vec<String>,
    ) -> Result<(Starts, Starts)> {
        let contenders = [
            Contender {
                name: "appliance",
                raw: output(release, OutputKind::Raw, places)?,
                word: OUR_WORD,
                settle: SETTLE,
            },
            Contender { name: "bare", raw: bare.raw(), word: BARE_WORD, settle: BARE_SETTLE },
        ];
        let mut setups = Vec::new();
        for Contender { name, raw, word, settle } in &contenders {
            let setup = Setup::new(tools, places.bench().join(name), raw, word)?;
            let (mut machine, took) = setup.start(Writes::Keep, self.within())?;
            tell(&format!("{name}, first start"), took);
            machine.run_on(*settle)?;
            if let Err(error) = machine.power_off() {
                let note = format!("After the first start of {name}, {error:#}, so later starts mend its file system.");
                say(&format!("warning: {note}"));
                notes.push(note);
            }
            setups.push((setup, Starts { first: took, later: Vec::new() }));
        }
        for round in 1..=self.rounds {
            for (Contender { name, .. }, (setup, starts)) in contenders.iter().zip(&mut setups) {
                let (_ended_here, took) = setup.start(Writes::Forget, self.within())?;
                tell(&format!("{name}, later start {round} of {}", self.rounds), took);
                starts.later.push(took);
            }
        }
        let mut starts = setups.into_iter().map(|(_, starts)| starts);
        starts.next().zip(starts.next()).context("two images were started")
    }

    fn memory(&self, tools: &Tools, places: &Places, debug_places: &Places, debug: &Manifest) -> Result<AtRest> {
        let raw = output(debug, OutputKind::Raw, debug_places)?;
        let setup = Setup::new(tools, places.bench().join("debug"), &raw, OUR_WORD)?;
        let (mut machine, took) = setup.start(Writes::Keep, self.within())?;
        tell("debug variant, first start; waiting until it is at rest", took);
        memory::at_rest(&mut machine, &setup.debug())
    }

    fn within(&self) -> Duration {
        Duration::from_secs(self.within)
    }
}

fn record_file(workspace: &Workspace) -> PathBuf {
    workspace.output().join("bench-image.json")
}

/// The last record once more.
fn render(workspace: &Workspace) -> Result<ExitCode> {
    let file = record_file(workspace);
    let json = fs::read(&file)
        .with_context(|| format!("cannot read {}; measure first: cargo tbi bench image", file.display()))?;
    let record = serde_json::from_slice(&json).with_context(|| format!("{} is not of this version", file.display()))?;
    show(&record, workspace)
}

/// On the screen, and in the document where it is worth it.
fn show(record: &Record, workspace: &Workspace) -> Result<ExitCode> {
    print(&page::text(record));
    if record.rounds >= WORTH_WRITING {
        figures::write(workspace, Section::Image, &page::section(record))?;
    }
    let verdicts = record.sizes.iter().map(|row| row.met).chain(record.memory.daemons.iter().map(Daemon::met));
    let missed = verdicts.flatten().any(|met| !met);
    Ok(if missed { ExitCode::from(BAR_MISSED) } else { ExitCode::SUCCESS })
}

/// Manifests of both variants; an error that says how to build what is missing.
fn built(release: &Places, debug: &Places) -> Result<(Manifest, Manifest)> {
    let whole = |places: &Places, kinds: &[OutputKind]| {
        let manifest = Manifest::read(&places.manifest())?;
        kinds.iter().all(|kind| manifest.still_there(*kind, &places.outputs()).is_some()).then_some(manifest)
    };
    let release = whole(release, &[OutputKind::Raw, OutputKind::RawZst, OutputKind::Qcow2, OutputKind::Uki]);
    let debug = whole(debug, &[OutputKind::Raw]);
    match (release, debug) {
        (Some(release), Some(debug)) => Ok((release, debug)),
        (release, debug) => {
            let mut commands = Vec::new();
            if release.is_none() {
                commands.push("cargo tbi image build");
            }
            if debug.is_none() {
                commands.push("cargo tbi image build --variant debug --only raw");
            }
            bail!("the image to measure is not built, or not whole; build it with: {}", commands.join(" && "))
        }
    }
}

/// Figures of an old image, or of two different ones, are no figures of this tree.
fn warn(release: &Manifest, debug: &Manifest, workspace: &Workspace) {
    let here = workspace.commit();
    if release.commit != debug.commit {
        say("warning: the two variants are of different commits; memory is the debug variant's");
    }
    if release.commit != here {
        let of = |commit: &Option<String>| commit.clone().unwrap_or_else(|| "no commit".to_owned());
        say(&format!("warning: the image is of {}, this tree is {}", of(&release.commit), of(&here)));
    }
}

fn output(manifest: &Manifest, kind: OutputKind, places: &Places) -> Result<PathBuf> {
    let output = manifest.output(kind).with_context(|| format!("the manifest lists no *{}", kind.ending()))?;
    Ok(places.outputs().join(&output.file))
}

fn tell(what: &str, took: Took) {
    say(&format!("{what}: ready after {:.1} s, {:.1} s of processor time", took.seconds, took.cpu_seconds));
}

fn start_rows(ours: &Starts, bare: &Starts) -> Vec<Row> {
    let seconds = |took: &Took| took.seconds;
    let cpu = |took: &Took| took.cpu_seconds;
    let row = |name: &str, figure: fn(&Took) -> f64| {
        let rounds = ours.later.iter().zip(&bare.later);
        let ratio = median(rounds.map(|(ours, bare)| figure(ours) / figure(bare)).collect());
        let column = |starts: &Starts| median(starts.later.iter().map(figure).collect());
        Row { ratio, ..Row::new(name, "s", column(ours), column(bare)) }
    };
    vec![
        row("ready, later start", seconds),
        row("processor time of QEMU until then", cpu),
        Row::new("ready, first start", "s", Some(ours.first.seconds), Some(bare.first.seconds)),
        Row::new(
            "processor time of QEMU until then, first start",
            "s",
            Some(ours.first.cpu_seconds),
            Some(bare.first.cpu_seconds),
        ),
    ]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn took(seconds: f64) -> Took {
        Took { seconds, cpu_seconds: seconds * 2.0 }
    }

    #[test]
    fn one_disturbed_start_does_not_decide() {
        let ours = Starts { first: took(90.0), later: vec![took(60.0), took(62.0), took(300.0)] };
        let bare = Starts { first: took(45.0), later: vec![took(30.0), took(31.0), took(30.0)] };
        let rows = start_rows(&ours, &bare);
        assert_eq!((rows[0].ours, rows[0].bare, rows[0].ratio), (Some(62.0), Some(30.0), Some(2.0)));
        assert_eq!((rows[2].ours, rows[2].ratio), (Some(90.0), Some(2.0)));
    }

    #[test]
    fn fault_nothing_is_built() {
        let home = tempfile::tempdir().unwrap();
        let places = |variant| Places::below(home.path(), variant);
        let error = built(&places(Variant::Release), &places(Variant::Debug)).unwrap_err().to_string();
        assert!(
            error.contains("build it with: cargo tbi image build && cargo tbi image build --variant debug"),
            "{error}"
        );
    }
}
