//! Login, logout, who am I, and the fresh proof of the person that dangerous actions take. Each of them but the question gives the session a
//! new id, so that an id somebody planted or saw is worth nothing afterwards.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tbi_api::access::{Account, AccountChange, By, Hidden, NewSession, Role, Session};
use tbi_daemon::ApiJson;
use utoipa::ToSchema;

use super::Access;
use super::accounts::found;
use super::alive::{ABSOLUTE, STEPPED_UP};
use super::answer::{Answer, Fault};
use super::check::{Candidate, login_refused};
use super::clock::after;
use super::cookie::{self, SESSION_COOKIE, SessionId};
use super::identify::Proof;
use super::who::{Visitor, Who};
use crate::limits::throttle::Device;

/// Longest name of a client that is kept.
const USER_AGENT: usize = 128;

/// Asks to be logged in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// Name of the account.
    pub(crate) account: String,
    /// Its password.
    #[schema(value_type = String)]
    pub(crate) password: Hidden,
    /// Six digits of the authenticator app, or a recovery code, when the account has a second factor.
    #[schema(value_type = Option<String>)]
    pub(crate) code: Option<Hidden>,
}

/// Proves the person afresh.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepUp {
    /// Password, when the account has no second factor.
    #[schema(value_type = Option<String>)]
    pub(crate) password: Option<Hidden>,
    /// Code, when it has one.
    #[schema(value_type = Option<String>)]
    pub(crate) code: Option<Hidden>,
}

/// Who the caller is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Whoami {
    /// Name of the account.
    account: String,
    /// Role under which the caller is admitted here.
    role: Role,
    /// `session`, `token`, `password` or `certificate`.
    proof: String,
    /// Whether the account has a second factor.
    second_factor: bool,
    /// Token of the session: to be sent as `X-TBI-CSRF` with every change.
    #[schema(value_type = Option<String>)]
    csrf: Option<Hidden>,
    /// When the session ends, whatever happens.
    #[schema(value_type = Option<String>)]
    ends: Option<Timestamp>,
    /// Until when the last fresh proof of the person counts.
    #[schema(value_type = Option<String>)]
    stepped_up_until: Option<Timestamp>,
}

impl Whoami {
    fn of_session(
        access: &Access,
        account: &Account,
        role: Role,
        id: &SessionId,
        session: &Session,
        stepped_up: bool,
    ) -> Self {
        Self {
            account: account.name.to_string(),
            role,
            proof: "session".to_owned(),
            second_factor: account.second_factor,
            csrf: Some(Hidden::new(id.csrf(&access.keys))),
            ends: Some(session.ends),
            stepped_up_until: session.stepped_up_until.filter(|_until| stepped_up),
        }
    }
}

impl Access {
    /// The answer that hands out a session: who it is, and the cookie.
    fn hand_out(&self, account: &Account, id: &SessionId, session: &Session) -> Response {
        let whoami = Whoami::of_session(self, account, account.role, id, session, session.stepped_up_until.is_some());
        let mut response = Json(whoami).into_response();
        self.put_session(&mut response, id);
        response
    }

    fn put_session(&self, response: &mut Response, id: &SessionId) {
        if let Some(cookie) = id.set_cookie(&self.keys) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }

    /// Gives the caller's session a new id, after a change that ended all sessions of the account or a fresh proof of the person.
    pub(crate) async fn renew(&self, who: &Who, account: &Account, stepped_up: bool) -> Answer<(SessionId, Session)> {
        let (_id, old, _stepped_up) = who.session()?;
        let now = self.clock.wall();
        let id = SessionId::random().map_err(|_error| Fault::unavailable())?;
        let session = Session {
            hash: id.hash(),
            epoch: account.epoch,
            last_seen: now,
            stepped_up_until: stepped_up.then(|| after(now, STEPPED_UP)),
            ..old.clone()
        };
        let new = NewSession { session, replaces: Some(old.hash.clone()) };
        let session = self.accounts.begin_session(&new, &who.by).await?;
        self.lives.replaced(&old.hash, &session, self.clock.steady(), stepped_up);
        self.session_changed();
        Ok((id, session))
    }

    /// A renewed session as an answer.
    pub(crate) async fn renewed(&self, who: &Who, account: &Account, stepped_up: bool) -> Answer<Response> {
        let (id, session) = self.renew(who, account, stepped_up).await?;
        Ok(self.hand_out(account, &id, &session))
    }

