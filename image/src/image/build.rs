//! `cargo tbi image build`: programs, package sources, tools tree, mkosi, outputs, gates, manifest; each step said with its time.
//!
//! The same inputs are not built twice. mkosi gets places, keys, version and times from here and everything else from `mkosi/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::command::{output_of, print, say};
use crate::image::cache::{Cache, Mkosi, machine_sources};
use crate::image::disk::{Disk, Kind, erofs_bytes};
use crate::image::gates::{self, Fill};
use crate::image::inputs::Inputs;
use crate::image::keys::{Keys, keys};
use crate::image::manifest::{Manifest, Output, OutputKind};
use crate::image::outputs::{Maker, crates, keep_lists, rfc3339};
use crate::image::places::made_in;
use crate::image::spdx::{self, Bill, Crate};
use crate::image::steps::Steps;
use crate::image::tools::Tools;
use crate::image::{Places, Variant, compare, files, sources, stage};
use crate::packages;
use crate::workspace::{Profile, Workspace};

/// Build the image.
#[derive(Args, Clone)]
#[command(
    after_help = "Writes to target/tbi/image/ (debug variant: target/tbi/image/debug/); manifest.json there lists every file.
Downloads, tools and packages are kept in $TBI_CACHE, else /var/cache/tlsstress (root) or ~/.cache/tlsstress.

Examples:
  cargo tbi image build
  cargo tbi image build --variant debug --only raw
  cargo tbi image build --key release.key --certificate release.crt --version 1.2.0"
)]
pub(crate) struct Build {
    /// Which appliance.
    #[arg(long, value_enum, default_value_t = Variant::Release)]
    pub(crate) variant: Variant,
    /// Debian mirror to take packages from [default: the one this machine's apt uses].
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// Private key that signs kernel image, loader and root hash, PEM [default: a development key].
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,
    /// Its certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) certificate: Option<PathBuf>,
    /// Build even when nothing changed, with new package lists and nothing from mkosi's cache.
    #[arg(long)]
    pub(crate) force: bool,
    /// Version of the appliance [default: the workspace's].
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"), value_parser = version)]
    pub(crate) version: String,
    /// Finish even when a gate (root <= 70 % of its slot, kernel image <= 30 % of the ESP, download <= 300 MB) is broken.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Leave out what tests do not need (debug variant only).
    #[arg(long, value_enum)]
    pub(crate) only: Option<Only>,
    /// Directory with our programs, built already; nothing is compiled then [default: they are built in release].
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,
    /// Build a second time from scratch and compare.
    #[arg(long)]
    pub(crate) twice: bool,
}

/// What is made when not everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Only {
    /// Disk image and kernel image.
    Raw,
}

impl Build {
    /// What whole-system tests need, of programs that are built already.
    pub(crate) fn for_tests(programs: PathBuf) -> Self {
        Self {
            variant: Variant::Debug,
            mirror: None,
            key: None,
            certificate: None,
            force: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            keep_going: false,
            only: Some(Only::Raw),
            programs: Some(programs),
            twice: false,
        }
    }

