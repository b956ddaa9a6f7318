//! What a step's page consists of: facts, tables, one form with its fields, and what is wrong with it. All texts are in the reader's language
//! but those that are marked as the agent's.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tbi_api::setup::{Finding, FindingVerdict};
use tbi_daemon::ClientError;

use super::super::form::Fields;
use super::super::frame::{Banner, Choice};
use super::super::look::Look;
use super::super::rooms::qr::{Picture, picture};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) lead: String,
    pub(super) banner: Option<Banner>,
    /// Something to know that is not wrong.
    pub(super) notice: Option<String>,
    /// What went well.
    pub(super) good: Option<String>,
    pub(super) facts: Vec<Fact>,
    pub(super) tables: Vec<Table>,
    pub(super) links: Vec<(String, String)>,
    /// A URL to be photographed by another machine than the one the page is read on.
    pub(super) code: Option<Code>,
    pub(super) fields: Vec<Field>,
    /// Fields that nobody sees.
    pub(super) hidden: Vec<(&'static str, String)>,
    /// What the form's button says; none: nothing is typed here.
    pub(super) keep: Option<String>,
    /// Other buttons of the page, each a form: the action, and its words.
    pub(super) buttons: Vec<(&'static str, String)>,
    /// What the button says that ends the step; none: it is ended by `keep`, or not now.
    pub(super) done: Option<String>,
    /// A box to tick beside that button, with what is wrong with it.
    pub(super) tick: Option<Field>,
    /// Seconds after which there is something else to see here.
    pub(super) reload_after: Option<u64>,
}

/// A URL as a QR code.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) picture: Picture,
    /// What it leads to, for whoever does not see it.
    pub(super) url: String,
}

#[derive(Debug)]
pub(super) struct Fact {
    pub(super) label: String,
    pub(super) value: String,
    pub(super) code: bool,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) id: &'static str,
    pub(super) title: String,
    pub(super) heads: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// What a row's button does, its words, and the row's own value for it.
    pub(super) action: Option<(&'static str, String, Vec<String>)>,
}

#[derive(Debug)]
pub(super) struct Cell {
    pub(super) text: String,
    /// The agent's English.
    pub(super) english: bool,
    /// A state: the class that goes with it.
    pub(super) state: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) id: &'static str,
    pub(super) kind: Kind,
    pub(super) label: String,
    pub(super) hint: Option<String>,
    pub(super) value: String,
    pub(super) error: Option<String>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Text { most: u32 },
    Password,
    Area { rows: u32 },
    Select(Vec<Choice>),
}

impl View {
    pub(super) fn new(look: &Look, name: &str) -> Self {
        Self { lead: look.word("setup-lead-", name).into_owned(), ..Self::default() }
    }

    pub(super) fn fact(&mut self, label: Cow<'_, str>, value: impl Into<String>) {
        self.facts.push(Fact { label: label.into_owned(), value: value.into(), code: false });
    }

    /// A fact that is compared letter by letter.
    pub(super) fn code(&mut self, label: Cow<'_, str>, value: impl Into<String>) {
        self.facts.push(Fact { label: label.into_owned(), value: value.into(), code: true });
    }

    /// A URL as a QR code; one that is too long for it stands in the facts all the same.
    pub(super) fn show_code(&mut self, url: &str) {
        self.code = picture(url).map(|picture| Code { picture, url: url.to_owned() });
    }

    /// Puts what is wrong where it belongs.
    pub(super) fn take(&mut self, problems: Problems) {
        let Problems { mut at, page } = problems;
        for field in self.fields.iter_mut().chain(&mut self.tick) {
            field.error = at.remove(field.id).or(field.error.take());
        }
        // A field that is not shown any more says it at the page.
        let homeless = at.into_values().next().map(|text| Banner { text, reason: String::new() });
        self.banner = page.or(homeless).or(self.banner.take());
    }

    /// A part that the agent did not tell.
    pub(super) fn unknown(&mut self, look: &Look, error: &ClientError) {
        self.banner
            .get_or_insert_with(|| Banner { text: look.say("not-known").into_owned(), reason: error.to_string() });
    }
}

