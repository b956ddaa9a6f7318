//! Refusals as access makes them, for the gate and for its own routes alike: a status, a stable code, a sentence with the remedy, headers.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tbi_api::reason::Reason;
use tbi_daemon::ApiError;

use super::accounts::AccountsError;
use crate::gate::Refusal;

/// A [`Refusal`] that a handler can return.
#[derive(Debug, Clone)]
pub(crate) struct Fault(pub(crate) Box<Refusal>);

/// Why something is asked for, from its query.
pub(super) fn reason(query: Option<&str>) -> Answer<Option<Reason>> {
    Reason::of_query(query).map_err(|error| Fault::unprocessable("reason-refused", error.to_string()))
}

/// What handlers return.
pub(crate) type Answer<T> = Result<T, Fault>;

impl Fault {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Refusal { status, code, detail: detail.into(), headers: HeaderMap::new() }))
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Whole seconds, at least one.
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.with(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Nobody is let in while it cannot be looked up who they are.
    pub(crate) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "accounts-unavailable",
            "the agent, which keeps the accounts, does not answer; try again, and look at its health on the console",
        )
        .retry_after(Duration::from_secs(2))
    }

    /// No valid credential. Browsers are not offered Basic, because they would open a window of their own for it.
    pub(crate) fn not_authenticated(headers: &HeaderMap, detail: &str) -> Self {
        let browser = headers.contains_key("sec-fetch-site") || headers.contains_key("sec-fetch-mode");
        let offers = if browser {
            "Bearer realm=\"tbi\""
        } else {
            "Bearer realm=\"tbi\", Basic realm=\"tbi\", charset=\"UTF-8\""
        };
        Self::new(StatusCode::UNAUTHORIZED, "not-authenticated", detail)
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static(offers))
    }

    pub(crate) fn not_permitted(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not-permitted", detail)
    }

    pub(crate) fn step_up_required() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "step-up-required",
            "this needs a fresh proof of the person: POST /api/v1/access/step-up in a session, or use a token with the scope 'administer'",
        )
    }

    pub(crate) fn needs_session() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "needs-session",
            "this can only be done by a person in a session; log in with POST /api/v1/access/login",
        )
    }

    pub(crate) fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }
}

impl From<AccountsError> for Fault {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::Refused { status, code, detail } => Self::new(status, code, detail),
            AccountsError::Unavailable(reason) => {
                tracing::warn!(%reason, "accounts cannot be reached");
                Self::unavailable()
            }
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let Refusal { status, code, detail, headers } = *self.0;
        let mut response = ApiError::new(status, code, detail).into_response();
        response.headers_mut().extend(headers);
        response
    }
}
