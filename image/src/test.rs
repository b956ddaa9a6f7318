//! `cargo tbi test`: everything a change must pass, in layers from fast to slow.
//!
//! Formatting and lints come first because they are cheap. All other layers are one invocation of one runner, which we become, so that
//! its own summary closes the output and its exit code is ours. Tests that start programs find them in the directory that
//! `TBI_BIN_DIR` names; they are built here once, so that no test builds anything.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::command::{become_program, output_of, print, say, succeed};
use crate::image::{Build, Places, Variant, cache};
use crate::packages;
use crate::workspace::{Profile, Workspace};

/// What a first run of everything puts on the disk that has `target`, measured, with some room, GB.
const FIRST_RUN_GB: u64 = 20;

/// Check formatting and lints and run the tests, layer by layer.
#[derive(Args)]
#[command(after_help = "Examples:
  cargo tbi test                  all layers
  cargo tbi test --list           what the layers are
  cargo tbi test lint unit        without starting a lab")]
pub(crate) struct Test {
    /// Layers to run; all when none is named.
    layers: Vec<Layer>,
    /// Say what each layer is, and run nothing.
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layer {
    Lint,
    Unit,
    Namespaces,
    Interop,
    Browser,
    Vm,
}

impl Layer {
    /// Fast to slow.
    const ALL: [Layer; 6] = [Layer::Lint, Layer::Unit, Layer::Namespaces, Layer::Interop, Layer::Browser, Layer::Vm];

    fn name(self) -> &'static str {
        match self {
            Layer::Lint => "lint",
            Layer::Unit => "unit",
            Layer::Namespaces => "namespaces",
            Layer::Interop => "interop",
            Layer::Browser => "browser",
            Layer::Vm => "vm",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Layer::Lint => {
                "formatting, clippy without warnings, the rules of this repository, banned crates and licences"
            }
            Layer::Unit => "every crate's own tests, documentation examples included",
            Layer::Namespaces => "whole runs in a lab of network namespaces, faults included",
            Layer::Interop => {
                "our programs with programs nobody here wrote: nginx, curl, sslsplit, aioquic, schemathesis, testssl.sh"
            }
            Layer::Browser => {
                "an operator's day and every page in Chromium: stories, axe-core, keyboard, zoom, hostile input"
            }
            Layer::Vm => "the image in a virtual machine (builds its debug variant first)",
        }
    }

    /// The layer's tests as a nextest filter. Test binaries of whole-system tests carry their layer in their name.
    fn filter(self) -> &'static str {
        match self {
            Layer::Lint => "binary(=rules)",
            Layer::Unit => "not binary(/^(lab|interop|door|browser|vm)_/)",
            Layer::Namespaces => "binary(/^lab_/)",
            Layer::Interop => "binary(/^(interop|door)_/)",
            Layer::Browser => "binary(/^browser_/)",
            Layer::Vm => "binary(/^vm_/)",
        }
    }
}

impl Test {
    /// Returns only when something before the tests fails; otherwise the test runner takes over.
    pub(crate) fn run(self) -> Result<ExitCode> {
        if self.list {
            print(&Layer::ALL.map(|layer| format!("{:<11} {}\n", layer.name(), layer.about())).concat());
            return Ok(ExitCode::SUCCESS);
        }
        let chosen: Vec<Layer> =
            Layer::ALL.into_iter().filter(|layer| self.layers.is_empty() || self.layers.contains(layer)).collect();
        let workspace = Workspace::find()?;
        packages::ensure(&needs(&chosen))?;
        warn_of_little_space(&workspace);
        if chosen.contains(&Layer::Lint) {
            lint(&workspace)?;
        }
        say("building the programs and the tests");
        succeed(workspace.cargo().args(["build", "--locked", "--workspace", "--bins", "--tests"]))?;
        let nextest = works(workspace.cargo().args(["nextest", "--version"]));
        if nextest && chosen.contains(&Layer::Unit) {
            // nextest does not run documentation examples; `cargo test` below does.
            succeed(workspace.cargo().args(["test", "--locked", "--workspace", "--doc", "--quiet"]))?;
        }
        let image = if chosen.contains(&Layer::Vm) { Some(image(&workspace)?) } else { None };
        let browser = chosen.iter().any(|layer| matches!(layer, Layer::Browser | Layer::Vm));
        let modules = if browser { Some(cache::node_modules(&workspace)?) } else { None };
        let mut runner = workspace.cargo();
        runner.args(if nextest { nextest_arguments(&chosen) } else { cargo_test_arguments(&chosen) });
        if !nextest {
            // A lab takes the whole machine; nextest reads that in .config/nextest.toml, `cargo test` only knows one or many at a time.
            runner.env("RUST_TEST_THREADS", "1");
        }
        // An ordinary user's path lacks what Debian keeps in /usr/sbin: nginx, nft.
        runner.env("PATH", packages::search_path());
        runner.env("TBI_BIN_DIR", workspace.programs(Profile::Dev)).stdin(Stdio::null());
        if let Some(modules) = modules {
            runner.env("TBI_BROWSER_MODULES", modules);
        }
        if let Some((folder, tools)) = image {
            runner.env("TBI_IMAGE_DIR", folder).env("TBI_TOOLS_TREE", tools);
        }
        become_program(&mut runner)
    }
}

