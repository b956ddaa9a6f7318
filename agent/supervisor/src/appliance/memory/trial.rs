//! Settings on trial, as the memory keeps them: what is in force now, with a journal of what comes back. Settings and journal are one
//! transaction, so that a power cut finds both or neither; a journal that is found at the start belongs to a trial that nobody can confirm
//! any more. When a trial is over is not decided here.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tbi_api::access::{By, LOCAL};
use tbi_api::settings::{Change, Management, Settings};
use tbi_api::trial::{Ended, Outcome, Trial};
use tbi_ledger::audit::NewEntry;
use tbi_ledger::{LedgerError, Signer};

use super::{ChangeError, Memory, SETTINGS_FILE, text_of};

/// Document of the trial that is on.
const JOURNAL: &str = "settings.trial";
/// Document of how the last one ended.
const LAST: &str = "settings.trial.last";

/// What comes back, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// Version of the settings on trial.
    pub(crate) version: u64,
    /// The network on trial.
    pub(crate) management: Management,
    /// Everything that comes back.
    pub(crate) before: Settings,
    pub(crate) begun: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) by: String,
}

impl Journal {
    /// In the words of the API.
    pub(crate) fn shown(&self, seconds_left: u64) -> Trial {
        Trial {
            version: self.version,
            management: self.management.clone(),
            before: self.before.management.clone(),
            begun: self.begun.to_string(),
            until: self.until.to_string(),
            seconds_left,
            by: self.by.clone(),
        }
    }
}

impl Memory {
    /// The trial that is on.
    #[cfg(test)]
    pub(crate) fn trial(&self) -> Option<&Journal> {
        self.in_force.trial.as_ref()
    }

