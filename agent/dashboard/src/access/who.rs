//! Who is behind a request to access' own routes, and the routes.
//!
//! The door asks the gate first and then passes on, in the request's extensions, the [`Peer`] and the [`Caller`] it got, and the correlation
//! id in its header. Without both nothing here answers: a route that somebody forgot to guard is closed, not open.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, FromRequestParts};
use axum::routing::{delete, get, post};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use tbi_api::access::{By, Role, Session};
use tbi_daemon::CORRELATION_HEADER;

use super::answer::Fault;
use super::cookie::SessionId;
use super::identify::{Identity, Proof};
use super::{Access, certificate, credentials, first, login, own, second_factor, users};
use crate::certs::Certificates;
use crate::gate::{Caller, Peer};

/// Largest body, bytes: a password and little more.
const BODY: usize = 16 << 10;

/// The door's operations about access; their paths are whole.
pub(crate) fn routes(access: Arc<Access>, certificates: Arc<Certificates>) -> Router {
    let of_the_door = certificate::routes(Arc::clone(&access), certificates);
    let at = |path: &str| format!("/api/v1/access{path}");
    Router::new()
        .route(&at("/login"), post(login::login))
        .route(&at("/logout"), post(login::logout))
        .route(&at("/whoami"), get(login::whoami))
        .route(&at("/step-up"), post(login::step_up))
        .route(&at("/password"), post(own::change_password))
        .route(&at("/second-factor"), post(second_factor::enrol).delete(second_factor::remove))
        .route(&at("/second-factor/confirm"), post(second_factor::confirm))
        .route(&at("/second-factor/recovery-codes"), post(second_factor::new_recovery_codes))
        .route(&at("/users"), get(users::list).post(users::create))
        .route(&at("/users/{name}"), get(users::one).patch(users::change).delete(users::remove))
        .route(&at("/users/{name}/sessions"), delete(users::end_sessions))
        .route(&at("/tokens"), get(credentials::tokens).post(credentials::create_token))
        .route(&at("/tokens/{id}"), delete(credentials::remove_token))
        .route(&at("/sessions"), get(credentials::sessions))
        .route(&at("/sessions/{hash}"), delete(credentials::end_session))
        .route(&at("/certificates"), get(credentials::certificates).post(credentials::create_certificate))
        .route(&at("/certificates/{fingerprint}"), delete(credentials::remove_certificate))
        .route(&at("/first-administrator"), post(first::create))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(access)
        .merge(of_the_door)
}

/// Somebody at a public operation.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) peer: Peer,
    pub(crate) headers: HeaderMap,
    pub(crate) correlation_id: String,
}

/// Somebody whom the gate admitted.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) visitor: Visitor,
    pub(crate) identity: Identity,
    /// The role under which the gate admitted.
    pub(crate) role: Role,
    pub(crate) by: By,
}

impl Who {
    /// The session, for what only a person may do.
    pub(crate) fn session(&self) -> Result<(&SessionId, &Session, bool), Fault> {
        match &self.identity.proof {
            Proof::Session { id, known, stepped_up } => Ok((id, &known.session, *stepped_up)),
            Proof::Token(_) | Proof::Password(_) | Proof::Certificate(_) => Err(Fault::needs_session()),
        }
    }
}

fn not_asked() -> Fault {
    tracing::error!("a route of access was reached without the gate");
    Fault::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "the door passed the request on without asking who it is from; report this",
    )
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Fault> {
        let (Some(peer), Some(_admitted)) = (parts.extensions.get::<Peer>(), parts.extensions.get::<Caller>()) else {
            return Err(not_asked());
        };
        let correlation_id = parts.headers.get(CORRELATION_HEADER).and_then(|id| id.to_str().ok()).unwrap_or_default();
        Ok(Self { peer: peer.clone(), headers: parts.headers.clone(), correlation_id: correlation_id.to_owned() })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Who
where
    Arc<Access>: FromRef<S>,
{
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let visitor = Visitor::from_request_parts(parts, state).await?;
        let access = Arc::<Access>::from_ref(state);
        let admitted = parts.extensions.get::<Caller>().and_then(|caller| caller.account.clone());
        let Some((name, role)) = admitted else {
            return Err(not_asked());
        };
        // The gate looked a moment ago, so this is answered from memory.
        let identity = access.identify(&visitor.headers, &visitor.peer, &visitor.correlation_id).await?;
        let same = identity.filter(|identity| identity.account().name == name);
        let identity =
            same.ok_or_else(|| Fault::not_authenticated(&visitor.headers, "the login ended just now; log in again"))?;
        let by = identity.by(role, &visitor.peer, &visitor.correlation_id);
        Ok(Self { visitor, identity, role, by })
    }
}