/// A disk that fills up in the middle of a build fails late, and in the words of whoever wrote last.
fn warn_of_little_space(workspace: &Workspace) {
    let is_first = !workspace.programs(Profile::Dev).exists();
    let Ok(disk) = nix::sys::statvfs::statvfs(workspace.root()) else { return };
    let free = disk.blocks_available().saturating_mul(disk.fragment_size()) / 1_000_000_000;
    if is_first && free < FIRST_RUN_GB {
        say(&format!(
            "warning: {free} GB are free at {}; a first run of all layers takes about {FIRST_RUN_GB} GB",
            workspace.root().display()
        ));
    }
}

/// Packages for the chosen layers. Crates' own tests speak to nginx, curl and aioquic, too.
fn needs(chosen: &[Layer]) -> Vec<&'static [packages::Tool]> {
    let mut groups = vec![packages::BUILD];
    if chosen.iter().any(|layer| *layer != Layer::Lint) {
        groups.push(packages::LAB);
    }
    if chosen.contains(&Layer::Namespaces) {
        groups.push(packages::FAULTS);
    }
    if chosen.contains(&Layer::Vm) {
        groups.push(packages::IMAGE);
    }
    if chosen.contains(&Layer::Browser) || chosen.contains(&Layer::Vm) {
        groups.push(packages::BROWSER);
    }
    if chosen.contains(&Layer::Unit) || chosen.contains(&Layer::Interop) {
        groups.push(packages::INTEROP);
    }
    groups
}

/// Builds the debug image, once for all tests, of the programs that the other layers test: to compile everything once more in release takes
/// eight minutes of two cores. Folder of the debug image, and of the tools tree that starts it.
fn image(workspace: &Workspace) -> Result<(PathBuf, PathBuf)> {
    Build::for_tests(workspace.programs(Profile::Dev)).build(workspace)?;
    let places = Places::new(workspace, Variant::Debug);
    let tools = cache::tools(workspace, &places)?;
    Ok((places.outputs(), tools.tree().to_owned()))
}

fn lint(workspace: &Workspace) -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !works(workspace.cargo().args([subcommand, "--version"])) {
            say(&format!("the Rust toolchain lacks {component}; adding it"));
            succeed(Command::new("rustup").args(["component", "add", component]).current_dir(workspace.root()))
                .with_context(|| format!("type: rustup component add {component}"))?;
        }
    }
    say("formatting");
    succeed(workspace.cargo().args(["fmt", "--all", "--check"]))
        .context("the format differs; type: cargo fmt --all")?;
    say("lints");
    succeed(workspace.cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // The test binary `rules` checks bans and licences without any tool; cargo-deny knows more where it is installed.
    if works(workspace.cargo().args(["deny", "--version"])) {
        say("dependencies");
        output_of(workspace.cargo().args(["deny", "--offline", "--locked", "check", "bans", "licenses", "sources"]))?;
    }
    Ok(())
}

fn works(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn nextest_arguments(chosen: &[Layer]) -> Vec<String> {
    let mut arguments = ["nextest", "run", "--locked", "--workspace"].map(String::from).to_vec();
    if chosen != Layer::ALL {
        let filters: Vec<_> = chosen.iter().map(|layer| layer.filter()).collect();
        arguments.extend(["--filterset".to_owned(), filters.join(" or ")]);
    }
    arguments
}

/// `cargo test` cannot exclude test binaries by name, so a choice that mixes the unit layer with others runs every test.
fn cargo_test_arguments(chosen: &[Layer]) -> Vec<String> {
    let selection: &[&str] = match chosen {
        [Layer::Lint] => &["--package", "tbi-tests", "--test", "rules"],
        [Layer::Unit] => &["--workspace", "--exclude", "tbi-tests"],
        [Layer::Namespaces] => &["--package", "tbi-tests", "--test", "lab_*"],
        [Layer::Interop] => &["--package", "tbi-tests", "--test", "interop_*", "--test", "door_*"],
        [Layer::Browser] => &["--package", "tbi-tests", "--test", "browser_*"],
        [Layer::Vm] => &["--package", "tbi-tests", "--test", "vm_*"],
        [Layer::Namespaces, Layer::Interop] => {
            &["--package", "tbi-tests", "--test", "lab_*", "--test", "interop_*", "--test", "door_*"]
        }
        _ => &["--workspace"],
    };
    ["test", "--locked", "--no-fail-fast"].iter().chain(selection).map(|argument| (*argument).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_layers_are_one_unfiltered_run() {
        assert_eq!(nextest_arguments(&Layer::ALL), ["nextest", "run", "--locked", "--workspace"]);
        assert_eq!(cargo_test_arguments(&Layer::ALL), ["test", "--locked", "--no-fail-fast", "--workspace"]);
    }

    #[test]
    fn chosen_layers_are_joined() {
        let arguments = nextest_arguments(&[Layer::Lint, Layer::Interop]);
        assert_eq!(arguments.last().map(String::as_str), Some("binary(=rules) or binary(/^(interop|door)_/)"));
        assert!(cargo_test_arguments(&[Layer::Namespaces]).ends_with(&["--test".to_owned(), "lab_*".to_owned()]));
    }

    #[test]
    fn fast_layers_do_not_ask_for_slow_tools() {
        assert_eq!(needs(&[Layer::Lint]).len(), 1);
        assert_eq!(needs(&[Layer::Lint, Layer::Interop]).len(), 3);
        assert!(needs(&[Layer::Unit]).contains(&packages::INTEROP), "crates' own tests start nginx and curl");
        assert!(needs(&[Layer::Namespaces]).contains(&packages::FAULTS));
        assert!(needs(&[Layer::Browser]).contains(&packages::BROWSER));
        assert!(needs(&[Layer::Vm]).contains(&packages::BROWSER), "the image's pages are walked as well");
        assert!(needs(&[Layer::Vm]).contains(&packages::IMAGE));
    }
}