    /// Builds and says what came out.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let workspace = Workspace::find()?;
        self.build(&workspace)
    }

    /// The same in a workspace that is known.
    pub(crate) fn build(&self, workspace: &Workspace) -> Result<ExitCode> {
        if self.only.is_some() && self.variant == Variant::Release {
            bail!("--only is for tests: it needs --variant debug; a release is always built whole");
        }
        packages::ensure(&[packages::BUILD, packages::IMAGE])?;
        may_build()?;
        let places = Places::new(workspace, self.variant);
        let mut steps = Steps::new(places.logs())?;
        if self.programs.is_none() {
            steps.step("our programs in release", || stage::build_programs(workspace))?;
        }
        let job = self.prepare(workspace, places, &mut steps)?;
        let manifest = job.manifest(&mut steps)?;
        report(&manifest, &job.places, &steps);
        if self.twice {
            return job.again(&mut steps);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Everything mkosi needs, and the hash of it.
    fn prepare<'a>(&'a self, workspace: &'a Workspace, places: Places, steps: &mut Steps) -> Result<Job<'a>> {
        let cache = Cache::open()?;
        let mirrors = sources::mirrors(&machine_sources(), self.mirror.as_deref())?;
        if mirrors.security.is_none() {
            say("warning: no security archive is known; the image gets no security updates (see --mirror)");
        }
        let (mkosi, tools) = cache.ready(workspace, &mirrors, &places.sandbox(), steps)?;
        let keys = keys(self.key.as_deref().zip(self.certificate.as_deref()), &places.keys(), &tools)?;
        let (commit, epoch, crates) = (workspace.commit(), epoch(workspace)?, crates(workspace)?);
        let created = rfc3339(epoch);
        let sbom = spdx::render(&Bill {
            version: &self.version,
            inputs: "programs",
            created: &created,
            crates: crates.clone(),
            ..Bill::default()
        });
        let about =
            stage::About { variant: self.variant, version: &self.version, commit: commit.as_deref(), sbom: &sbom };
        let programs = self.programs.clone().unwrap_or_else(|| workspace.programs(Profile::Release));
        stage::stage(workspace, &programs, &places.stage(), &about)?;
        let mut inputs = Inputs::new();
        for (name, word) in [
            ("variant", self.variant.name()),
            ("version", &self.version),
            ("epoch", &epoch.to_string()),
            ("mkosi", &mkosi.version()?),
            ("tools", &tools.tree().to_string_lossy()),
            ("mirror", &sources::render(&mirrors)),
        ] {
            inputs.word(name, word);
        }
        inputs.file("certificate", &keys.certificate)?;
        inputs.tree("mkosi", &workspace.root().join("mkosi"))?;
        inputs.tree("stage", &places.stage())?;
        let inputs = inputs.finish();
        Ok(Job { build: self, workspace, places, cache, mkosi, tools, keys, commit, epoch, crates, inputs })
    }

    /// Outputs asked for, in the order in which they are made: the bill lists the others.
    fn kinds(&self) -> &'static [OutputKind] {
        use OutputKind::{Oci, Qcow2, Raw, RawZst, Sbom, Uki};
        match self.only {
            Some(Only::Raw) => &[Raw, Uki],
            None => &[Raw, Uki, RawZst, Qcow2, Oci, Sbom],
        }
    }
}

/// A build with everything it needs. It holds the cache's lock.
struct Job<'a> {
    build: &'a Build,
    workspace: &'a Workspace,
    places: Places,
    cache: Cache,
    mkosi: Mkosi,
    tools: Tools,
    keys: Keys,
    commit: Option<String>,
    epoch: u64,
    crates: Vec<Crate>,
    inputs: String,
}

