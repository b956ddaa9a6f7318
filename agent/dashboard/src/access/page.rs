//! What the pages ask of access: the operations of the API as values, without JSON in between. It decides nothing that the API does not decide,
//! and goes the same ways, so that a login through a page is delayed, counted and audited as any other.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use tbi_api::access::{Account, Certificate, Hidden, NewCertificate, Session, Token};
use tbi_api::reason::Reason;
use tbi_daemon::ApiJson;

use super::Access;
pub(crate) use super::alive::IDLE;
use super::answer::Answer;
use super::certificate::{self, CertificateOrder, CertificateRequest, Desk, RequestOrder, View};
use super::cookie;
use super::credentials::{self, MadeToken, TokenOrder};
use super::first::{self, Claim};
use super::identify::{Identity, Proof};
use super::login::{self, Login, StepUp};
use super::own::{self, PasswordChange};
use super::second_factor::{self, Offer};
pub(crate) use super::token::may_grant;
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

/// Codes for the day the app is lost, with the session as it is afterwards.
pub(crate) struct NewCodes {
    pub(crate) codes: Vec<Hidden>,
    pub(crate) cookies: Cookies,
    /// The session's new token for forms, when it got a new id.
    pub(crate) token: Option<Hidden>,
}

/// A reason as the API takes it.
fn because(reason: &Reason) -> RawQuery {
    RawQuery(Some(reason.query()))
}

