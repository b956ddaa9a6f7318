//! The agent's side of the access socket: accounts, sessions, tokens and client certificates, for the dashboard and nobody else. It keeps
//! rows and audits changes; who is let in is decided by the dashboard.
//!
//! | module | job |
//! |---|---|
//! | [`accounts`] | accounts with what their logins are checked against |
//! | [`door`] | which certificate the door shows, for the console |
//! | [`keys`] | sessions, tokens, client certificates, and notes of the door for the audit chain |
//! | [`refusals`] | what the door refused, in a chain that does not grow with it |
//! | [`rows`] | words of `tbi_api::access` to rows of the ledger and back |
//!
//! Invariants: a change and its audit entry are stored both or neither; a change that is refused is in the chain as well; no secret is in an
//! entry or a log.

mod accounts;
mod door;
mod keys;
pub(super) mod refusals;
mod rows;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post, put};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tbi_api::reason::{self, Reason};
use tbi_daemon::ApiError;
use tbi_ledger::{Ledger, LedgerError};

use super::node::{Appliance, Lost};
use super::trail::{self, entry};

/// Handlers share the appliance.
type Shared = Arc<Appliance>;
type Answer<T> = Result<T, ApiError>;

/// Routes of the access socket.
pub(crate) fn router(appliance: Shared) -> Router {
    Router::new()
        .route("/v1/accounts", get(accounts::list).post(accounts::create))
        .route("/v1/accounts/{name}", get(accounts::secrets).patch(accounts::change).delete(accounts::remove))
        .route("/v1/accounts/{name}/totp-step", post(accounts::use_totp_step))
        .route("/v1/sessions", get(keys::sessions).post(keys::begin_session))
        .route("/v1/sessions/{hash}", get(keys::session).patch(keys::change_session).delete(keys::end_session))
        .route("/v1/tokens", get(keys::tokens).post(keys::create_token))
        // A token is asked for by its hash and removed by its id; both are one segment.
        .route("/v1/tokens/{word}", get(keys::token).delete(keys::remove_token))
        .route("/v1/tokens/{word}/used", post(keys::token_used))
        .route("/v1/certificates", get(keys::certificates).post(keys::create_certificate))
        .route("/v1/certificates/{fingerprint}", get(keys::certificate).delete(keys::remove_certificate))
        .route("/v1/audit", post(keys::note))
        .route("/v1/door", put(door::tell))
        .route("/v1/audit/refusals", post(refusals::report))
        .with_state(appliance)
}

/// Why a question or a change was not answered with what was asked for.
#[derive(Debug, thiserror::Error)]
enum AccessError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("{sentence}")]
    Said { status: StatusCode, code: &'static str, sentence: String },
}

impl AccessError {
    fn said(status: StatusCode, code: &'static str, sentence: impl Into<String>) -> Self {
        Self::Said { status, code, sentence: sentence.into() }
    }

    /// Whether it is the answer to what was asked for, and not a failure of the database.
    fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Said { .. }
                | Self::Ledger(
                    LedgerError::Missing { .. }
                        | LedgerError::Exists { .. }
                        | LedgerError::Changed { .. }
                        | LedgerError::Invalid { .. }
                        | LedgerError::LastAdministrator { .. }
                )
        )
    }
}

impl From<Lost> for AccessError {
    fn from(lost: Lost) -> Self {
        Self::Ledger(lost.into())
    }
}

impl From<AccessError> for ApiError {
    fn from(error: AccessError) -> Self {
        let sentence = error.to_string();
        match error {
            AccessError::Said { status, code, .. } => Self::new(status, code, sentence),
            AccessError::Ledger(LedgerError::Missing { what, .. }) => {
                let code = match what {
                    "session" => "no-such-session",
                    "token" => "no-such-token",
                    "certificate" => "no-such-certificate",
                    _ => "no-such-account",
                };
                Self::new(StatusCode::NOT_FOUND, code, sentence)
            }
            AccessError::Ledger(LedgerError::Exists { what, .. }) => {
                let code = match what {
                    "token" => "token-exists",
                    "certificate" => "certificate-exists",
                    _ => "account-exists",
                };
                Self::new(StatusCode::CONFLICT, code, sentence)
            }
            AccessError::Ledger(LedgerError::Changed { .. }) => {
                Self::new(StatusCode::CONFLICT, "account-changed", sentence)
            }
            AccessError::Ledger(LedgerError::LastAdministrator { .. }) => {
                Self::new(StatusCode::CONFLICT, "last-administrator", sentence)
            }
            AccessError::Ledger(LedgerError::Invalid { .. }) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", sentence)
            }
            AccessError::Ledger(error) => trail::database(&error),
        }
    }
}

/// Asks the database.
async fn ask<T: Send + 'static>(
    appliance: &Appliance,
    question: impl FnOnce(&mut Ledger) -> Result<T, AccessError> + Send + 'static,
) -> Answer<T> {
    appliance.ledger(move |ledger, _key| question(ledger)).await.map_err(ApiError::from)
}

/// Makes a change and its audit entry, or neither; a refusal has an entry of its own.
async fn change<T: Send + 'static>(
    appliance: &Appliance,
    headers: &HeaderMap,
    action: &'static str,
    target: String,
    work: impl FnOnce(&mut Ledger, Timestamp) -> Result<(T, Value), AccessError> + Send + 'static,
) -> Answer<T> {
    let by = trail::by(headers);
    let changed = appliance.ledger(move |ledger, key| {
        let now = Timestamp::now();
        let changed = ledger.together(|ledger| {
            let (done, detail) = work(ledger, now)?;
            ledger.append(&entry(&by, action, &target, "done", &detail), key, now)?;
            Ok::<_, AccessError>(done)
        });
        if let Err(error) = &changed
            && error.is_refusal()
        {
            let detail = json!({ "why": error.to_string() });
            ledger.append(&entry(&by, action, &target, "refused", &detail), key, now)?;
        }
        changed
    });
    changed.await.map_err(ApiError::from)
}

/// What an entry says, with why it was done.
fn because(mut detail: Value, reason: Option<&Reason>) -> Value {
    if let Some(reason) = reason {
        detail[reason::NAME] = reason.as_str().into();
    }
    detail
}

/// A word of a path that has to have a form.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(word: &str) -> Answer<T> {
    word.parse().map_err(|error: T::Err| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", error.to_string()))
}