impl Job<'_> {
    /// The manifest of everything asked for; what is already there is not made again.
    fn manifest(&self, steps: &mut Steps) -> Result<Manifest> {
        let folder = self.places.outputs();
        let before = Manifest::read(&self.places.manifest()).filter(|it| it.inputs == self.inputs && !self.build.force);
        let there = |kind| before.as_ref().and_then(|it| it.still_there(kind, &folder));
        if there(OutputKind::Raw).is_none() || there(OutputKind::Uki).is_none() {
            self.mkosi(&self.places.work(), Scratch::Cached, steps)?;
            self.take_over()?;
            return self.finish(self.describe()?, None, steps);
        }
        if self.build.kinds().iter().all(|kind| there(*kind).is_some()) {
            say("nothing changed: the image is up to date");
        }
        self.finish(self.describe()?, before.as_ref(), steps)
    }

    /// Runs mkosi into `output`.
    fn mkosi(&self, output: &Path, scratch: Scratch, steps: &mut Steps) -> Result<()> {
        // The last build's trees have owners an ordinary user cannot delete alone.
        output_of(self.tools.owning("rm").args(["-rf", "--"]).arg(output))?;
        files::make(output)?;
        let variant = self.build.variant.name();
        let mut command = self.mkosi.command();
        command.arg("--directory").arg(self.workspace.root().join("mkosi"));
        command.args(["--profile", variant, "--image-version", &self.build.version]);
        command.args(["--source-date-epoch", &self.epoch.to_string()]);
        command.arg("--tools-tree").arg(self.tools.tree());
        command.arg("--sandbox-tree").arg(self.places.sandbox());
        command.arg("--package-cache-directory").arg(self.cache.packages());
        command.arg("--output-directory").arg(output);
        command.arg("--extra-tree").arg(self.places.stage());
        for purpose in ["secure-boot", "verity", "sign-expected-pcr"] {
            command.arg(format!("--{purpose}-key")).arg(&self.keys.key);
            command.arg(format!("--{purpose}-certificate")).arg(&self.keys.certificate);
        }
        files::make(&self.cache.packages())?;
        match scratch {
            Scratch::Cached => {
                let incremental = self.cache.incremental(variant);
                files::make(&incremental)?;
                command.arg("--cache-directory").arg(incremental).args(["--incremental", "yes"]);
                // Given twice it forgets what it cached, too.
                command.arg(if self.build.force { "-ff" } else { "--force" });
            }
            Scratch::Nothing => {
                command.args(["--incremental", "no", "--force"]);
            }
        }
        command.arg("build").env("SOURCE_DATE_EPOCH", self.epoch.to_string());
        steps.run("mkosi: initrd, ISP container, image (minutes without a cache)", "mkosi", &mut command)
    }

    /// Moves what mkosi made to where outputs lie.
    fn take_over(&self) -> Result<()> {
        files::make(&self.places.outputs())?;
        let version = &self.build.version;
        keep_lists(&self.places, version)?;
        for (made, kind) in [(".raw", OutputKind::Raw), (".efi", OutputKind::Uki)] {
            let (from, to) = (self.places.made(version, made), self.places.output(version, kind.ending()));
            fs::rename(&from, &to).with_context(|| format!("mkosi left no {}", from.display()))?;
        }
        Ok(())
    }

    /// A manifest without outputs.
    fn describe(&self) -> Result<Manifest> {
        let version = &self.build.version;
        let raw = self.places.output(version, OutputKind::Raw.ending());
        let disk = Disk::open(&raw)?;
        let root = disk.one(Kind::Root)?;
        let uki = files::length(&self.places.output(version, OutputKind::Uki.ending()))?;
        Ok(Manifest {
            format: Manifest::FORMAT,
            version: version.clone(),
            variant: self.build.variant.name().to_owned(),
            commit: self.commit.clone(),
            source_date_epoch: self.epoch,
            development_keys: self.keys.development,
            inputs: self.inputs.clone(),
            root_hash: disk.root_hash()?,
            root: Fill::new(erofs_bytes(&raw, root)?, root.length),
            esp: Fill::new(uki, disk.one(Kind::Esp)?.length),
            broken_gates: Vec::new(),
            outputs: Vec::new(),
        })
    }

    /// Makes outputs, checks the gates, writes the manifest.
    fn finish(&self, mut manifest: Manifest, before: Option<&Manifest>, steps: &mut Steps) -> Result<Manifest> {
        let folder = self.places.outputs();
        // Before the minutes that follow, not after.
        self.gates(&mut manifest)?;
        let maker = Maker {
            tools: &self.tools,
            places: &self.places,
            packages: self.cache.packages(),
            notes: self.cache.licences(),
            crates: &self.crates,
        };
        for kind in self.build.kinds() {
            let output = match before.and_then(|it| it.still_there(*kind, &folder)) {
                Some(output) => output.clone(),
                None => maker.make(*kind, &manifest, steps)?,
            };
            manifest.outputs.push(output);
            // A build that is stopped half-way goes on from here.
            manifest.write(&self.places.manifest())?;
        }
        self.gates(&mut manifest)?;
        manifest.write(&self.places.manifest())?;
        Ok(manifest)
    }

    fn gates(&self, manifest: &mut Manifest) -> Result<()> {
        let download = manifest.output(OutputKind::RawZst).map(|output| output.bytes);
        manifest.broken_gates = gates::broken(manifest.root, manifest.esp, download);
        if !manifest.broken_gates.is_empty() {
            let sentences = manifest.broken_gates.join("\n");
            if !self.build.keep_going {
                bail!("{sentences}\n(--keep-going finishes all the same)");
            }
            say(&format!("warning: {sentences}"));
        }
        Ok(())
    }

    /// Builds once more, from nothing but downloaded packages, and compares.
    fn again(&self, steps: &mut Steps) -> Result<ExitCode> {
        let second = self.places.second();
        self.mkosi(&second, Scratch::Nothing, steps)?;
        let first = self.places.output(&self.build.version, OutputKind::Raw.ending());
        compare::report(&self.tools, &first, &made_in(&second, &self.build.version, ".raw"), &self.places.work())
    }
}

