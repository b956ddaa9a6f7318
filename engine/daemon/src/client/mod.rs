//! The client of a daemon's socket: one connection per request, so that a daemon that was restarted in between is simply found again.
//! Everything that comes back is bounded in size and time. It does not retry; who calls knows whether that is safe.

pub(crate) mod events;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tbi_bench::control::Problem;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use self::events::{Event, EventParser};
use crate::problem::PROBLEM_JSON;
use crate::server::CORRELATION_HEADER;
use crate::sse::{BYE, HEARTBEAT};

/// How long a request may take altogether unless [`UnixClient::with_timeout`] says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer that is read, bytes: a trial report with its histograms stays well below.
const ANSWER_LIMIT: usize = 64 << 20;
/// An event stream that is silent for this many heartbeats is dead.
const MISSED_HEARTBEATS: u32 = 4;
/// Pause between two looks at a daemon that is not ready yet.
const POLL: Duration = Duration::from_millis(20);

/// A daemon's socket to speak to.
#[derive(Debug, Clone)]
pub struct UnixClient {
    socket: PathBuf,
    timeout: Duration,
    correlation: Option<HeaderValue>,
    fields: HeaderMap,
}

/// Why there is no answer, or not the wanted one.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon understood and refused.
    #[error("{detail}", detail = .0.detail)]
    Problem(Box<Problem>),
    /// Nobody answers on the socket, or the connection broke.
    #[error("nobody answers on {}: {reason}; check that the daemon runs", socket.display())]
    Unreachable {
        /// Which socket.
        socket: PathBuf,
        /// What the system or HTTP said.
        reason: String,
    },
    /// No complete answer in time.
    #[error("{path} on {} gave no complete answer within {} ms; look at the daemon's log", socket.display(), after.as_millis())]
    Timeout {
        /// Which socket.
        socket: PathBuf,
        /// Which path.
        path: String,
        /// How long was waited.
        after: Duration,
    },
    /// The answer is not of the expected form, or too large.
    #[error("the answer to {path} on {} is not understood: {reason}; check that both programs are of the same version", socket.display())]
    Malformed {
        /// Which socket.
        socket: PathBuf,
        /// Which path.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The daemon did not become ready.
    #[error("the daemon on {} was not ready after {} ms: {reason}", socket.display(), after.as_millis())]
    NotReady {
        /// Which socket.
        socket: PathBuf,
        /// How long was waited.
        after: Duration,
        /// What it (or the lack of it) said last.
        reason: String,
    },
}

impl ClientError {
    /// Stable code of the problem when the daemon refused.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => Some(&problem.code),
            _ => None,
        }
    }
}

/// A response whose connection is driven as long as the value lives.
struct Answer {
    response: Response<Incoming>,
    connection: JoinSet<()>,
}

