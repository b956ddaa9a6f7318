//! What every page has around it: navigation, who is logged in, how the box is, how the reader wants it, which version this is. Pure: what it
//! shows is handed to it.

use tbi_api::access::Role;
use tbi_api::health::State;
use tbi_api::status::Status;
use tbi_daemon::ClientError;

use super::look::{Look, Theme, Zone};
use super::next::Next;
use super::words::{Lang, Said};
use super::{Pages, assets, roles_of};
use crate::access::{Identity, page};

/// The navigation, in its order and its groups: path and id of its words. A later page is one line here and one in [`super::PAGES`] or its part.
const NAVIGATION: &[&[(&str, &str)]] = &[
    &[("/", "nav-overview"), ("/setup", "nav-setup")],
    &[("/runs", "nav-runs"), ("/preflight", "nav-preflight")],
    &[("/agents", "nav-agents"), ("/personas", "nav-personas"), ("/dut", "nav-dut"), ("/network", "nav-network")],
    &[("/history", "nav-history"), ("/observability", "nav-observability")],
    &[
        ("/users", "nav-users"),
        ("/sessions", "nav-sessions"),
        ("/tokens", "nav-tokens"),
        ("/certificates", "nav-certificates"),
        ("/audit", "nav-audit"),
    ],
    &[("/licence", "nav-licence"), ("/support", "nav-support"), ("/system", "nav-system"), ("/about", "nav-about")],
];
/// Zones that are offered on every page; the page about preferences has all.
const NEAR_ZONES: [&str; 7] = [
    "UTC",
    "America/Sao_Paulo",
    "America/Manaus",
    "America/New_York",
    "Europe/Lisbon",
    "Europe/Berlin",
    "Asia/Singapore",
];

/// Where to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: &'static str,
    pub(crate) word: &'static str,
    pub(crate) current: bool,
    /// Whether a group begins with it.
    pub(crate) begins: bool,
}

/// One of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) value: String,
    pub(crate) text: String,
    pub(crate) chosen: bool,
}

/// Who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Token of the session's forms; empty without a session.
    pub(crate) token: String,
}

/// How the box is, in a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BoxState {
    pub(crate) host: String,
    pub(crate) state: &'static str,
}

/// Something that cannot be shown, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Banner {
    pub(crate) text: String,
    /// The English sentence of whoever did not answer.
    pub(crate) reason: String,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) title: String,
    pub(crate) path: String,
    pub(crate) next: String,
    pub(crate) person: Option<Person>,
    pub(crate) on_box: Option<BoxState>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) banners: Vec<Banner>,
    pub(crate) version: String,
    pub(crate) commit: Option<String>,
    pub(crate) style: String,
    pub(crate) mark: String,
    pub(crate) script: String,
    /// A session ends when it is not used for so long.
    pub(crate) idle_seconds: u64,
    pub(crate) languages: Vec<Choice>,
    pub(crate) themes: Vec<Choice>,
    pub(crate) zones: Vec<Choice>,
}

impl Frame {
    /// Of a page at `target` (path and query) that nobody is logged in on.
    pub(crate) fn new(look: &Look, title: &str, target: &str) -> Self {
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let choice =
            |value: &str, text: &str, chosen| Choice { value: value.to_owned(), text: text.to_owned(), chosen };
        Self {
            title: title.to_owned(),
            path,
            next: Next::of(target).unwrap_or_else(Next::start).as_str().to_owned(),
            person: None,
            on_box: None,
            entries: Vec::new(),
            banners: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("TBI_COMMIT").map(str::to_owned),
            style: assets::path("style.css"),
            mark: assets::path("mark.svg"),
            script: assets::path("app.js"),
            idle_seconds: page::IDLE.as_secs(),
            languages: Lang::ALL.map(|lang| choice(lang.tag(), lang.own_name(), lang == look.lang)).into(),
            themes: Theme::ALL
                .map(|theme| choice(theme.name(), &look.word("theme-", theme.name()), theme == look.theme))
                .into(),
            zones: zones(&look.zone),
        }
    }

    /// The same for somebody.
    pub(crate) fn of(mut self, person: Person) -> Self {
        let may = |path: &str| roles_of(path).is_some_and(|roles| roles.contains(&person.role));
        let here = |path: &str| match path {
            "/" => self.path == "/",
            path => self.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        };
        self.entries.clear();
        for group in NAVIGATION {
            let shown = group.iter().filter(|(path, _word)| may(path)).enumerate();
            let entries = shown.map(|(at, (path, word))| Entry { path, word, current: here(path), begins: at == 0 });
            self.entries.extend(entries);
        }
        self.person = Some(person);
        self
    }

    /// The same for whoever reads a refusal, when that is known.
    pub(crate) fn of_identity(self, pages: &Pages, identity: Option<&Identity>) -> Self {
        match identity {
            None => self,
            Some(identity) => self.of(Person {
                name: identity.account().name.to_string(),
                role: identity.account().role,
                token: pages.access.form_token(identity).unwrap_or_default(),
            }),
        }
    }

    /// The same with what the agent said of the box, or that it said nothing.
    pub(crate) fn with_status(mut self, look: &Look, status: &Result<Status, ClientError>) -> Self {
        match status {
            Ok(status) => {
                self.on_box = Some(BoxState { host: status.host_name.clone(), state: state_name(status.health) });
                self.version.clone_from(&status.version);
                self.commit.clone_from(&status.commit);
            }
            Err(error) => self.silent(look, error),
        }
        self
    }

    /// The agent did not answer; said once however often it was asked.
    pub(crate) fn silent(&mut self, look: &Look, error: &ClientError) {
        let said = match error {
            ClientError::Problem(_) => Said::new("banner-agent-refused"),
            _ => Said::new("banner-agent-silent"),
        };
        let banner = Banner { text: look.tell(&said).into_owned(), reason: error.to_string() };
        if !self.banners.iter().any(|known| known.text == banner.text) {
            self.banners.push(banner);
        }
    }
}

/// The name of a state in words and classes.
pub(crate) fn state_name(state: State) -> &'static str {
    match state {
        State::Healthy => "healthy",
        State::Starting => "starting",
        State::Degraded => "degraded",
        State::Failed => "failed",
    }
}

fn zones(chosen: &Zone) -> Vec<Choice> {
    let near = NEAR_ZONES.into_iter();
    let other = Some(chosen.name()).filter(|name| !NEAR_ZONES.contains(name));
    let choice = |name: &str| Choice { value: name.to_owned(), text: name.to_owned(), chosen: name == chosen.name() };
    near.chain(other).map(choice).collect()
}
