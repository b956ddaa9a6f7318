//! What the pages ask of access: the operations of the API as values, without JSON in between. It decides nothing that the API does not decide,
//! and goes the same ways, so that a login through a page is delayed, counted and audited as any other.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use tbi_api::access::{Account, Session};
use tbi_daemon::ApiJson;

use super::Access;
use super::answer::Answer;
use super::credentials;
use super::first::{self, Claim};
use super::identify::{Identity, Proof};
use super::login::{self, Login, StepUp};
use super::users::{self, NewUser, UserChange};
use super::who::{Visitor, Who};
use crate::gate::Peer;

/// Cookies that an operation hands out, to go with whatever answer the page gives.
#[derive(Debug, Default)]
pub(crate) struct Cookies(Vec<HeaderValue>);

impl Cookies {
    fn of(response: &Response) -> Self {
        Self(response.headers().get_all(header::SET_COOKIE).iter().cloned().collect())
    }

    /// Puts them on an answer.
    pub(crate) fn put(self, response: &mut Response) {
        for cookie in self.0 {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
}

impl Access {
    /// Whether there is an account at all.
    pub(crate) async fn is_claimed(&self) -> Answer<bool> {
        Ok(!self.accounts.accounts().await?.is_empty())
    }

    /// Who reads a page that anybody may read, by the session. A password or token in a header is not looked at: the gate may have done so
    /// already, and another look would count as another try.
    pub(crate) async fn reader(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
        correlation_id: &str,
    ) -> Answer<Option<Identity>> {
        if headers.contains_key(header::AUTHORIZATION) {
            return Ok(None);
        }
        self.identify(headers, peer, correlation_id).await
    }

    /// The token that a form of this session carries; `None` without a session.
    pub(crate) fn form_token(&self, identity: &Identity) -> Option<String> {
        match &identity.proof {
            Proof::Session { id, .. } => Some(self.csrf_of(id).reveal().to_owned()),
            Proof::Token(_) | Proof::Password(_) | Proof::Certificate(_) => None,
        }
    }

    /// Whether a form carries the token of its session.
    pub(crate) fn form_token_is(&self, identity: &Identity, given: &str) -> bool {
        match &identity.proof {
            Proof::Session { id, .. } => id.csrf_is(&self.keys, given.as_bytes()),
            Proof::Token(_) | Proof::Password(_) | Proof::Certificate(_) => false,
        }
    }
}

/// As `POST /api/v1/access/login`.
pub(crate) async fn log_in(access: &Arc<Access>, visitor: Visitor, order: Login) -> Answer<Cookies> {
    login::login(State(Arc::clone(access)), visitor, ApiJson(order)).await.map(|response| Cookies::of(&response))
}

/// As `POST /api/v1/access/logout`.
pub(crate) async fn log_out(access: &Arc<Access>, who: Who) -> Answer<Cookies> {
    login::logout(State(Arc::clone(access)), who).await.map(|response| Cookies::of(&response))
}

/// As `POST /api/v1/access/first-administrator`.
pub(crate) async fn claim(access: &Arc<Access>, visitor: Visitor, order: Claim) -> Answer<Account> {
    first::create(State(Arc::clone(access)), visitor, ApiJson(order)).await.map(|(_created, Json(account))| account)
}

/// As `GET /api/v1/access/users`.
pub(crate) async fn users(access: &Arc<Access>, who: Who) -> Answer<Vec<Account>> {
    users::list(State(Arc::clone(access)), who).await.map(|Json(accounts)| accounts)
}

/// As `GET /api/v1/access/sessions`.
pub(crate) async fn sessions(access: &Arc<Access>, who: Who) -> Answer<Vec<Session>> {
    credentials::sessions(State(Arc::clone(access)), who).await.map(|Json(sessions)| sessions)
}

/// As `DELETE /api/v1/access/sessions/{hash}`.
pub(crate) async fn end_session(access: &Arc<Access>, who: Who, hash: String) -> Answer<()> {
    credentials::end_session(State(Arc::clone(access)), who, Path(hash)).await.map(|_ended| ())
}

/// As `POST /api/v1/access/step-up`.
pub(crate) async fn step_up(access: &Arc<Access>, who: Who, order: StepUp) -> Answer<Cookies> {
    login::step_up(State(Arc::clone(access)), who, ApiJson(order)).await.map(|response| Cookies::of(&response))
}

/// As `GET /api/v1/access/users/{name}`.
pub(crate) async fn user(access: &Arc<Access>, who: Who, name: &str) -> Answer<Account> {
    users::one(State(Arc::clone(access)), who, Path(name.to_owned())).await.map(|Json(account)| account)
}

/// As `POST /api/v1/access/users`.
pub(crate) async fn create_user(access: &Arc<Access>, who: Who, order: NewUser) -> Answer<Account> {
    users::create(State(Arc::clone(access)), who, ApiJson(order)).await.map(|(_created, Json(account))| account)
}

/// As `PATCH /api/v1/access/users/{name}`.
pub(crate) async fn change_user(access: &Arc<Access>, who: Who, name: &str, order: UserChange) -> Answer<Account> {
    let changed = users::change(State(Arc::clone(access)), who, Path(name.to_owned()), ApiJson(order)).await;
    changed.map(|Json(account)| account)
}

/// As `DELETE /api/v1/access/users/{name}`.
pub(crate) async fn remove_user(access: &Arc<Access>, who: Who, name: &str) -> Answer<()> {
    users::remove(State(Arc::clone(access)), who, Path(name.to_owned())).await.map(|_removed| ())
}

/// As `DELETE /api/v1/access/users/{name}/sessions`.
pub(crate) async fn end_sessions(access: &Arc<Access>, who: Who, name: &str) -> Answer<()> {
    users::end_sessions(State(Arc::clone(access)), who, Path(name.to_owned())).await.map(|_ended| ())
}