impl UnixClient {
    /// Client for the daemon at `socket`; connects only when asked something.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), timeout: TIMEOUT, correlation: None, fields: HeaderMap::new() }
    }

    /// The same with another limit for each whole request (event streams: until the response headers).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same, sending this correlation id; ids that are no header value are left out.
    #[must_use]
    pub fn with_correlation_id(mut self, id: &str) -> Self {
        self.correlation = HeaderValue::from_str(id).ok();
        self
    }

    /// The same, sending this header field as well; a value that is none is left out.
    #[must_use]
    pub fn with_field(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.fields.insert(name, value);
        }
        self
    }

    /// Where it connects.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET` with a JSON answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json(Method::GET, path, Bytes::new()).await
    }

    /// `PUT` of a JSON body; an empty answer reads as `()`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn put_json<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.json(Method::PUT, path, self.encode(path, body)?).await
    }

    /// `POST` of a JSON body; an empty answer reads as `()`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post_json<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.json(Method::POST, path, self.encode(path, body)?).await
    }

    /// `POST` of a text as it is, with a JSON answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post_text<T: DeserializeOwned>(&self, path: &str, text: &str) -> Result<T, ClientError> {
        let plain = self.clone().with_field(header::CONTENT_TYPE, "text/plain; charset=utf-8");
        plain.json(Method::POST, path, Bytes::copy_from_slice(text.as_bytes())).await
    }

    /// `DELETE`; the answer's body is not looked at.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.fetch(Method::DELETE, path, Bytes::new()).await.map(|_body| ())
    }

    /// `GET` with a text answer (`/metrics`, PEM files).
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get_text(&self, path: &str) -> Result<String, ClientError> {
        let body = self.fetch(Method::GET, path, Bytes::new()).await?;
        String::from_utf8(body.into()).map_err(|error| self.malformed(path, error))
    }

    /// `GET` of an event stream. The stream ends after `bye`, which is delivered; a connection that ends without it is an error, as is
    /// silence for several heartbeats.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn events(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<Event, ClientError>> + Send + Unpin + use<>, ClientError> {
        let answer = self.within(path, self.request(Method::GET, path, Bytes::new())).await?;
        if !answer.response.status().is_success() {
            return Err(self.refusal(path, answer).await);
        }
        let reader = EventReader {
            client: self.clone(),
            path: path.to_owned(),
            answer,
            parser: EventParser::default(),
            ready: Vec::new().into_iter(),
            over: false,
        };
        Ok(stream::unfold(reader, |mut reader| async move { reader.next().await.map(|event| (event, reader)) }).boxed())
    }

    /// Looks at `/health/ready` until it says yes.
    ///
    /// # Errors
    /// [`ClientError::NotReady`] with the last reason after `deadline`.
    pub async fn wait_ready(&self, deadline: Duration) -> Result<(), ClientError> {
        let end = Instant::now() + deadline;
        let mut reason = "no look was completed".to_owned();
        loop {
            match timeout_at(end, self.get_json::<serde_json::Value>("/health/ready")).await {
                Ok(Ok(_ready)) => return Ok(()),
                Ok(Err(error)) => reason = error.to_string(),
                Err(_elapsed) => {}
            }
            if Instant::now() + POLL >= end {
                return Err(ClientError::NotReady { socket: self.socket.clone(), after: deadline, reason });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn json<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
        let body = self.fetch(method, path, body).await?;
        let text: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(text).map_err(|error| self.malformed(path, error))
    }

    async fn fetch(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        let whole = async {
            let answer = self.request(method, path, body).await?;
            if answer.response.status().is_success() {
                self.body(path, answer).await
            } else {
                Err(self.refusal(path, answer).await)
            }
        };
        self.within(path, whole).await
    }

    async fn within<T>(
        &self,
        path: &str,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        timeout(self.timeout, work).await.unwrap_or_else(|_elapsed| {
            Err(ClientError::Timeout { socket: self.socket.clone(), path: path.to_owned(), after: self.timeout })
        })
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, ClientError> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        if !body.is_empty() && !self.fields.contains_key(header::CONTENT_TYPE) {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(id) = &self.correlation {
            request = request.header(CORRELATION_HEADER, id);
        }
        for (name, value) in &self.fields {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| self.malformed(path, error))?;
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(error))?;
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(error))?;
        let mut connection = JoinSet::new();
        connection.spawn(async move {
            if let Err(error) = driver.await {
                // Whoever reads the body sees the same failure; this line only helps to find it.
                tracing::debug!(%error, "control connection ended");
            }
        });
        let response = sender.send_request(request).await.map_err(|error| self.unreachable(error))?;
        Ok(Answer { response, connection })
    }

    async fn body(&self, path: &str, answer: Answer) -> Result<Bytes, ClientError> {
        // The connection must be driven until the body is read.
        let Answer { response, connection: _driven } = answer;
        match Limited::new(response.into_body(), ANSWER_LIMIT).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(self.malformed(path, format!("it is larger than {ANSWER_LIMIT} bytes")))
            }
            Err(error) => Err(self.unreachable(error)),
        }
    }

    async fn refusal(&self, path: &str, answer: Answer) -> ClientError {
        let status = answer.response.status();
        let is_problem = answer.response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_JSON);
        match self.body(path, answer).await {
            Err(error) => error,
            Ok(body) if is_problem => match serde_json::from_slice(&body) {
                Ok(problem) => ClientError::Problem(Box::new(problem)),
                Err(error) => self.malformed(path, error),
            },
            Ok(_body) => {
                self.malformed(path, format!("status {} without a problem document", StatusCode::as_u16(&status)))
            }
        }
    }

    fn encode<B: Serialize + ?Sized>(&self, path: &str, body: &B) -> Result<Bytes, ClientError> {
        serde_json::to_vec(body).map(Bytes::from).map_err(|error| self.malformed(path, error))
    }

    fn malformed(&self, path: &str, reason: impl ToString) -> ClientError {
        ClientError::Malformed { socket: self.socket.clone(), path: path.to_owned(), reason: reason.to_string() }
    }

    fn unreachable(&self, reason: impl ToString) -> ClientError {
        ClientError::Unreachable { socket: self.socket.clone(), reason: reason.to_string() }
    }
}

struct EventReader {
    client: UnixClient,
    path: String,
    answer: Answer,
    parser: EventParser,
    ready: std::vec::IntoIter<Event>,
    over: bool,
}

impl EventReader {
    async fn next(&mut self) -> Option<Result<Event, ClientError>> {
        loop {
            if let Some(event) = self.ready.next() {
                self.over |= event.name == BYE;
                return Some(Ok(event));
            }
            if self.over {
                self.answer.connection.abort_all();
                return None;
            }
            match self.read().await {
                Ok(events) => self.ready = events.into_iter(),
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
    }

    async fn read(&mut self) -> Result<Vec<Event>, ClientError> {
        let silence = HEARTBEAT * MISSED_HEARTBEATS;
        let frame = timeout(silence, self.answer.response.frame()).await.map_err(|_elapsed| ClientError::Timeout {
            socket: self.client.socket.clone(),
            path: self.path.clone(),
            after: silence,
        })?;
        let data = match frame {
            None => return Err(self.client.unreachable("the event stream was cut before its end")),
            Some(Err(error)) => return Err(self.client.unreachable(error)),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        self.parser.push(&data).map_err(|error| self.client.malformed(&self.path, error))
    }
}
