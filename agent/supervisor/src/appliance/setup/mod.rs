//! The first-boot wizard as the agent knows it: which steps there are, which of them are done, and that it is finished. What a step sets has
//! its own place (settings, topology, [`device`], [`authorities`], the locale here); a step is only marked, and only when what it stands for
//! is there.
//!
//! | module | job |
//! |---|---|
//! | [`steps`] | the table of steps, and when each counts as done |
//! | [`device`], [`authorities`] | the device under test, and whose signatures it makes |
//! | [`capabilities`] | what is documented of each kind of device |
//! | [`clock`], [`trunk`], [`wire`] | what is found of the clock, of the card towards the device, and on its wire; pure |
//!
//! Invariants: a mark is on disk before it is answered, so that reload, restart and power cut lose none; a finished setup is never changed
//! again.

pub(crate) mod authorities;
mod capabilities;
pub(crate) mod clock;
pub(crate) mod device;
pub(crate) mod steps;
#[cfg(test)]
mod tests;
pub(crate) mod trunk;
mod wire;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tbi_api::access::By;
use tbi_api::setup::{Locale, Mark, Setup, Step, StepState};
use tbi_bench::preflight::Bypass;
use tbi_ledger::{Ledger, LedgerError};

use self::steps::{Checked, Facts, STEPS, StepKind};
use super::node::{Appliance, Lost};

/// Document of the marks.
const DOCUMENT: &str = "setup";
/// Document of language and zone.
const LOCALE: &str = "locale";
/// Languages of pages and console.
const LANGUAGES: [&str; 2] = ["en", "pt-BR"];

/// What is kept. Fields and names of a later release are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    marks: BTreeMap<String, Marked>,
    finished: Option<Timestamp>,
}

/// One mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marked {
    state: StepState,
    when: Timestamp,
    by: String,
    /// Why it is done although what it stands for is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Marked {
    fn new(state: StepState, when: Timestamp, by: &By) -> Self {
        Self { state, when, by: by.actor.clone(), reason: None }
    }
}