    /// The same with another body, to which nothing is added but the cookie and, in it, the token for changes.
    pub(crate) fn with_session(&self, body: impl IntoResponse, id: &SessionId) -> Response {
        let mut response = body.into_response();
        self.put_session(&mut response, id);
        response
    }

    pub(crate) fn csrf_of(&self, id: &SessionId) -> Hidden {
        Hidden::new(id.csrf(&self.keys))
    }

    async fn renew_keys_when_due(&self) {
        let now = self.clock.wall();
        if !self.keys.due(now) {
            return;
        }
        let keys = Arc::clone(&self.keys);
        // On a thread that may wait for the disk.
        let renewed = tokio::task::spawn_blocking(move || keys.renew_when_due(now)).await;
        if !matches!(renewed, Ok(Ok(()))) {
            tracing::warn!("the cookie keys could not be renewed; the next login tries again");
        }
    }
}

/// Logs in: gives a session as cookie, and the token for changes.
#[utoipa::path(post, path = "/api/v1/access/login", tag = "access", request_body = Login, responses(
    (status = 200, body = Whoami),
    (status = 401, description = "`login-refused`; `second-factor-required`: the password is right, a code is needed"),
    (status = 409, description = "`account-changed`: the account was changed at the same moment"),
    (status = 429, description = "`login-throttled`, with Retry-After"),
    (status = 503, description = "`login-busy`, `accounts-unavailable`, with Retry-After"),
))]
pub(crate) async fn login(
    State(access): State<Arc<Access>>,
    visitor: Visitor,
    ApiJson(order): ApiJson<Login>,
) -> Answer<Response> {
    let Visitor { peer, headers, correlation_id } = &visitor;
    let mut candidate = Candidate::new(&access, &order.account, peer.address, headers, correlation_id);
    access.begin(&candidate.attempt)?;
    let Some(secrets) = access.password_is(&candidate, &order.password).await? else {
        access.note_refusal(&candidate, "login.refused", "password").await;
        return Err(login_refused(headers));
    };
    if secrets.totp.is_some() {
        let Some(code) = &order.code else {
            // Half a login is no failure, and no success either: nothing is cleared.
            access.not_judged(&candidate.attempt);
            let mut fault =
                Fault::not_authenticated(headers, "this account has a second factor; send its code as well");
            fault.0.code = "second-factor-required";
            return Err(fault);
        };
        if !access.code_is(&candidate, &secrets, code).await? {
            access.note_refusal(&candidate, "login.refused", "second factor").await;
            return Err(login_refused(headers));
        }
    }
    access.succeeded(&candidate.attempt);
    candidate.by.role = Some(secrets.account.role);
    access.renew_keys_when_due().await;
    let (id, session) = access.begin_session(&secrets.account, headers, &candidate.by).await?;
    let logged_in = AccountChange { logged_in: Some(session.created), ..AccountChange::default() };
    if let Err(error) = access.accounts.change_account(&secrets.account.name, &logged_in, &candidate.by).await {
        tracing::warn!(%error, "the time of a login could not be kept");
    }
    let mut response = access.hand_out(&secrets.account, &id, &session);
    let device = candidate.attempt.device.map_or_else(new_device, Some);
    let cookie =
        device.and_then(|device| cookie::set_device(&access.keys, &device, &secrets.account.name, session.created));
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn new_device() -> Option<Device> {
    let mut device = [0; 16];
    aws_lc_rs::rand::fill(&mut device).ok().map(|()| device)
}

impl Access {
    async fn begin_session(&self, account: &Account, headers: &HeaderMap, by: &By) -> Answer<(SessionId, Session)> {
        let now = self.clock.wall();
        let id = SessionId::random().map_err(|_error| Fault::unavailable())?;
        let agent = headers.get(header::USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
        let session = Session {
            hash: id.hash(),
            account: account.name.clone(),
            epoch: account.epoch,
            created: now,
            last_seen: now,
            ends: after(now, ABSOLUTE),
            source: by.source.clone(),
            user_agent: agent.unwrap_or_default().chars().filter(|c| !c.is_control()).take(USER_AGENT).collect(),
            stepped_up_until: None,
        };
        // What the browser had before ends with this.
        let before = cookie::one(headers, SESSION_COOKIE).ok().flatten();
        let replaces = before.and_then(|value| SessionId::open(&self.keys, value)).map(|id| id.hash());
        let session = self.accounts.begin_session(&NewSession { session, replaces }, by).await?;
        self.session_changed();
        Ok((id, session))
    }
}

/// Ends the session.
#[utoipa::path(post, path = "/api/v1/access/logout", tag = "access",
    security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    responses((status = 204), (status = 403, description = "`needs-session`, `csrf`")))]
