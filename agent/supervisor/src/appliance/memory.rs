//! What an operator decided, and what the box does of it: settings and topology, from the ledger, with their files for other programs.
//!
//! The ledger is the truth. `settings.json` and `topology.yaml` beside it are written after each change and at the start; when the ledger
//! was lost, they are what it is filled from, so that a corrupt database does not cost the box its network address. What is stored but
//! cannot be used (another release was stricter, a file was edited) is kept for its owner to correct, and the default is used and said.

pub(crate) mod trial;

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tbi_api::isp::Router;
use tbi_api::settings::{Change, Settings, Snapshot};
use tbi_bench::catalogue::Catalogue;
use tbi_bench::topology::{DeploymentNodes, Topology, TopologyError};
use tbi_daemon::{Access, ReplaceError, replace_file};
use tbi_ledger::{Boot, Found, Ledger, LedgerError, NewBoot, Opened, Stored};

use super::own_router::Slot;
use super::settings::{CheckedSettings, SettingsError, TestRanges};

/// The topology every release ships.
pub(crate) const BUILTIN_TOPOLOGY: &str = include_str!("../../../../engine/bench/topology.yaml");
/// Settings for the program that carries them out.
pub(crate) const SETTINGS_FILE: &str = "settings.json";
/// Topology as it was stored.
pub(crate) const TOPOLOGY_FILE: &str = "topology.yaml";

/// Settings and topology, and the ledger below them.
#[derive(Debug)]
pub(crate) struct Memory {
    state: PathBuf,
    ledger: Ledger,
    found: Found,
    in_force: InForce,
}

/// What the box does now.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    pub(crate) snapshot: Snapshot,
    pub(crate) checked: CheckedSettings,
    /// Why the stored settings are not used, when they are not.
    pub(crate) settings_sentence: Option<String>,
    /// Topology as stored, also when it cannot be used.
    pub(crate) stored_topology: String,
    /// Topology in use.
    pub(crate) topology: String,
    /// Why the stored topology is not used, when it is not.
    pub(crate) topology_sentence: Option<String>,
    /// The management network that is on trial, when one is.
    pub(crate) trial: Option<trial::Journal>,
    /// That a trial was taken back by itself, until the settings change again.
    pub(crate) trial_sentence: Option<String>,
}

