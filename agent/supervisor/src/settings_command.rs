//! `tbi-agent settings apply`: settings become files of the system. Runs as root for a moment (`tbi-settings.service`), early in each start
//! and after each change; its only input is one file, which it takes for something an attacker may have written. Whatever is in it, the
//! box gets a host name and a management network.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command as Program, ExitCode, Stdio};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tbi_api::settings::Settings;
use tbi_bench::topology::Topology;
use tbi_daemon::{Access, replace_file};

use crate::appliance::settings::outcome::{self, SettingsOutcome};
use crate::appliance::settings::render::{HOSTNAME, Rendered, TIME, render};
use crate::appliance::settings::{CheckedSettings, TestRanges};
use crate::appliance::sysfs::{self, Root};

/// Settings are some hundred bytes.
const MOST: u64 = 64 * 1024;

/// Settings of the box.
#[derive(Debug, Subcommand)]
pub(crate) enum SettingsCommand {
    /// Renders settings into the system's files and puts them in force.
    Apply(ApplyArgs),
}

/// See [`SettingsCommand::Apply`].
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Settings as the agent wrote them
    #[arg(long, value_name = "FILE", default_value = "/var/lib/tlsstress/settings.json")]
    settings: PathBuf,
    /// Write below this directory and leave the running system alone
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

impl SettingsCommand {
    /// # Errors
    /// When no file can be written at all.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Apply(apply) => apply.run(),
        }
    }
}

impl ApplyArgs {
    #[expect(clippy::print_stderr, reason = "the journal of a unit that runs for a moment")]
    fn run(self) -> anyhow::Result<ExitCode> {
        let live = self.root == Path::new("/");
        let root = Root::new(&self.root);
        let (settings, mut sentences) = read(&self.settings);
        let settings_used = sentences.is_empty();
        let machine_id = root.text("etc/machine-id").unwrap_or_default();
        let rendered = render(&settings, &sysfs::nics(&root), &machine_id);
        sentences.extend(rendered.roles.management_sentence.iter().chain(&rendered.roles.trunk_sentence).cloned());
        let (changed, failed) = write(&self.root, &rendered);
        sentences.extend(failed);
        if live {
            sentences.extend(put_in_force(&rendered.host_name, &changed));
        }
        for sentence in &sentences {
            eprintln!("{sentence}");
        }
        let name = |nic: &Option<crate::appliance::nic::FoundNic>| nic.as_ref().map(|nic| nic.name.clone());
        let outcome = SettingsOutcome {
            management_interface: name(&rendered.roles.management),
            trunk_interface: name(&rendered.roles.trunk),
            host_name: rendered.host_name,
            settings_used,
            sentences,
        };
        let path = self.root.join(outcome::PATH);
        make_parent(&path).context("no directory for the outcome")?;
        replace_file(&path, &serde_json::to_vec_pretty(&outcome)?, Access::Everybody)?;
        // Sentences are for the agent's health. A failed unit would say less and could hold others up.
        Ok(ExitCode::SUCCESS)
    }
}

/// The file's settings, or the defaults and why.
fn read(path: &Path) -> (CheckedSettings, Vec<String>) {
    let default = |why: String| {
        let sentence = format!(
            "The settings in {} cannot be used, so the defaults are (DHCP on the first card): {why}. Send corrected ones with PUT /v1/settings.",
            path.display()
        );
        (CheckedSettings::default_of_a_box(), vec![sentence])
    };
    let mut text = String::new();
    let file = match fs::File::open(path) {
        Ok(file) => file,
        // Nobody has told this box anything yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return (CheckedSettings::default_of_a_box(), Vec::new());
        }
        Err(error) => return default(error.to_string()),
    };
    if let Err(error) = file.take(MOST).read_to_string(&mut text) {
        return default(error.to_string());
    }
    // The topology in force is the agent's business; here the ranges every release reserves are enough.
    let ranges = TestRanges::of(&Topology::builtin());
    let parsed = serde_json::from_str::<Settings>(&text).map_err(|error| error.to_string());
    match parsed.and_then(|settings| CheckedSettings::parse(&settings, &ranges).map_err(|error| error.to_string())) {
        Ok(checked) => (checked, Vec::new()),
        Err(why) => default(why),
    }
}