    /// How the last one ended.
    pub(crate) fn last_trial(&self) -> Result<Option<Ended>, LedgerError> {
        Ok(self.ledger.document(LAST)?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Puts a management network in force, to be taken back after `seconds`.
    ///
    /// # Errors
    /// [`ChangeError`]; unless it is [`ChangeError::File`], nothing was changed.
    pub(crate) fn begin_trial(
        &mut self,
        based_on: u64,
        management: Management,
        seconds: u32,
        by: &By,
        now: Timestamp,
    ) -> Result<Journal, ChangeError> {
        let before = self.in_force.snapshot.settings.clone();
        let settings = Settings { management: management.clone(), ..before.clone() };
        let journal = Journal {
            version: based_on + 1,
            management,
            before,
            begun: now,
            until: now.checked_add(SignedDuration::from_secs(seconds.into())).unwrap_or(now),
            by: by.actor.clone(),
        };
        let kept = journal.clone();
        // Set before the file is written: a trial whose file failed must be taken back, too.
        self.change_settings_with(Change { based_on, settings }, now, move |ledger| {
            ledger.keep_document(JOURNAL, &serde_json::to_string(&kept).unwrap_or_default())
        })
        .inspect_err(|error| tracing::warn!(%error, "a trial did not begin"))
        .or_else(|error| {
            if matches!(error, ChangeError::File(_)) { Ok(self.in_force.snapshot.clone()) } else { Err(error) }
        })?;
        self.in_force.trial = Some(journal.clone());
        self.in_force.trial_sentence = None;
        Ok(journal)
    }

    /// Keeps what is on trial.
    ///
    /// # Errors
    /// [`ChangeError::NoTrial`], or the database's.
    pub(crate) fn confirm_trial(&mut self, now: Timestamp) -> Result<Ended, ChangeError> {
        let journal = self.in_force.trial.clone().ok_or(ChangeError::NoTrial)?;
        let ended = Ended {
            outcome: Outcome::Confirmed,
            when: now.to_string(),
            sentence: format!("The management network of version {} was kept.", journal.version),
        };
        let text = serde_json::to_string(&ended).unwrap_or_default();
        let kept = self.ledger.together(|ledger| {
            ledger.forget_document(JOURNAL)?;
            ledger.keep_document(LAST, &text)
        });
        kept.map_err(|source| ChangeError::Ledger { what: "the trial is not confirmed", source })?;
        self.in_force.trial = None;
        Ok(ended)
    }

    /// Brings back what was before. What the ledger cannot keep is in force all the same, and brought back once more at the next start.
    ///
    /// # Errors
    /// [`ChangeError::NoTrial`], or why it is not kept.
    pub(crate) fn revert_trial(
        &mut self,
        outcome: Outcome,
        key: &dyn Signer,
        now: Timestamp,
    ) -> Result<Ended, ChangeError> {
        let journal = self.in_force.trial.clone().ok_or(ChangeError::NoTrial)?;
        let ended = Ended { outcome, when: now.to_string(), sentence: sentence(&journal, outcome) };
        let (last, body) = (serde_json::to_string(&ended).unwrap_or_default(), text_of(&journal.before));
        let detail = json!({
            "why": ended.sentence, "begun_by": journal.by,
            "before": journal.management, "after": journal.before.management,
        });
        let current = self.ledger.settings().ok().flatten().map_or(0, |stored| stored.version);
        let stored = self.ledger.together(|ledger| {
            let stored = ledger.store_settings(current, &body, now)?;
            ledger.forget_document(JOURNAL)?;
            ledger.keep_document(LAST, &last)?;
            // Somebody who takes it back has an entry of their own.
            if outcome != Outcome::Withdrawn {
                let entry = NewEntry {
                    actor: "agent",
                    role: "none",
                    source: LOCAL,
                    action: "settings.trial.revert",
                    target: "/v1/settings/trial",
                    outcome: "done",
                    detail: &detail,
                    correlation: "",
                };
                ledger.append(&entry, key, now)?;
            }
            Ok::<_, LedgerError>(stored)
        });
        let ranges = super::ranges(&self.in_force.topology);
        if let Ok(checked) = super::CheckedSettings::parse(&journal.before, &ranges) {
            self.in_force.checked = checked;
        }
        self.in_force.snapshot.settings = journal.before;
        self.in_force.trial_sentence = (outcome != Outcome::Withdrawn).then(|| ended.sentence.clone());
        let written = self.write(SETTINGS_FILE, &body);
        let stored = stored.map_err(|source| ChangeError::Ledger { what: "the trial is not over", source })?;
        self.in_force.snapshot.version = stored.version;
        self.in_force.snapshot.changed = stored.changed;
        self.in_force.trial = None;
        written?;
        Ok(ended)
    }
}

/// The trial that a start finds.
pub(super) fn found(ledger: &tbi_ledger::Ledger) -> Option<Journal> {
    let text = ledger.document(JOURNAL).ok().flatten()?;
    serde_json::from_str(&text)
        .inspect_err(
            |error| tracing::error!(%error, "the journal of a trial cannot be read; the settings stay as they are"),
        )
        .ok()
}

fn sentence(journal: &Journal, outcome: Outcome) -> String {
    let what = "The management network that was on trial was taken back";
    let by = &journal.by;
    match outcome {
        Outcome::Restarted => format!(
            "{what}, because the agent or the machine started again before it was confirmed ({by} had begun it at {}); try it again.",
            journal.begun
        ),
        Outcome::TimedOut | Outcome::Confirmed => format!(
            "{what}, because nobody confirmed it until {} ({by} had begun it); check addresses and cable, then try it again.",
            journal.until
        ),
        Outcome::Withdrawn => format!("{what} by hand ({by} had begun it)."),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::fs;
    use std::path::Path;

    use tbi_api::settings::Addressing;

    use super::*;

    #[derive(Debug)]
    struct NoKey;

    impl Signer for NoKey {
        fn public_key(&self) -> &[u8] {
            &[4]
        }

        fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, tbi_ledger::SignError> {
            Ok(vec![0; 64])
        }
    }

    fn somebody() -> By {
        By { actor: "anna".to_owned(), role: None, source: LOCAL.to_owned(), correlation_id: String::new() }
    }

    fn now() -> Timestamp {
        "2026-01-31T23:59:59Z".parse().unwrap()
    }

    fn fixed() -> Management {
        let json = r#"{"addressing":{"method":"static","address":"192.0.2.10/24","gateway":"192.0.2.1","dns":[]}}"#;
        serde_json::from_str(json).unwrap()
    }

    fn on_disk(dir: &Path) -> Settings {
        serde_json::from_str(&fs::read_to_string(dir.join(SETTINGS_FILE)).unwrap()).unwrap()
    }

    fn begun(dir: &Path) -> Memory {
        let mut memory = Memory::open(dir, now());
        let named = Settings { host_name: "bench-1".to_owned(), ..Settings::default() };
        memory.change_settings(Change { based_on: 0, settings: named }, now()).unwrap();
        memory.begin_trial(1, fixed(), 60, &somebody(), now()).unwrap();
        assert_eq!(on_disk(dir).management, fixed(), "a trial is in force at once");
        memory
    }

    #[test]
    fn a_trial_that_is_confirmed_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = begun(dir.path());
        assert_eq!(memory.trial().unwrap().until.to_string(), "2026-02-01T00:00:59Z");
        assert_eq!(memory.confirm_trial(now()).unwrap().outcome, Outcome::Confirmed);
        assert!(matches!(memory.confirm_trial(now()), Err(ChangeError::NoTrial)));
        drop(memory);
        let memory = Memory::open(dir.path(), now());
        assert_eq!((memory.trial(), &memory.in_force().snapshot.settings.management), (None, &fixed()));
        assert_eq!(memory.last_trial().unwrap().unwrap().outcome, Outcome::Confirmed);
    }

    #[test]
    fn a_trial_of_a_killed_agent_is_found_and_taken_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        // No orderly end.
        std::mem::forget(begun(dir.path()));
        let mut memory = Memory::open(dir.path(), now());
        assert_eq!(memory.trial().unwrap().by, "anna");
        let ended = memory.revert_trial(Outcome::Restarted, &NoKey, now()).unwrap();
        assert!(ended.sentence.contains("started again"), "{ended:?}");
        for settings in [&memory.in_force().snapshot.settings, &on_disk(dir.path())] {
            assert_eq!((settings.host_name.as_str(), &settings.management.addressing), ("bench-1", &Addressing::Dhcp));
        }
        assert_eq!(memory.in_force().trial_sentence.as_ref(), Some(&ended.sentence));
        assert!(matches!(memory.revert_trial(Outcome::TimedOut, &NoKey, now()), Err(ChangeError::NoTrial)));
        drop(memory);
        let mut memory = Memory::open(dir.path(), now());
        assert_eq!((memory.trial(), memory.in_force().snapshot.version), (None, 3));
        let entries =
            memory.ledger().audit_entries(&tbi_ledger::audit::AuditFilter { limit: 1, ..Default::default() }).unwrap();
        assert_eq!(entries.first().map(|entry| entry.action.as_str()), Some("settings.trial.revert"));
    }

    #[test]
    fn while_a_trial_is_on_nothing_else_of_the_settings_changes() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = begun(dir.path());
        let second = memory.begin_trial(2, fixed(), 60, &somebody(), now());
        assert!(matches!(second, Err(ChangeError::OnTrial)), "{second:?}");
        let change = Change { based_on: 2, settings: Settings::default() };
        assert!(matches!(memory.change_settings(change, now()), Err(ChangeError::OnTrial)));
        let yaml = super::super::BUILTIN_TOPOLOGY;
        assert!(matches!(memory.change_topology(yaml, now()), Err(ChangeError::OnTrial)));
    }

    #[test]
    fn a_network_that_cannot_be_is_never_tried() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path(), now());
        let json = r#"{"addressing":{"method":"static","address":"172.16.0.9/24","gateway":null,"dns":[]}}"#;
        let wrong = serde_json::from_str(json).unwrap();
        assert!(matches!(memory.begin_trial(0, wrong, 60, &somebody(), now()), Err(ChangeError::Settings(_))));
        assert!(matches!(memory.begin_trial(7, fixed(), 60, &somebody(), now()), Err(ChangeError::Ledger { .. })));
        assert_eq!((memory.trial(), memory.in_force().snapshot.version), (None, 0));
        assert!(!dir.path().join(SETTINGS_FILE).exists());
    }
}