/// A change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Topology(#[from] TopologyError),
    #[error("deployment_nodes '{0}' needs several boxes, which this release cannot join; set deployment_nodes: single")]
    SeveralBoxes(DeploymentNodes),
    #[error("this topology and the settings in force do not go together: {0}")]
    Apart(SettingsError),
    #[error(
        "isp_router is own, but no root file system of a router was imported; send one with PUT /v1/isp/root first, or leave it at frr"
    )]
    NoRoot,
    #[error(
        "a management network is on trial; keep it (POST /v1/settings/trial/confirm) or take it back (DELETE /v1/settings/trial) first, or \
         wait until it is taken back by itself"
    )]
    OnTrial,
    #[error(
        "no management network is on trial; one that was not confirmed in time was taken back (GET /v1/settings/trial says how)"
    )]
    NoTrial,
    #[error("seconds is {0}; a trial lasts 10 to 600 seconds, 60 where nothing is said")]
    TrialTime(u32),
    #[error("{what}: {source}")]
    Ledger { what: &'static str, source: LedgerError },
    /// The ledger has it, the file for the other program has not; the next start of the agent makes it good.
    #[error("stored, but not in force: {0}")]
    File(#[from] ReplaceError),
}

impl Memory {
    /// Opens the ledger and finds what is in force; never fails, see [`Ledger::open`].
    pub(crate) fn open(state: &Path, now: Timestamp) -> Self {
        let Opened { mut ledger, found } = Ledger::open(state, now);
        let (stored_topology, topology, topology_sentence) = topology_in_force(&mut ledger, state, now);
        let ranges = ranges(&topology);
        let (stored, checked, settings_sentence) = settings_in_force(&mut ledger, state, &ranges, now);
        let snapshot = Snapshot {
            version: stored.as_ref().map_or(0, |(stored, _)| stored.version),
            changed: stored.as_ref().map_or_else(|| now.to_string(), |(stored, _)| stored.changed.clone()),
            settings: stored.map(|(_, settings)| settings).unwrap_or_default(),
        };
        let in_force = InForce {
            snapshot,
            checked,
            settings_sentence,
            stored_topology,
            topology,
            topology_sentence,
            trial: trial::found(&ledger),
            trial_sentence: None,
        };
        let memory = Self { state: state.to_owned(), ledger, found, in_force };
        memory.write_missing_files();
        memory
    }

    pub(crate) fn in_force(&self) -> &InForce {
        &self.in_force
    }

    /// The database itself, for what is neither settings nor topology.
    pub(crate) fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// How the ledger was found.
    pub(crate) fn found(&self) -> &Found {
        &self.found
    }

    /// Notes that the machine has started.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub(crate) fn begin_boot(&mut self, boot_id: &str, version: &str, now: Timestamp) -> Result<Boot, LedgerError> {
        self.ledger.begin_boot(&NewBoot { boot_id, started: now, version, past: self.found.past() })
    }

    /// Notes why the machine is about to go down.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub(crate) fn mark_ordered(&mut self, sentence: &str) -> Result<(), LedgerError> {
        self.ledger.mark_ordered(sentence)
    }

    /// Takes it back.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub(crate) fn withdraw_order(&mut self) -> Result<(), LedgerError> {
        self.ledger.withdraw_order()
    }

    /// Notes that the agent ends in an orderly way.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub(crate) fn mark_clean(&mut self) -> Result<(), LedgerError> {
        self.ledger.mark_clean()
    }

    /// Checks, stores and puts down new settings.
    ///
    /// # Errors
    /// [`ChangeError`]; unless it is [`ChangeError::File`], nothing was changed.
    pub(crate) fn change_settings(&mut self, change: Change, now: Timestamp) -> Result<Snapshot, ChangeError> {
        self.change_settings_with(change, now, |_ledger| Ok(()))
    }

    /// The same, and `more` is stored with it or neither is.
    fn change_settings_with(
        &mut self,
        change: Change,
        now: Timestamp,
        more: impl FnOnce(&mut Ledger) -> Result<(), LedgerError>,
    ) -> Result<Snapshot, ChangeError> {
        if self.in_force.trial.is_some() {
            return Err(ChangeError::OnTrial);
        }
        let checked = CheckedSettings::parse(&change.settings, &ranges(&self.in_force.topology))?;
        // Only the choice needs one: a box that lost it can still be told other things.
        let chosen = checked.router == Router::Own && self.in_force.checked.router != Router::Own;
        if chosen && Slot::of(&self.state).found().is_none() {
            return Err(ChangeError::NoRoot);
        }
        let body = text_of(&change.settings);
        let stored = self.ledger.together(|ledger| {
            let stored = ledger.store_settings(change.based_on, &body, now)?;
            more(ledger)?;
            Ok(stored)
        });
        let stored = stored.map_err(|source| ChangeError::Ledger { what: "the settings were not changed", source })?;
        let snapshot = Snapshot { version: stored.version, changed: stored.changed, settings: change.settings };
        self.in_force.snapshot = snapshot.clone();
        self.in_force.checked = checked;
        self.in_force.settings_sentence = None;
        self.in_force.trial_sentence = None;
        self.write(SETTINGS_FILE, &body)?;
        Ok(snapshot)
    }

    /// Checks, stores and puts down a new topology.
    ///
    /// # Errors
    /// [`ChangeError`]; unless it is [`ChangeError::File`], nothing was changed.
    pub(crate) fn change_topology(&mut self, yaml: &str, now: Timestamp) -> Result<(), ChangeError> {
        if self.in_force.trial.is_some() {
            return Err(ChangeError::OnTrial);
        }
        let topology = usable(yaml)?;
        CheckedSettings::parse(&self.in_force.snapshot.settings, &TestRanges::of(&topology))
            .map_err(ChangeError::Apart)?;
        let failed = |source| ChangeError::Ledger { what: "the topology was not changed", source };
        let based_on = self.ledger.topology().map_err(failed)?.map_or(0, |stored| stored.version);
        self.ledger.store_topology(based_on, yaml, now).map_err(failed)?;
        yaml.clone_into(&mut self.in_force.stored_topology);
        yaml.clone_into(&mut self.in_force.topology);
        self.in_force.topology_sentence = None;
        self.write(TOPOLOGY_FILE, yaml)?;
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), ReplaceError> {
        replace_file(&self.state.join(name), text.as_bytes(), Access::Everybody)
    }

    /// Power may have gone between ledger and file. Settings that cannot be used are left as they are, for their owner.
    fn write_missing_files(&self) {
        let wanted = [
            (self.in_force.snapshot.version > 0 && self.in_force.settings_sentence.is_none())
                .then(|| (SETTINGS_FILE, text_of(&self.in_force.snapshot.settings))),
            (self.in_force.topology_sentence.is_none() && self.in_force.stored_topology != BUILTIN_TOPOLOGY)
                .then(|| (TOPOLOGY_FILE, self.in_force.stored_topology.clone())),
        ];
        for (name, text) in wanted.into_iter().flatten() {
            if fs::read_to_string(self.state.join(name)).ok().as_deref() != Some(&text)
                && let Err(error) = self.write(name, &text)
            {
                tracing::warn!(%error, "what is in force cannot be written down");
            }
        }
    }
}

