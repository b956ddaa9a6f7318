//! The agent's access socket for the dashboard: one method per path. It does not retry and keeps nothing; both are its caller's business.
//!
//! Questions go through `UnixClient`. Changes carry [`By`] in headers and use PATCH, which `UnixClient` does not speak; they have a small
//! exchange of their own here with the same bounds: one connection each, a limit on time and on the size of the answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tbi_bench::control::Problem;
use tbi_daemon::{CORRELATION_HEADER, ClientError, UnixClient};
use tokio::net::UnixStream;

use super::{
    ACTOR_HEADER, Account, AccountChange, AccountName, AuditNote, By, Certificate, Digest, DoorCertificate,
    KnownCertificate, KnownSession, KnownToken, LOCAL, NewAccount, NewCertificate, NewSession, NewToken, ROLE_HEADER,
    Refusals, SOURCE_HEADER, Secrets, Session, SessionChange, Token, TokenId, TotpStep, Used,
};
use crate::reason::Reason;

/// How long a request may take: a login waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer to a change, bytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// Asks the agent behind its access socket.
#[derive(Debug, Clone)]
pub struct AccessClient {
    questions: UnixClient,
    socket: PathBuf,
    timeout: Duration,
}

/// A path with why it is asked for.
fn because(path: &str, reason: Option<&Reason>) -> String {
    reason.map_or_else(|| path.to_owned(), |reason| format!("{path}?{}", reason.query()))
}

/// Answers of a change.
type Answered<T> = Result<T, ClientError>;

