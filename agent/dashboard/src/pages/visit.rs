//! Somebody logged in at a page: who, how they want it, and what the agent is asked in their name.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use tbi_api::access::Role;
use tbi_api::client::AgentClient;
use tbi_api::status::Status;
use tbi_daemon::ClientError;

use super::Pages;
use super::frame::{Frame, Person};
use super::look::Look;
use super::refused::Refused;
use crate::access::{Visitor, Who};

/// See the module.
pub(crate) struct Visit {
    pub(crate) who: Who,
    pub(crate) look: Look,
    /// Path and query, for the way back.
    pub(crate) target: String,
    pub(crate) agent: AgentClient,
    person: Person,
}

impl Visit {
    pub(crate) fn new(pages: &Pages, who: Who, target: &str) -> Self {
        let person = Person {
            name: who.identity.account().name.to_string(),
            role: who.role,
            token: pages.access.form_token(&who.identity).unwrap_or_default(),
        };
        let agent = pages.agent.clone().on_behalf_of(&who.by);
        Self { look: Look::of(&who.visitor.headers), target: target.to_owned(), agent, person, who }
    }

    /// Token of the session's forms; empty without a session.
    pub(crate) fn token(&self) -> &str {
        &self.person.token
    }

    /// Whether runs are this reader's to order.
    pub(crate) fn may_order(&self) -> bool {
        matches!(self.who.role, Role::Operator | Role::Administrator)
    }

    /// The page's frame; `title` is the id of its words.
    pub(crate) fn frame(&self, title: &str, status: &Result<Status, ClientError>) -> Frame {
        Frame::new(&self.look, &self.look.say(title), &self.target)
            .of(self.person.clone())
            .with_status(&self.look, status)
    }
}

impl FromRequestParts<Arc<Pages>> for Visit {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, pages: &Arc<Pages>) -> Result<Self, Refused> {
        let target = parts.uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
        let who = Who::from_request_parts(parts, &pages.access).await?;
        Ok(Self::new(pages, who, &target))
    }
}

/// Anybody at a page that needs no login.
pub(crate) struct Guest(pub(crate) Visitor);

impl FromRequestParts<Arc<Pages>> for Guest {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, pages: &Arc<Pages>) -> Result<Self, Refused> {
        Ok(Self(Visitor::from_request_parts(parts, &pages.access).await?))
    }
}