impl Table {
    /// What the button of a row sends.
    pub(super) fn value(&self, row: &usize) -> &str {
        let values = self.action.as_ref().map(|(_, _, values)| values);
        values.and_then(|values| values.get(*row)).map_or("", String::as_str)
    }
}

impl Field {
    /// With what was typed, or else what is in force.
    pub(super) fn new(
        id: &'static str,
        kind: Kind,
        label: Cow<'_, str>,
        typed: Option<&Fields>,
        stored: impl Into<String>,
    ) -> Self {
        let value = match kind {
            Kind::Password => String::new(),
            _ => typed.map_or_else(|| stored.into(), |typed| typed.text(id).to_owned()),
        };
        Self { id, kind, label: label.into_owned(), hint: None, value, error: None }
    }

    pub(super) fn hint(mut self, hint: Cow<'_, str>) -> Self {
        self.hint = Some(hint.into_owned());
        self
    }

    /// One of several, by value and words.
    pub(super) fn select(
        id: &'static str,
        label: Cow<'_, str>,
        typed: Option<&Fields>,
        stored: impl Into<String>,
        choices: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut field = Self::new(id, Kind::Select(Vec::new()), label, typed, stored);
        let choice = |(value, text): (String, String)| Choice { chosen: value == field.value, value, text };
        field.kind = Kind::Select(choices.into_iter().map(choice).collect());
        field
    }

    pub(super) fn described_by(&self) -> String {
        let error = self.error.as_ref().map(|_| format!("{}-error", self.id));
        let hint = self.hint.as_ref().map(|_| format!("{}-hint", self.id));
        [error, hint].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), english: false, state: None }
    }

    pub(super) fn english(text: impl Into<String>) -> Self {
        Self { text: text.into(), english: true, state: None }
    }

    pub(super) fn state(text: Cow<'_, str>, state: &'static str) -> Self {
        Self { text: text.into_owned(), english: false, state: Some(state) }
    }
}

/// What was found, as a table.
pub(super) fn findings(look: &Look, found: &[Finding]) -> Table {
    let row = |finding: &Finding| {
        let (verdict, class) = match finding.verdict {
            FindingVerdict::Passed => (look.say("setup-verdict-passed"), "healthy"),
            FindingVerdict::Warning => (look.say("setup-verdict-warning"), "degraded"),
            FindingVerdict::Failed => (look.say("setup-verdict-failed"), "failed"),
            FindingVerdict::NotChecked => (look.say("setup-verdict-not_checked"), "starting"),
        };
        vec![
            Cell::text(finding.name.clone()),
            Cell::state(verdict, class),
            Cell::english(finding.evidence.clone()),
            Cell::english(finding.remedy.clone()),
        ]
    };
    Table {
        id: "found",
        title: look.say("setup-found").into_owned(),
        heads: [
            look.say("setup-found-what"),
            look.say("setup-found-verdict"),
            look.say("setup-found-evidence"),
            look.say("setup-found-remedy"),
        ]
        .map(Cow::into_owned)
        .into(),
        rows: found.iter().map(row).collect(),
        action: None,
    }
}

/// What is wrong with a form.
#[derive(Debug, Default)]
pub(super) struct Problems {
    at: BTreeMap<&'static str, String>,
    page: Option<Banner>,
}

impl Problems {
    pub(super) fn at(field: &'static str, text: Cow<'_, str>) -> Self {
        Self { at: [(field, text.into_owned())].into(), page: None }
    }

    pub(super) fn page(text: Cow<'_, str>) -> Self {
        Self { at: BTreeMap::new(), page: Some(Banner { text: text.into_owned(), reason: String::new() }) }
    }

    /// A refusal of the agent's, with its sentence.
    pub(super) fn of(look: &Look, error: &ClientError) -> Self {
        let page = match error.code() {
            Some("settings-changed") => Banner { text: look.say("setup-changed").into_owned(), reason: String::new() },
            _ => super::refused(look, error),
        };
        Self { at: BTreeMap::new(), page: Some(page) }
    }

    /// The same, and at this field that it is meant.
    pub(super) fn and(mut self, field: &'static str, text: Cow<'_, str>) -> Self {
        self.at.entry(field).or_insert_with(|| text.into_owned());
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at.is_empty() && self.page.is_none()
    }
}