impl Access {
    /// What time it is, as sessions and tokens are judged by.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.wall()
    }

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

    /// Whether a browser comes with a session that is over, which it does not know.
    pub(crate) fn had_session(headers: &HeaderMap) -> bool {
        matches!(cookie::one(headers, cookie::SESSION_COOKIE), Ok(Some(_)))
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
pub(crate) async fn end_session(access: &Arc<Access>, who: Who, hash: String, reason: Option<&Reason>) -> Answer<()> {
    let query = RawQuery(reason.map(Reason::query));
    credentials::end_session(State(Arc::clone(access)), who, Path(hash), query).await.map(|_ended| ())
}

/// As `POST /api/v1/access/step-up`; also the session's new token for forms.
pub(crate) async fn step_up(access: &Arc<Access>, who: &Who, order: StepUp) -> Answer<(Cookies, Hidden)> {
    let (id, _session) = login::stepped_up(access, who, &order).await?;
    Ok((Cookies::of(&access.with_session((), &id)), access.csrf_of(&id)))
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
pub(crate) async fn change_user(
    access: &Arc<Access>,
    who: Who,
    name: &str,
    reason: Option<&Reason>,
    order: UserChange,
) -> Answer<Account> {
    let (name, query) = (Path(name.to_owned()), RawQuery(reason.map(Reason::query)));
    let changed = users::change(State(Arc::clone(access)), who, name, query, ApiJson(order)).await;
    changed.map(|Json(account)| account)
}

/// As `DELETE /api/v1/access/users/{name}`.
pub(crate) async fn remove_user(access: &Arc<Access>, who: Who, name: &str, reason: &Reason) -> Answer<()> {
    users::remove(State(Arc::clone(access)), who, Path(name.to_owned()), because(reason)).await.map(|_removed| ())
}

/// As `DELETE /api/v1/access/users/{name}/sessions`.
pub(crate) async fn end_sessions(access: &Arc<Access>, who: Who, name: &str, reason: &Reason) -> Answer<()> {
    let name = Path(name.to_owned());
    users::end_sessions(State(Arc::clone(access)), who, name, because(reason)).await.map(|_ended| ())
}

/// As `POST /api/v1/access/password`.
pub(crate) async fn change_password(access: &Arc<Access>, who: Who, order: PasswordChange) -> Answer<Cookies> {
    let changed = own::change_password(State(Arc::clone(access)), who, ApiJson(order)).await;
    changed.map(|response| Cookies::of(&response))
}

/// As `POST /api/v1/access/second-factor`.
pub(crate) async fn offer_second_factor(access: &Arc<Access>, who: Who) -> Answer<()> {
    second_factor::enrol(State(Arc::clone(access)), who).await.map(|_offer| ())
}

/// Secret and address of the second factor that was offered and waits to be confirmed.
pub(crate) fn offered_second_factor(access: &Access, who: &Who) -> Option<(Hidden, Hidden)> {
    second_factor::offered(access, who).map(|Offer { secret, uri }| (secret, uri))
}

/// As `POST /api/v1/access/second-factor/confirm`.
pub(crate) async fn confirm_second_factor(access: &Arc<Access>, who: &Who, code: &Hidden) -> Answer<NewCodes> {
    let (codes, id) = second_factor::confirmed(access, who, code).await?;
    let cookies = Cookies::of(&access.with_session((), &id));
    Ok(NewCodes { codes, cookies, token: Some(access.csrf_of(&id)) })
}

/// As `DELETE /api/v1/access/second-factor`.
pub(crate) async fn remove_second_factor(access: &Arc<Access>, who: Who, reason: &Reason) -> Answer<Cookies> {
    second_factor::remove(State(Arc::clone(access)), who, because(reason)).await.map(|response| Cookies::of(&response))
}

/// As `POST /api/v1/access/second-factor/recovery-codes`.
pub(crate) async fn new_recovery_codes(access: &Arc<Access>, who: Who) -> Answer<NewCodes> {
    let Json(made) = second_factor::new_recovery_codes(State(Arc::clone(access)), who).await?;
    Ok(NewCodes { codes: made.recovery_codes, cookies: Cookies::default(), token: None })
}

/// As `GET /api/v1/access/tokens`.
pub(crate) async fn tokens(access: &Arc<Access>, who: Who) -> Answer<Vec<Token>> {
    credentials::tokens(State(Arc::clone(access)), who).await.map(|Json(tokens)| tokens)
}

/// As `POST /api/v1/access/tokens`.
pub(crate) async fn create_token(access: &Arc<Access>, who: Who, order: TokenOrder) -> Answer<MadeToken> {
    credentials::create_token(State(Arc::clone(access)), who, ApiJson(order)).await.map(|(_created, Json(made))| made)
}

/// As `DELETE /api/v1/access/tokens/{id}`.
pub(crate) async fn remove_token(access: &Arc<Access>, who: Who, id: &str, reason: &Reason) -> Answer<()> {
    let id = Path(id.to_owned());
    credentials::remove_token(State(Arc::clone(access)), who, id, because(reason)).await.map(|_removed| ())
}

/// As `GET /api/v1/access/certificates`.
pub(crate) async fn certificates(access: &Arc<Access>, who: Who) -> Answer<Vec<Certificate>> {
    credentials::certificates(State(Arc::clone(access)), who).await.map(|Json(certificates)| certificates)
}

/// As `POST /api/v1/access/certificates`.
pub(crate) async fn create_certificate(access: &Arc<Access>, who: Who, order: NewCertificate) -> Answer<Certificate> {
    let made = credentials::create_certificate(State(Arc::clone(access)), who, ApiJson(order)).await;
    made.map(|(_created, Json(certificate))| certificate)
}

/// As `DELETE /api/v1/access/certificates/{fingerprint}`.
pub(crate) async fn remove_certificate(access: &Arc<Access>, who: Who, print: &str, reason: &Reason) -> Answer<()> {
    let print = Path(print.to_owned());
    credentials::remove_certificate(State(Arc::clone(access)), who, print, because(reason)).await.map(|_removed| ())
}

/// As `GET /api/v1/access/certificate`.
pub(crate) async fn door_certificate(desk: &Desk, who: Who) -> Answer<View> {
    certificate::show(State(desk.clone()), who).await.map(|Json(view)| view)
}

/// As `PUT /api/v1/access/certificate`.
pub(crate) async fn bring_door_certificate(desk: &Desk, who: Who, order: CertificateOrder) -> Answer<View> {
    certificate::bring(State(desk.clone()), who, ApiJson(order)).await.map(|Json(view)| view)
}

/// As `DELETE /api/v1/access/certificate`.
pub(crate) async fn remove_door_certificate(desk: &Desk, who: Who, reason: &Reason) -> Answer<View> {
    certificate::remove(State(desk.clone()), who, because(reason)).await.map(|Json(view)| view)
}

/// As `POST /api/v1/access/certificate/request`.
pub(crate) async fn request_door_certificate(desk: &Desk, who: Who, order: RequestOrder) -> Answer<CertificateRequest> {
    let made = certificate::request(State(desk.clone()), who, ApiJson(order)).await;
    made.map(|(_created, Json(request))| request)
}