/// A topology this release can build on one box.
fn usable(yaml: &str) -> Result<Topology, ChangeError> {
    let topology = Topology::parse(yaml, &Catalogue::builtin())?;
    match topology.deployment_nodes() {
        DeploymentNodes::Single => Ok(topology),
        several => Err(ChangeError::SeveralBoxes(several)),
    }
}

fn ranges(topology: &str) -> TestRanges {
    // What is in force was parsed before; the built-in one stands in all the same rather than a panic.
    TestRanges::of(&Topology::parse(topology, &Catalogue::builtin()).unwrap_or_else(|_| Topology::builtin()))
}

/// (stored, used, why the two differ)
fn topology_in_force(ledger: &mut Ledger, state: &Path, now: Timestamp) -> (String, String, Option<String>) {
    let (text, adopted) = match ledger.topology() {
        Ok(Some(stored)) => (Some(stored.body), false),
        Ok(None) | Err(_) => (fs::read_to_string(state.join(TOPOLOGY_FILE)).ok(), true),
    };
    let Some(text) = text else { return (BUILTIN_TOPOLOGY.to_owned(), BUILTIN_TOPOLOGY.to_owned(), None) };
    match usable(&text) {
        Ok(_) => {
            if adopted && let Err(error) = ledger.store_topology(0, &text, now) {
                tracing::warn!(%error, "the topology file cannot be taken into the database");
            }
            (text.clone(), text, None)
        }
        Err(error) => {
            let sentence = format!(
                "The stored topology cannot be used, so the built-in one is: {error}. Send a corrected one with PUT /v1/topology."
            );
            (text, BUILTIN_TOPOLOGY.to_owned(), Some(sentence))
        }
    }
}

type SettingsInForce = (Option<(Stored, Settings)>, CheckedSettings, Option<String>);

fn settings_in_force(ledger: &mut Ledger, state: &Path, ranges: &TestRanges, now: Timestamp) -> SettingsInForce {
    let default = CheckedSettings::default_of_a_box();
    let refused = |why: String| {
        format!(
            "The stored settings cannot be used, so the defaults are (DHCP on the first card): {why}. Send corrected ones with PUT /v1/settings."
        )
    };
    let understood = |text: &str| -> Result<(Settings, CheckedSettings), String> {
        let settings = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let checked = CheckedSettings::parse(&settings, ranges).map_err(|error| error.to_string())?;
        Ok((settings, checked))
    };
    match ledger.settings() {
        Ok(Some(stored)) => match understood(&stored.body) {
            Ok((settings, checked)) => (Some((stored, settings)), checked, None),
            Err(why) => (Some((stored, Settings::default())), default, Some(refused(why))),
        },
        Ok(None) | Err(_) => {
            let Ok(text) = fs::read_to_string(state.join(SETTINGS_FILE)) else { return (None, default, None) };
            match understood(&text) {
                Ok((settings, checked)) => match ledger.store_settings(0, &text_of(&settings), now) {
                    Ok(stored) => (Some((stored, settings)), checked, None),
                    Err(error) => {
                        tracing::warn!(%error, "the settings file cannot be taken into the database");
                        let stored = Stored { version: 0, changed: now.to_string(), body: text };
                        (Some((stored, settings)), checked, None)
                    }
                },
                Err(why) => (None, default, Some(refused(why))),
            }
        }
    }
}

