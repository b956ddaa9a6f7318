//! What access needs of whoever keeps the accounts: the agent behind its access socket, or a map in tests.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use tbi_api::access::{
    AccessClient, Account, AccountChange, AccountName, AuditNote, By, Certificate, Digest, KnownCertificate,
    KnownSession, KnownToken, NewAccount, NewCertificate, NewSession, NewToken, Refusals, Secrets, Session,
    SessionChange, Token, TokenId, TotpStep, Used,
};
use tbi_api::reason::Reason;
use tbi_daemon::ClientError;

/// Why there is no answer, or not the wanted one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccountsError {
    /// Understood and refused; a client error.
    #[error("{detail}")]
    Refused {
        /// 4xx.
        status: StatusCode,
        /// Stable code.
        code: &'static str,
        /// Sentence.
        detail: String,
    },
    /// Out of reach, or broken: nobody may be let in on this.
    #[error("{0}")]
    Unavailable(String),
}

/// Codes that the agent refuses with. Another one is a version that does not fit ours.
const CODES: [&str; 11] = [
    "no-such-account",
    "no-such-session",
    "no-such-token",
    "no-such-certificate",
    "account-exists",
    "account-changed",
    "not-the-first",
    "last-administrator",
    "code-used",
    "token-exists",
    "certificate-exists",
];

impl AccountsError {
    /// Makes a refusal, as the agent would.
    #[cfg(test)]
    pub(crate) fn refused(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self::Refused { status, code, detail: detail.into() }
    }

    pub(crate) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }
}

impl From<ClientError> for AccountsError {
    fn from(error: ClientError) -> Self {
        if let ClientError::Problem(problem) = &error
            && let Some(code) = CODES.into_iter().find(|code| *code == problem.code)
            && let Ok(status @ (StatusCode::NOT_FOUND | StatusCode::CONFLICT)) = StatusCode::from_u16(problem.status)
        {
            return Self::Refused { status, code, detail: problem.detail.clone() };
        }
        Self::Unavailable(error.to_string())
    }
}

/// A row that may not be there.
pub(crate) fn found<T>(answer: Result<T, AccountsError>) -> Result<Option<T>, AccountsError> {
    match answer {
        Ok(row) => Ok(Some(row)),
        Err(AccountsError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Answer to one question.
pub(crate) type Asked<'a, T> = BoxFuture<'a, Result<T, AccountsError>>;

macro_rules! accounts {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        /// Keeps accounts. Names and meanings are those of [`AccessClient`].
        pub(crate) trait Accounts: Send + Sync + 'static {
            $($(#[$doc])* fn $name<'a>(&'a self $(, $argument: $kind)*) -> Asked<'a, $answer>;)*
        }

        impl Accounts for AccessClient {
            $(fn $name<'a>(&'a self $(, $argument: $kind)*) -> Asked<'a, $answer> {
                async move { AccessClient::$name(self $(, $argument)*).await.map_err(AccountsError::from) }.boxed()
            })*
        }
    };
}

accounts! {
    fn accounts() -> Vec<Account>;
    fn account(name: &'a AccountName) -> Secrets;
    fn create_account(account: &'a NewAccount, by: &'a By) -> Account;
    fn change_account(name: &'a AccountName, change: &'a AccountChange, by: &'a By) -> Account;
    fn remove_account(name: &'a AccountName, reason: Option<&'a Reason>, by: &'a By) -> ();
    fn use_totp_step(name: &'a AccountName, step: TotpStep, by: &'a By) -> ();
    fn sessions() -> Vec<Session>;
    fn session(hash: &'a Digest) -> KnownSession;
    fn begin_session(session: &'a NewSession, by: &'a By) -> Session;
    fn change_session(hash: &'a Digest, change: &'a SessionChange, by: &'a By) -> Session;
    fn end_session(hash: &'a Digest, reason: Option<&'a Reason>, by: &'a By) -> ();
    fn tokens() -> Vec<Token>;
    fn token(hash: &'a Digest) -> KnownToken;
    fn create_token(token: &'a NewToken, by: &'a By) -> Token;
    fn token_used(id: &'a TokenId, used: Used, by: &'a By) -> ();
    fn remove_token(id: &'a TokenId, reason: Option<&'a Reason>, by: &'a By) -> ();
    fn certificates() -> Vec<Certificate>;
    fn certificate(fingerprint: &'a Digest) -> KnownCertificate;
    fn create_certificate(certificate: &'a NewCertificate, by: &'a By) -> Certificate;
    fn remove_certificate(fingerprint: &'a Digest, reason: Option<&'a Reason>, by: &'a By) -> ();
    fn audit(note: &'a AuditNote) -> ();
    fn report_refusals(refusals: &'a Refusals) -> ();
}
