//! A page that asks why something is to end, before it does: what it is, one field for the reason, the way back, the same as an API call. What
//! ends, and whether somebody may end it, is for the page that makes it. Invariant: a reason that is refused comes back as it was typed.

use askama::Template;
use axum::response::Response;
use tbi_api::status::Status;
use tbi_daemon::ClientError;

use super::api_call::ApiCall;
use super::form::Fields;
use super::frame::Frame;
use super::look::Look;
use super::unprocessable;
use super::visit::Visit;

/// What ends, in words of the reader's language unless said otherwise.
pub(super) struct Deed {
    /// Identifier of the page's title.
    pub(super) title: &'static str,
    /// Identifier of what happens then.
    pub(super) lead: &'static str,
    /// Identifier of what the button says.
    pub(super) button: &'static str,
    /// Identifier of what the way back says.
    pub(super) back_words: &'static str,
    /// Where the way back leads.
    pub(super) back: String,
    /// Where the form is sent.
    pub(super) action: String,
    pub(super) facts: Vec<Fact>,
    pub(super) call: ApiCall,
}

/// A line about what ends.
pub(super) struct Fact {
    label: String,
    text: String,
    is_code: bool,
    /// Words of a state, with their class.
    state: Option<(&'static str, String)>,
}

impl Fact {
    /// Of a label's identifier.
    pub(super) fn text(look: &Look, label: &str, text: impl Into<String>) -> Self {
        Self { label: look.say(label).into_owned(), text: text.into(), is_code: false, state: None }
    }

    /// What is compared letter by letter.
    pub(super) fn code(label: impl Into<String>, text: impl Into<String>) -> Self {
        Self { label: label.into(), text: text.into(), is_code: true, state: None }
    }

    pub(super) fn in_state(self, class: &'static str, words: String) -> Self {
        Self { state: Some((class, words)), ..self }
    }
}

/// The page.
#[derive(Template)]
#[template(path = "why.html")]
pub(super) struct Why {
    look: Look,
    frame: Frame,
    token: String,
    deed: Deed,
    reason: String,
    reason_error: Option<String>,
}

impl Why {
    pub(super) fn new(visit: &Visit, status: &Result<Status, ClientError>, deed: Deed) -> Self {
        Self {
            frame: visit.frame(deed.title, status),
            token: visit.token().to_owned(),
            deed,
            reason: String::new(),
            reason_error: None,
            look: visit.look.clone(),
        }
    }

    /// The same once more, with what was typed and what is wrong with it.
    pub(super) fn again(mut self, fields: &Fields, error: String) -> Response {
        (self.reason, self.reason_error) = (fields.text("reason").to_owned(), Some(error));
        unprocessable(&self)
    }
}