pub(crate) async fn logout(State(access): State<Arc<Access>>, who: Who) -> Answer<Response> {
    let (_id, session, _stepped_up) = who.session()?;
    found(access.accounts.end_session(&session.hash, None, &who.by).await)?;
    access.session_changed();
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie::no_session())]).into_response())
}

/// Says who the caller is, and gives a session its token for changes.
#[utoipa::path(get, path = "/api/v1/access/whoami", tag = "access",
    security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    responses((status = 200, body = Whoami)))]
pub(crate) async fn whoami(State(access): State<Arc<Access>>, who: Who) -> Json<Whoami> {
    let account = who.identity.account();
    let proof = match &who.identity.proof {
        Proof::Session { id, known, stepped_up } => {
            return Json(Whoami::of_session(&access, account, who.role, id, &known.session, *stepped_up));
        }
        Proof::Token(_) => "token",
        Proof::Password(_) => "password",
        Proof::Certificate(_) => "certificate",
    };
    Json(Whoami {
        account: account.name.to_string(),
        role: who.role,
        proof: proof.to_owned(),
        second_factor: account.second_factor,
        csrf: None,
        ends: None,
        stepped_up_until: None,
    })
}

/// Proves the person afresh, which counts for ten minutes. The session gets a new id, and with it a new token for changes.
#[utoipa::path(post, path = "/api/v1/access/step-up", tag = "access", request_body = StepUp,
    security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    responses(
        (status = 200, body = Whoami),
        (status = 403, description = "`step-up-refused`; `needs-session`, `csrf`"),
        (status = 429, description = "`login-throttled`, with Retry-After"),
        (status = 503, description = "`login-busy`, `accounts-unavailable`, with Retry-After"),
    ))]
pub(crate) async fn step_up(
    State(access): State<Arc<Access>>,
    who: Who,
    ApiJson(order): ApiJson<StepUp>,
) -> Answer<Response> {
    let (id, session) = stepped_up(&access, &who, &order).await?;
    Ok(access.hand_out(who.identity.account(), &id, &session))
}

/// The same, with the session as it is afterwards.
pub(super) async fn stepped_up(access: &Access, who: &Who, order: &StepUp) -> Answer<(SessionId, Session)> {
    access.prove(who, order.password.as_ref(), order.code.as_ref()).await?;
    access.renew(who, who.identity.account(), true).await
}

impl Access {
    /// Checks the person behind a session by what its account has: the second factor, else the password.
    async fn prove(&self, who: &Who, password: Option<&Hidden>, code: Option<&Hidden>) -> Answer<()> {
        let candidate = self.candidate(who)?;
        self.begin(&candidate.attempt)?;
        let secrets = self.accounts.account(&who.identity.account().name).await;
        let secrets = secrets.inspect_err(|_error| self.not_judged(&candidate.attempt))?;
        let proven = match (&secrets.totp, password, code) {
            (Some(_), _, Some(code)) => self.code_is(&candidate, &secrets, code).await?,
            (None, Some(password), _) => self.password_is(&candidate, password).await?.is_some(),
            (Some(_), _, None) | (None, None, _) => false,
        };
        if !proven {
            self.note_refusal(&candidate, "step-up.refused", "proof").await;
            return Err(Fault::new(
                StatusCode::FORBIDDEN,
                "step-up-refused",
                "this does not prove the person; send the code of the second factor, or the password when there is none",
            ));
        }
        self.succeeded(&candidate.attempt);
        Ok(())
    }

    /// The person behind a session as somebody to check, counted at the session: nobody else can make it wait.
    pub(crate) fn candidate(&self, who: &Who) -> Answer<Candidate> {
        let (id, _session, _stepped_up) = who.session()?;
        let Visitor { peer, headers, correlation_id } = &who.visitor;
        let name = who.identity.account().name.as_str();
        let mut candidate = Candidate::new(self, name, peer.address, headers, correlation_id).at_device(id.as_device());
        candidate.by = who.by.clone();
        Ok(candidate)
    }
}
