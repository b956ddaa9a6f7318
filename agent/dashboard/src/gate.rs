//! The question that the door asks about every request before its body is read, and the answer. Holds no rule; [`crate::access`] has them.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};
use tbi_api::access::{AccountName, Role};

use crate::limits::Standing;

/// Who is at the other end of the connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Address the connection came from.
    pub(crate) address: IpAddr,
    /// Leaf certificate (DER) that the client proved to hold, when it sent one that our client CA signed.
    pub(crate) certificate: Option<Arc<[u8]>>,
}

/// What an operation asks of its caller; from the `security` and `x-step-up` of its OpenAPI document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Anybody, also without a login (health, the login itself, the CA certificate).
    pub(crate) public: bool,
    /// Roles that may.
    pub(crate) roles: Vec<Role>,
    /// A fresh proof of the person is needed.
    pub(crate) step_up: bool,
}

/// Where the token that makes a change the user's own wish is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeToken {
    /// In the field `X-TBI-CSRF`, which the gate looks at.
    Header,
    /// In a form, which is read after the gate: whoever reads it looks ([`crate::pages`] has no other way to get at a form).
    Form,
}

/// What is known of a request before its body.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: &'a Peer,
    pub(crate) claims: &'a Claims,
    pub(crate) token: ChangeToken,
    pub(crate) correlation_id: &'a str,
}

/// Who asks, once admitted.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Account; `None` for a public operation without a login.
    pub(crate) account: Option<(AccountName, Role)>,
    /// Where they stand in their limits, for the answer.
    pub(crate) standing: Standing,
    /// The operation takes a fresh proof of the person, and there is none: a form of a page, which asks for it and keeps what was typed
    /// ([`crate::pages`] lets none of them through to a handler).
    pub(crate) unproven: bool,
}

/// Why not. Becomes a problem document with these headers.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    pub(crate) headers: HeaderMap,
}

/// Decides on every request.
pub(crate) trait Gate: Send + Sync + 'static {
    fn admit<'a>(&'a self, asked: &'a Asked<'a>) -> BoxFuture<'a, Result<Caller, Refusal>>;
}