fn text_of(settings: &Settings) -> String {
    // Serialising plain structs of strings and addresses does not fail.
    serde_json::to_string_pretty(settings).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    fn now() -> Timestamp {
        "2026-01-31T23:59:59Z".parse().unwrap()
    }

    fn named(host_name: &str, based_on: u64) -> Change {
        Change { based_on, settings: Settings { host_name: host_name.to_owned(), ..Settings::default() } }
    }

    fn other_topology() -> String {
        BUILTIN_TOPOLOGY.replace("172.17.0.0/16", "172.18.0.0/16")
    }

    #[test]
    fn changes_are_stored_and_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path(), now());
        assert_eq!(memory.in_force().snapshot.version, 0);
        assert_eq!(memory.change_settings(named("bench-1", 0), now()).unwrap().version, 1);
        let stale = memory.change_settings(named("bench-2", 0), now()).unwrap_err();
        assert!(matches!(stale, ChangeError::Ledger { source: LedgerError::Changed { .. }, .. }), "{stale}");
        memory.change_topology(&other_topology(), now()).unwrap();
        drop(memory);
        let on_disk: Settings =
            serde_json::from_str(&fs::read_to_string(dir.path().join(SETTINGS_FILE)).unwrap()).unwrap();
        assert_eq!(on_disk.host_name, "bench-1");
        // Power went between ledger and file.
        fs::remove_file(dir.path().join(SETTINGS_FILE)).unwrap();
        let memory = Memory::open(dir.path(), now());
        assert_eq!(
            (memory.in_force().snapshot.version, memory.in_force().topology.as_str()),
            (1, other_topology().as_str())
        );
        assert!(dir.path().join(SETTINGS_FILE).exists());
    }

    #[test]
    fn a_corrupt_database_does_not_cost_the_box_its_settings() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path(), now());
        memory.change_settings(named("bench-1", 0), now()).unwrap();
        memory.change_topology(&other_topology(), now()).unwrap();
        drop(memory);
        fs::write(dir.path().join(tbi_ledger::FILE), "x".repeat(8192)).unwrap();
        let memory = Memory::open(dir.path(), now());
        assert!(matches!(memory.found(), Found::MovedAside { .. }));
        assert_eq!(memory.in_force().snapshot.settings.host_name, "bench-1");
        assert_eq!(memory.in_force().topology, other_topology());
    }

    #[test]
    fn a_wrong_topology_file_leaves_the_builtin_one_in_force_and_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let wrong = BUILTIN_TOPOLOGY.replace("vlan: 30", "vlan: 20");
        fs::write(dir.path().join(TOPOLOGY_FILE), &wrong).unwrap();
        let mut memory = Memory::open(dir.path(), now());
        let in_force = memory.in_force();
        assert_eq!((in_force.topology.as_str(), in_force.stored_topology.as_str()), (BUILTIN_TOPOLOGY, wrong.as_str()));
        let sentence = in_force.topology_sentence.as_ref().unwrap();
        assert!(sentence.contains("VLAN 20") && sentence.contains("PUT /v1/topology"), "{sentence}");
        assert_eq!(fs::read_to_string(dir.path().join(TOPOLOGY_FILE)).unwrap(), wrong);
        memory.change_topology(&other_topology(), now()).unwrap();
        assert_eq!(Memory::open(dir.path(), now()).in_force().topology_sentence, None);
    }

    #[test]
    fn a_wrong_topology_in_the_ledger_leaves_the_builtin_one_in_force() {
        let dir = tempfile::tempdir().unwrap();
        Ledger::open(dir.path(), now()).ledger.store_topology(0, "deployment_nodes: seven", now()).unwrap();
        let memory = Memory::open(dir.path(), now());
        assert_eq!(memory.in_force().topology, BUILTIN_TOPOLOGY);
        assert!(memory.in_force().topology_sentence.is_some());
    }

    #[test]
    fn settings_of_a_later_release_leave_the_defaults_in_force_and_can_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        Ledger::open(dir.path(), now()).ledger.store_settings(0, r#"{"colour":"blue"}"#, now()).unwrap();
        let mut memory = Memory::open(dir.path(), now());
        let sentence = memory.in_force().settings_sentence.clone().unwrap();
        assert!(sentence.contains("colour") && sentence.contains("PUT /v1/settings"), "{sentence}");
        assert_eq!(memory.in_force().snapshot.version, 1);
        memory.change_settings(named("bench-1", 1), now()).unwrap();
        assert_eq!(memory.in_force().settings_sentence, None);
    }

    #[test]
    fn refused_changes_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path(), now());
        assert!(matches!(memory.change_settings(named("a b", 0), now()), Err(ChangeError::Settings(_))));
        let dual = BUILTIN_TOPOLOGY.replace("deployment_nodes: single", "deployment_nodes: dual");
        assert!(matches!(memory.change_topology(&dual, now()), Err(ChangeError::SeveralBoxes(_))));
        let fixed =
            r#"{"management":{"addressing":{"method":"static","address":"192.168.7.2/24","gateway":null,"dns":[]}}}"#;
        memory.change_settings(Change { based_on: 0, settings: serde_json::from_str(fixed).unwrap() }, now()).unwrap();
        let onto_it = BUILTIN_TOPOLOGY.replace("172.17.0.0/16", "192.168.0.0/16");
        let error = memory.change_topology(&onto_it, now()).unwrap_err();
        assert!(matches!(error, ChangeError::Apart(_)) && error.to_string().contains("192.168.7.2"), "{error}");
        assert_eq!(memory.in_force().topology, BUILTIN_TOPOLOGY);
    }

    #[test]
    fn with_a_state_partition_that_cannot_be_written_everything_is_still_readable() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let mut memory = Memory::open(&dir.path().join("file/state"), now());
        assert!(matches!(memory.found(), Found::Memory { .. }));
        assert_eq!(memory.in_force().topology, BUILTIN_TOPOLOGY);
        let Err(error) = memory.change_settings(named("bench-1", 0), now()) else { panic!("nothing can be stored") };
        assert!(error.to_string().starts_with("stored, but not in force"), "{error}");
    }
}