/// What a run of mkosi may start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scratch {
    Cached,
    Nothing,
}

/// mkosi works as an ordinary user where that user may have more than one identity.
fn may_build() -> Result<()> {
    if packages::is_root() || packages::has("newuidmap") {
        return Ok(());
    }
    bail!(
        "an ordinary user builds images only with newuidmap and a range in /etc/subuid; type: sudo apt-get install uidmap, or build as root"
    );
}

/// Time of the commit, so that the same commit gives the same times; `SOURCE_DATE_EPOCH` wins, as everywhere.
fn epoch(workspace: &Workspace) -> Result<u64> {
    if let Some(word) = std::env::var_os("SOURCE_DATE_EPOCH") {
        return word.to_str().and_then(|it| it.parse().ok()).context("SOURCE_DATE_EPOCH is no number of seconds");
    }
    let mut git = std::process::Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(workspace.root()).stdin(Stdio::null());
    output_of(&mut git).ok().and_then(|text| text.trim().parse().ok()).context(
        "this is no git checkout, so the image's time is not known; set SOURCE_DATE_EPOCH to the release's Unix time",
    )
}

/// Goes into a partition's label (36 letters with name and ending) and beside the boot counter, whose signs it must not use.
fn version(text: &str) -> Result<String, String> {
    let fits = (1..=20).contains(&text.len())
        && text.starts_with(|letter: char| letter.is_ascii_digit())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '.' || letter == '~');
    if fits {
        Ok(text.to_owned())
    } else {
        Err("a version begins with a digit and has at most 20 letters, digits, '.' and '~'".to_owned())
    }
}

fn report(manifest: &Manifest, places: &Places, steps: &Steps) {
    let rows: String = manifest.outputs.iter().map(row).collect();
    print(&format!(
        "\n{} {} ({}), {}\n{rows}root file system: {} % of its slot; kernel image: {} % of the ESP; root hash {}\nin {}, manifest.json lists all\n",
        manifest.version,
        manifest.variant,
        manifest.commit.as_deref().unwrap_or("no commit"),
        steps.total(),
        manifest.root.percent,
        manifest.esp.percent,
        manifest.root_hash,
        places.outputs().display(),
    ));
}

fn row(output: &Output) -> String {
    format!(
        "  {:<28} {:>7} MB  {}\n",
        output.file,
        output.bytes.div_ceil(1_000_000),
        output.sha256.get(..16).unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_fit_labels_and_boot_counters() {
        assert!(version("0.1.0").is_ok() && version("1.0.0~rc1").is_ok());
        for bad in ["", "v1", "1.0+3", "1_0", "1-0", "1.0.0.0.0.0.0.0.0.0.0"] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tests_get_the_disk_and_nothing_that_takes_long() {
        assert_eq!(Build::for_tests(PathBuf::new()).kinds(), [OutputKind::Raw, OutputKind::Uki]);
    }
}
