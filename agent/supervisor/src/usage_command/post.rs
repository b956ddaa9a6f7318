//! One report by HTTPS: a connection of its own, trust from the settings alone, everything that comes back bounded in size and time. It does
//! not retry and follows no redirection: an endpoint is what the settings name.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde::Deserialize;
use tbi_api::usage::{Accepted, Report};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::appliance::settings::usage::UsageEndpoint;

const PATH: &str = "/api/usage/report";
/// An answer is one number; a problem document has some lines.
const MOST_ANSWER: usize = 64 * 1024;
/// Head of an answer.
const MOST_HEAD: usize = 16 * 1024;
/// As much of an endpoint's own words as a sentence carries.
const MOST_SAID: usize = 200;
const PROBLEM: &str = "application/problem+json";

/// Posts reports to one endpoint.
pub(super) struct Poster<'a> {
    endpoint: &'a UsageEndpoint,
    tls: TlsConnector,
    within: Duration,
}

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("the usage endpoint {authority} cannot be reached: {reason}; check usage.url and the management network")]
    Unreachable { authority: String, reason: String },
    #[error(
        "the certificate of {authority} is refused: {reason}; check that it comes from the authority in usage.ca_pem, and this box's clock"
    )]
    Untrusted { authority: String, reason: String },
    #[error("{authority} gave no complete answer within {} s; look at the endpoint", after.as_secs())]
    Timeout { authority: String, after: Duration },
    #[error(
        "the connection to {authority} ended before its answer: {reason}; what it did not confirm is sent again the next time"
    )]
    Cut { authority: String, reason: String },
    #[error("{authority} refused the report with status {status}{said}; look at the endpoint")]
    Refused { authority: String, status: u16, said: String },
    #[error("the answer of {authority} is not understood: {reason}; check that usage.url names a usage endpoint")]
    Malformed { authority: String, reason: String },
    #[error("TLS or HTTP cannot be set up: {0}; report it, it depends on nothing that can be configured")]
    Library(String),
}

impl PostError {
    /// The endpoint answered, and did not take it.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Malformed { .. })
    }
}

impl<'a> Poster<'a> {
    /// # Errors
    /// [`PostError::Library`].
    pub(super) fn new(endpoint: &'a UsageEndpoint, within: Duration) -> Result<Self, PostError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| PostError::Library(error.to_string()))?
            .with_root_certificates(endpoint.roots().clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { endpoint, tls: TlsConnector::from(Arc::new(config)), within })
    }

    /// # Errors
    /// [`PostError`]; the endpoint may have the report all the same.
    pub(super) async fn post(&self, report: &Report) -> Result<Accepted, PostError> {
        let body = serde_json::to_vec(report).map_err(|error| PostError::Library(error.to_string()))?;
        let exchange = async {
            let stream = self.connect().await?;
            self.exchange(stream, body.into()).await
        };
        let late = |_| PostError::Timeout { authority: self.endpoint.authority(), after: self.within };
        timeout(self.within, exchange).await.map_err(late)?
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, PostError> {
        let authority = self.endpoint.authority();
        let name = self.endpoint.name();
        let tcp = TcpStream::connect((&*name.to_str(), self.endpoint.port())).await;
        let tcp =
            tcp.map_err(|error| PostError::Unreachable { authority: authority.clone(), reason: error.to_string() })?;
        let secured = self.tls.connect(name.clone(), tcp).await;
        secured.map_err(|error| {
            let reason = error.to_string();
            let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match tls {
                Some(rustls::Error::InvalidCertificate(_)) => PostError::Untrusted { authority, reason },
                _ => PostError::Unreachable { authority, reason },
            }
        })
    }

    async fn exchange(&self, stream: TlsStream<TcpStream>, body: Bytes) -> Result<Accepted, PostError> {
        let authority = self.endpoint.authority();
        let cut = |reason: String| PostError::Cut { authority: authority.clone(), reason };
        let request = Request::builder()
            .method(Method::POST)
            .uri(PATH)
            .header(header::HOST, &authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, application/problem+json")
            .header(header::USER_AGENT, concat!("tbi-agent/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| PostError::Library(error.to_string()))?;
        let handshake =
            hyper::client::conn::http1::Builder::new().max_buf_size(MOST_HEAD).handshake(TokioIo::new(stream)).await;
        let (mut sender, driver) = handshake.map_err(|error| cut(error.to_string()))?;
        // Dropped, and the connection with it, at the end of this function; what the driver meets is also met by the request.
        let mut connection = JoinSet::new();
        connection.spawn(driver);
        let answer = sender.send_request(request).await.map_err(|error| {
            let reason = error.to_string();
            if error.is_parse() { PostError::Malformed { authority: authority.clone(), reason } } else { cut(reason) }
        })?;
        let status = answer.status();
        let is_problem = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.to_str().is_ok_and(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == PROBLEM))
        });
        let body = Limited::new(answer.into_body(), MOST_ANSWER).collect().await.map(|body| body.to_bytes());
        if !status.is_success() {
            // Refused is refused, whatever became of the explanation.
            let said = body.ok().filter(|_| is_problem).and_then(|body| said(&body));
            let said = said.map(|said| format!(" and says \"{said}\"")).unwrap_or_default();
            return Err(PostError::Refused { authority, status: status.as_u16(), said });
        }
        let malformed = |reason: String| PostError::Malformed { authority: authority.clone(), reason };
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => malformed(format!("it has more than {MOST_ANSWER} bytes")),
            false => cut(error.to_string()),
        })?;
        serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))
    }
}

/// The sentence of a problem document (RFC 9457), on one line whatever the endpoint put into it.
fn said(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let problem: Problem = serde_json::from_slice(body).ok()?;
    let shown: String = problem.detail.chars().take(MOST_SAID).flat_map(char::escape_debug).collect();
    Some(shown).filter(|shown| !shown.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoints_words_stay_on_one_line_and_short() {
        assert_eq!(said(br#"{"detail":"tick 3 is missing"}"#).as_deref(), Some("tick 3 is missing"));
        assert_eq!(said(b"{\"detail\":\"a\\nerror: \\u001b[31mb\"}").as_deref(), Some("a\\nerror: \\u{1b}[31mb"));
        let long = format!("{{\"detail\":\"{}\"}}", "x".repeat(5000));
        assert_eq!(said(long.as_bytes()).map(|said| said.len()), Some(MOST_SAID));
        for none in [&b""[..], b"[]", b"{}", br#"{"detail":""}"#, b"\xff"] {
            assert_eq!(said(none), None);
        }
    }
}