/// Why the setup goes no further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error(
        "the setup was finished at {0}; it cannot be done again: change what it set on the pages of settings, device and accounts"
    )]
    Finished(Timestamp),
    #[error("there is no step of this name; GET /v1/setup lists them")]
    NoSuchStep,
    #[error("the step '{0}' cannot be left out")]
    NotOptional(&'static str),
    #[error("the step '{step}' is not done: {why}")]
    NotDone { step: &'static str, why: String },
    #[error("the setup is not complete: the step '{0}' is neither done nor left out")]
    Incomplete(&'static str),
    #[error("language '{0}' is not spoken here; choose en or pt-BR")]
    Language(String),
    #[error("'{0}' is no time zone that is known here; give its IANA name, such as America/Sao_Paulo or UTC")]
    Zone(String),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<Lost> for SetupError {
    fn from(lost: Lost) -> Self {
        Self::Ledger(lost.into())
    }
}

impl Record {
    fn read(ledger: &Ledger) -> Result<Self, LedgerError> {
        Ok(ledger.document(DOCUMENT)?.and_then(|text| understood(DOCUMENT, &text)).unwrap_or_default())
    }

    fn keep(&self, ledger: &mut Ledger) -> Result<(), LedgerError> {
        ledger.keep_document(DOCUMENT, &text_of(self))
    }

    fn unfinished(&self) -> Result<(), SetupError> {
        self.finished.map_or(Ok(()), |at| Err(SetupError::Finished(at)))
    }

    /// How a step is, with what is known besides marks.
    fn state_of(&self, step: &StepKind, facts: &Facts) -> StepState {
        match self.marks.get(step.name) {
            Some(mark) => mark.state,
            None if step.by_itself && (step.is_done)(facts).is_ok() => StepState::Done,
            None => StepState::Todo,
        }
    }

    fn shown(&self, facts: &Facts) -> Setup {
        let step = |kind: &StepKind| {
            let mark = self.marks.get(kind.name);
            Step {
                name: kind.name.to_owned(),
                state: self.state_of(kind, facts),
                when: mark.map(|mark| mark.when.to_string()),
                by: mark.map(|mark| mark.by.clone()),
                reason: mark.and_then(|mark| mark.reason.clone()),
                optional: kind.optional,
                sentence: kind.sentence.to_owned(),
            }
        };
        let steps: Vec<Step> = STEPS.iter().map(step).collect();
        let current = match self.finished {
            Some(_) => None,
            None => steps.iter().find(|step| step.state == StepState::Todo).map(|step| step.name.clone()),
        };
        Setup { steps, current, finished: self.finished.map(|at| at.to_string()) }
    }

    /// Takes a mark. Pure.
    fn mark(&mut self, name: &str, mark: &Mark, facts: &Facts, by: &By, now: Timestamp) -> Result<(), SetupError> {
        self.unfinished()?;
        let step = steps::named(name).ok_or(SetupError::NoSuchStep)?;
        let mut marked = Marked::new(mark.state, now, by);
        match mark.state {
            StepState::Todo => {
                self.marks.remove(step.name);
                return Ok(());
            }
            StepState::Skipped if !step.optional => return Err(SetupError::NotOptional(step.name)),
            StepState::Skipped => {}
            StepState::Done => {
                let done = match (step.name, &mark.reason) {
                    ("certificate", _) => facts.certificate_is(mark.certificate_sha256.as_deref()),
                    ("preflight", Some(reason)) if facts.preflight == Checked::Shut => {
                        let bypass = Bypass::new(reason, by.actor.clone()).map_err(|error| error.to_string());
                        bypass.map(|bypass| marked.reason = Some(bypass.reason))
                    }
                    _ => (step.is_done)(facts),
                };
                done.map_err(|why| SetupError::NotDone { step: step.name, why })?;
            }
        }
        self.marks.insert(step.name.to_owned(), marked);
        Ok(())
    }

    fn finish(&mut self, facts: &Facts, by: &By, now: Timestamp) -> Result<(), SetupError> {
        self.unfinished()?;
        for step in STEPS.iter().filter(|step| step.name != steps::LAST) {
            match self.state_of(step, facts) {
                StepState::Todo => return Err(SetupError::Incomplete(step.name)),
                // Kept, so that a later look does not depend on what was true by itself today.
                state => {
                    self.marks.entry(step.name.to_owned()).or_insert_with(|| Marked::new(state, now, by));
                }
            }
        }
        self.marks.insert(steps::LAST.to_owned(), Marked::new(StepState::Done, now, by));
        self.finished = Some(now);
        Ok(())
    }
}

impl Appliance {
    /// What the steps stand for, as it is now.
    async fn setup_facts(&self) -> Result<Facts, SetupError> {
        let door = self.door_certificate().map(|certificate| certificate.leaf_sha256.as_str().to_owned());
        let settings = self.in_force();
        let known = self.ledger(|ledger, _| {
            let claimed = ledger.accounts()?.iter().map(|account| account.created).min();
            let locale = ledger.document(LOCALE)?.is_some();
            let device = device::Described::read(ledger)?.map(|described| described.kind);
            Ok::<_, SetupError>((claimed, locale, device, authorities::Kept::read(ledger)?.count()))
        });
        let (claimed, locale, device, authorities) = known.await?;
        Ok(Facts {
            has_accounts: claimed.is_some(),
            locale,
            on_trial: settings.trial.is_some(),
            door_certificate: door,
            trunk: settings.checked.wanted.trunk.is_some(),
            device,
            authorities,
            preflight: Checked::of(&self.checks().examination(), claimed, Timestamp::now()),
        })
    }

    /// How far the setup is.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn setup(&self) -> Result<Setup, SetupError> {
        let facts = self.setup_facts().await?;
        self.ledger(move |ledger, _| Ok(Record::read(ledger)?.shown(&facts))).await
    }

    /// Marks a step.
    ///
    /// # Errors
    /// [`SetupError`].
    pub(crate) async fn mark_step(&self, name: String, mark: Mark, by: By) -> Result<Setup, SetupError> {
        let facts = self.setup_facts().await?;
        self.change_setup(facts, move |record, facts| record.mark(&name, &mark, facts, &by, Timestamp::now())).await
    }

    /// Ends the setup for good.
    ///
    /// # Errors
    /// [`SetupError`].
    pub(crate) async fn finish_setup(&self, by: By) -> Result<Setup, SetupError> {
        let facts = self.setup_facts().await?;
        self.change_setup(facts, move |record, facts| record.finish(facts, &by, Timestamp::now())).await
    }

    async fn change_setup(
        &self,
        facts: Facts,
        change: impl FnOnce(&mut Record, &Facts) -> Result<(), SetupError> + Send + 'static,
    ) -> Result<Setup, SetupError> {
        let changed = self.ledger(move |ledger, _| {
            // Read and written under one lock: two marks at once are both kept.
            ledger.together(|ledger| {
                let mut record = Record::read(ledger)?;
                change(&mut record, &facts)?;
                record.keep(ledger)?;
                Ok(record.shown(&facts))
            })
        });
        changed.await
    }

    /// Language and zone of the box.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn locale(&self) -> Result<Locale, SetupError> {
        let read = |ledger: &mut Ledger, _: &dyn tbi_ledger::Signer| {
            let kept = ledger.document(LOCALE)?.and_then(|text| understood(LOCALE, &text));
            Ok(kept.unwrap_or_default())
        };
        self.ledger(read).await
    }

    /// Chooses them.
    ///
    /// # Errors
    /// [`SetupError`].
    pub(crate) async fn change_locale(&self, locale: Locale) -> Result<Locale, SetupError> {
        check_locale(&locale)?;
        let keep = move |ledger: &mut Ledger, _: &dyn tbi_ledger::Signer| {
            ledger.keep_document(LOCALE, &text_of(&locale))?;
            Ok(locale)
        };
        self.ledger(keep).await
    }
}

fn check_locale(locale: &Locale) -> Result<(), SetupError> {
    let some = |text: &str| text.chars().take(64).flat_map(char::escape_default).collect::<String>();
    if !LANGUAGES.contains(&locale.language.as_str()) {
        return Err(SetupError::Language(some(&locale.language)));
    }
    // Zone data is in the program that shows times, not here, where none is shown: the form of the name is looked at, and nothing else.
    let words = locale.zone.split('/').all(|word| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+'))
    });
    if !words || locale.zone.len() > 64 {
        return Err(SetupError::Zone(some(&locale.zone)));
    }
    Ok(())
}

fn text_of(value: &impl Serialize) -> String {
    // Plain structs of texts and numbers do not fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// A document that cannot be read is as good as none: the setup is asked for again, and nothing that it set is lost.
fn understood<T: for<'a> Deserialize<'a>>(name: &str, text: &str) -> Option<T> {
    serde_json::from_str(text)
        .inspect_err(|error| tracing::error!(name, %error, "a document of the database cannot be read"))
        .ok()
}