impl AccessClient {
    /// Client of the agent at `socket` ([`super::ACCESS_SOCKET`] on an appliance).
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { questions: UnixClient::new(socket).with_timeout(TIMEOUT), socket: socket.to_owned(), timeout: TIMEOUT }
    }

    /// The same with another limit for each request.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { questions: self.questions.with_timeout(timeout), timeout, ..self }
    }

    /// All accounts.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn accounts(&self) -> Answered<Vec<Account>> {
        self.questions.get_json("/v1/accounts").await
    }

    /// One account with its secrets.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-account`.
    pub async fn account(&self, name: &AccountName) -> Answered<Secrets> {
        self.questions.get_json(&format!("/v1/accounts/{name}")).await
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`ClientError`], code `account-exists` or `not-the-first`.
    pub async fn create_account(&self, account: &NewAccount, by: &By) -> Answered<Account> {
        self.change(Method::POST, "/v1/accounts", by, account).await
    }

    /// Changes an account.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-account`, `account-changed`, `last-administrator` or `code-used`.
    pub async fn change_account(&self, name: &AccountName, change: &AccountChange, by: &By) -> Answered<Account> {
        self.change(Method::PATCH, &format!("/v1/accounts/{name}"), by, change).await
    }

    /// Removes an account and all that is its.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-account` or `last-administrator`.
    pub async fn remove_account(&self, name: &AccountName, reason: Option<&Reason>, by: &By) -> Answered<()> {
        self.remove(&because(&format!("/v1/accounts/{name}"), reason), by).await
    }

    /// Uses up the code of a step.
    ///
    /// # Errors
    /// [`ClientError`], code `code-used` when it or a later one was used.
    pub async fn use_totp_step(&self, name: &AccountName, step: TotpStep, by: &By) -> Answered<()> {
        self.change(Method::POST, &format!("/v1/accounts/{name}/totp-step"), by, &step).await
    }

    /// All sessions that did not end.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn sessions(&self) -> Answered<Vec<Session>> {
        self.questions.get_json("/v1/sessions").await
    }

    /// One session.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-session`.
    pub async fn session(&self, hash: &Digest) -> Answered<KnownSession> {
        self.questions.get_json(&format!("/v1/sessions/{hash}")).await
    }

    /// Begins a session.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-account` or `account-changed`.
    pub async fn begin_session(&self, session: &NewSession, by: &By) -> Answered<Session> {
        self.change(Method::POST, "/v1/sessions", by, session).await
    }

    /// Changes a session.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-session`.
    pub async fn change_session(&self, hash: &Digest, change: &SessionChange, by: &By) -> Answered<Session> {
        self.change(Method::PATCH, &format!("/v1/sessions/{hash}"), by, change).await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-session`.
    pub async fn end_session(&self, hash: &Digest, reason: Option<&Reason>, by: &By) -> Answered<()> {
        self.remove(&because(&format!("/v1/sessions/{hash}"), reason), by).await
    }

    /// All tokens.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tokens(&self) -> Answered<Vec<Token>> {
        self.questions.get_json("/v1/tokens").await
    }

    /// One token.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-token`.
    pub async fn token(&self, hash: &Digest) -> Answered<KnownToken> {
        self.questions.get_json(&format!("/v1/tokens/{hash}")).await
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-account` or `token-exists`.
    pub async fn create_token(&self, token: &NewToken, by: &By) -> Answered<Token> {
        self.change(Method::POST, "/v1/tokens", by, token).await
    }

    /// Notes that a token was used.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-token`.
    pub async fn token_used(&self, id: &TokenId, used: Used, by: &By) -> Answered<()> {
        self.change(Method::POST, &format!("/v1/tokens/{id}/used"), by, &used).await
    }

    /// Ends a token.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-token`.
    pub async fn remove_token(&self, id: &TokenId, reason: Option<&Reason>, by: &By) -> Answered<()> {
        self.remove(&because(&format!("/v1/tokens/{id}"), reason), by).await
    }

    /// All client certificates.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn certificates(&self) -> Answered<Vec<Certificate>> {
        self.questions.get_json("/v1/certificates").await
    }

    /// One client certificate.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-certificate`.
    pub async fn certificate(&self, fingerprint: &Digest) -> Answered<KnownCertificate> {
        self.questions.get_json(&format!("/v1/certificates/{fingerprint}")).await
    }

    /// Enters a client certificate.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-account` or `certificate-exists`.
    pub async fn create_certificate(&self, certificate: &NewCertificate, by: &By) -> Answered<Certificate> {
        self.change(Method::POST, "/v1/certificates", by, certificate).await
    }

    /// Removes a client certificate.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-certificate`.
    pub async fn remove_certificate(&self, fingerprint: &Digest, reason: Option<&Reason>, by: &By) -> Answered<()> {
        self.remove(&because(&format!("/v1/certificates/{fingerprint}"), reason), by).await
    }

    /// Appends to the audit chain.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit(&self, note: &AuditNote) -> Answered<()> {
        self.change(Method::POST, "/v1/audit", &note.by, note).await
    }

    /// Tells which certificate the door shows.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tell_certificate(&self, certificate: &DoorCertificate) -> Answered<()> {
        self.questions.put_json("/v1/door", certificate).await
    }

    /// Reports what the door refused, for the audit chain. Nothing of a report that fails was noted, and it may be sent again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn report_refusals(&self, refusals: &Refusals) -> Answered<()> {
        let by = By { actor: LOCAL.to_owned(), role: None, source: LOCAL.to_owned(), correlation_id: String::new() };
        self.change(Method::POST, "/v1/audit/refusals", &by, refusals).await
    }

    async fn change<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        by: &By,
        body: &B,
    ) -> Answered<T> {
        let body = serde_json::to_vec(body).map_err(|error| self.malformed(path, error))?;
        let answer = self.bounded(method, path, by, Bytes::from(body)).await?;
        let text: &[u8] = if answer.is_empty() { b"null" } else { &answer };
        // The parser's own sentence may quote a value; here it could be a secret.
        serde_json::from_slice(text)
            .map_err(|error| self.malformed(path, format!("{:?} error in its JSON", error.classify())))
    }

    async fn remove(&self, path: &str, by: &By) -> Answered<()> {
        self.bounded(Method::DELETE, path, by, Bytes::new()).await.map(|_answer| ())
    }

    async fn bounded(&self, method: Method, path: &str, by: &By, body: Bytes) -> Answered<Bytes> {
        tokio::time::timeout(self.timeout, self.exchange(method, path, by, body)).await.unwrap_or_else(|_elapsed| {
            Err(ClientError::Timeout { socket: self.socket.clone(), path: path.to_owned(), after: self.timeout })
        })
    }

    async fn exchange(&self, method: Method, path: &str, by: &By, body: Bytes) -> Answered<Bytes> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let correlation = CORRELATION_HEADER;
        let role = by.role.map_or("", super::Role::as_str);
        let said = [
            (ACTOR_HEADER, by.actor.as_str()),
            (ROLE_HEADER, role),
            (SOURCE_HEADER, by.source.as_str()),
            (correlation.as_str(), by.correlation_id.as_str()),
        ];
        for (name, value) in said.into_iter().filter(|(_name, value)| !value.is_empty()) {
            let value = HeaderValue::from_str(value).map_err(|error| self.malformed(path, error))?;
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| self.malformed(path, error))?;
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(error))?;
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(error))?;
        let asked = async {
            let response = sender.send_request(request).await.map_err(|error| self.unreachable(error))?;
            let (head, body) = response.into_parts();
            let body =
                Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|error| self.unreachable(error))?.to_bytes();
            if head.status.is_success() { Ok(body) } else { Err(self.refusal(path, head.status, &body)) }
        };
        let driven = async {
            // Whoever reads the answer sees the same failure.
            if let Err(error) = driver.await {
                tracing::debug!(%error, "connection to the access socket ended");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = asked => answer,
            // Never completes; cancelled when the answer is whole, which closes the connection.
            () = driven => Err(self.unreachable("the connection ended")),
        }
    }

    fn refusal(&self, path: &str, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => ClientError::Problem(Box::new(problem)),
            Err(_error) => self.malformed(path, format!("status {} without a problem document", status.as_u16())),
        }
    }

    fn malformed(&self, path: &str, reason: impl ToString) -> ClientError {
        ClientError::Malformed { socket: self.socket.clone(), path: path.to_owned(), reason: reason.to_string() }
    }

    fn unreachable(&self, reason: impl ToString) -> ClientError {
        ClientError::Unreachable { socket: self.socket.clone(), reason: reason.to_string() }
    }
}