/// Writes what differs. Gives the files that changed, and a sentence for each that could not be written.
fn write(root: &Path, rendered: &Rendered) -> (Vec<&'static str>, Vec<String>) {
    let (mut changed, mut failed) = (Vec::new(), Vec::new());
    for (name, text) in &rendered.files {
        let path = root.join(name);
        let found = fs::read_to_string(&path).ok();
        if found.as_deref() == text.as_deref() {
            continue;
        }
        let done = match text {
            Some(text) => make_parent(&path).map_err(|error| error.to_string()).and_then(|()| {
                replace_file(&path, text.as_bytes(), Access::Everybody).map_err(|error| error.to_string())
            }),
            None => fs::remove_file(&path).map_err(|error| format!("cannot remove {}: {error}", path.display())),
        };
        match done {
            Ok(()) => changed.push(*name),
            Err(why) => failed.push(format!("A setting is not in force: {why}.")),
        }
    }
    (changed, failed)
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Tells the running system. Early in a start nobody listens yet, and the files are read when their readers start.
fn put_in_force(host_name: &str, changed: &[&'static str]) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Err(error) = nix::unistd::sethostname(host_name) {
        sentences.push(format!("The host name {host_name} could not be set: {error}."));
    }
    // Early in a start there is no bus yet, and nobody to tell.
    if !Path::new("/run/dbus/system_bus_socket").exists() {
        return sentences;
    }
    // Each of these directories is its service's runtime directory, so it exists while the service runs.
    let network = changed.iter().any(|name| *name != HOSTNAME && *name != TIME);
    if network && Path::new("/run/systemd/netif/links").exists() {
        sentences.extend(ask("networkctl", &["reload"]));
    }
    if changed.contains(&TIME) && Path::new("/run/systemd/timesync").exists() {
        sentences.extend(ask("systemctl", &["try-restart", "systemd-timesyncd.service"]));
    }
    sentences
}

/// Runs a program of systemd's; both ask over D-Bus and give up by themselves (25 s), and the unit has its own limit above that.
fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Program::new(program).args(arguments).stdin(Stdio::null()).output();
    let why = match output {
        Ok(output) if output.status.success() => return None,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Some(format!(
        "Settings are written, but `{program} {}` failed ({why}); they are in force after a restart.",
        arguments.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::appliance::sysfs::tests::{CARDS, fixture};

    fn apply(dir: &Path, settings: Option<&str>) -> SettingsOutcome {
        let file = dir.join("settings.json");
        if let Some(settings) = settings {
            fs::write(&file, settings).unwrap();
        }
        ApplyArgs { settings: file, root: dir.to_owned() }.run().unwrap();
        serde_json::from_str(&fs::read_to_string(dir.join(outcome::PATH)).unwrap()).unwrap()
    }

    fn text(dir: &Path, name: &str) -> Option<String> {
        fs::read_to_string(dir.join(name)).ok()
    }

    #[test]
    fn absent_settings_are_the_defaults_without_complaint() {
        let (dir, _) = fixture(CARDS);
        let outcome = apply(dir.path(), None);
        assert_eq!((outcome.management_interface.as_deref(), outcome.sentences.len()), (Some("ens3"), 0));
        assert!(text(dir.path(), "run/systemd/network/10-management.network").unwrap().contains("DHCP=ipv4"));
        assert_eq!(text(dir.path(), "etc/hostname").unwrap(), format!("{}\n", outcome.host_name));
    }

    #[test]
    fn unreadable_settings_are_the_defaults_with_a_sentence() {
        for bad in ["", "{", r#"{"host_name":"a b"}"#, r#"{"colour":1}"#, "\u{0}", r#"{"ntp_servers":["a\n[Time]"]}"#] {
            let (dir, _) = fixture(CARDS);
            let outcome = apply(dir.path(), Some(bad));
            assert!(
                !outcome.settings_used && outcome.sentences[0].contains("PUT /v1/settings"),
                "{bad:?}: {outcome:?}"
            );
            assert!(text(dir.path(), "run/systemd/network/10-management.network").unwrap().contains("DHCP=ipv4"));
        }
    }

    #[test]
    fn a_second_time_changes_nothing_and_what_is_not_wanted_any_more_goes() {
        let (dir, root) = fixture(CARDS);
        let with_trunk = r#"{"host_name":"bench-1","trunk":{"mac":"52:54:00:00:00:03"},"ntp_servers":["192.0.2.1"]}"#;
        let outcome = apply(dir.path(), Some(with_trunk));
        assert_eq!(outcome.trunk_interface.as_deref(), Some("ens3"));
        assert_eq!(outcome.management_interface.as_deref(), Some("ens10"));
        assert!(text(dir.path(), "run/systemd/network/05-trunk.network").unwrap().contains("Unmanaged=yes"));
        let settings = read(&dir.path().join("settings.json")).0;
        let rendered = render(&settings, &sysfs::nics(&root), "");
        assert_eq!(write(dir.path(), &rendered), (Vec::new(), Vec::new()));

        apply(dir.path(), Some("{}"));
        assert_eq!(text(dir.path(), "run/systemd/network/05-trunk.network"), None);
        assert_eq!(text(dir.path(), TIME), None);
    }

    #[test]
    fn no_network_card_is_said_and_the_host_name_is_set_all_the_same() {
        let (dir, _) = fixture(&[("etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n")]);
        let outcome = apply(dir.path(), None);
        assert_eq!((outcome.host_name.as_str(), &outcome.management_interface), ("tbi-003596", &None));
        assert!(outcome.sentences[0].contains("console only"), "{outcome:?}");
    }
}
