//! Asking a front door, one on a stand or one of a box in a virtual machine: with curl over HTTP/1.1 and HTTP/2, with the `h3` crate over HTTP/3.
//!
//! Invariant: the door's certificate is verified, always, for the name or address that is asked and against one CA.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::child::run;

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Password of every account here.
pub const PASSWORD: &str = "correct horse battery staple";
/// The first administrator, in whose session everything is prepared.
pub const ADA: &str = "ada";

/// A login.
#[derive(Debug, Clone)]
pub struct Session {
    cookie: String,
    csrf: String,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub enum As<'a> {
    /// Nobody.
    Nobody,
    /// A program with an API token.
    Token(&'a str),
    /// A page in a browser.
    Session(&'a Session),
}

impl As<'_> {
    fn fields(self) -> Vec<(&'static str, String)> {
        match self {
            Self::Nobody => Vec::new(),
            Self::Token(token) => vec![("authorization", format!("Bearer {token}"))],
            Self::Session(session) => vec![
                ("cookie", session.cookie.clone()),
                ("x-tbi-csrf", session.csrf.clone()),
                ("sec-fetch-site", "same-origin".to_owned()),
            ],
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

impl Answer {
    /// A header field; the first of its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The same answer, when it has this status.
    #[track_caller]
    #[must_use]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// That it is a problem document with this status and code.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
    }

    fn session(&self) -> Session {
        let cookies = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        let cookie = cookies.map(|(_, cookie)| cookie).find(|cookie| cookie.starts_with("__Host-tbi-session="));
        let cookie = cookie.unwrap_or_else(|| panic!("no session in {self:?}"));
        let csrf = self.json()["csrf"].as_str().unwrap_or_default().to_owned();
        Session { cookie: cookie.split(';').next().unwrap_or_default().to_owned(), csrf }
    }
}

/// Where a door is, and which CA its certificate comes from.
#[derive(Debug, Clone)]
pub struct Client {
    /// Name or address, with the port unless it is 443.
    authority: String,
    /// Where the connection goes instead: a port of this machine that leads to the box.
    through: Option<SocketAddr>,
    ca: PathBuf,
}

impl Client {
    /// A door at `ADDRESS:PORT`.
    #[must_use]
    pub fn of_address(authority: &str, ca: &Path) -> Self {
        Self { authority: authority.to_owned(), through: None, ca: ca.to_owned() }
    }

    /// A door that is `name` to itself and to who asks, and is reached through `through`.
    #[must_use]
    pub fn of_name(name: &str, through: SocketAddr, ca: &Path) -> Self {
        Self { authority: name.to_owned(), through: Some(through), ca: ca.to_owned() }
    }

    /// A curl that trusts the door's CA and nobody else.
    #[must_use]
    pub fn curl(&self) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--cacert"]).arg(&self.ca);
        if let Some(through) = self.through {
            curl.args(["--connect-to", &format!("::{through}")]);
        }
        curl
    }

    /// URL of a path there.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.authority)
    }

    /// Asks with curl; no answer is a failed test.
    #[track_caller]
    #[must_use]
    pub fn ask(&self, who: As<'_>, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.ask_with(who, method, path, &[], body)
    }

    /// The same, with header fields (`Name: value`).
    #[track_caller]
    #[must_use]
    pub fn ask_with(&self, who: As<'_>, method: &str, path: &str, fields: &[&str], body: Option<&Value>) -> Answer {
        self.try_ask(who, method, path, fields, body).unwrap_or_else(|| panic!("{method} {path} was not answered"))
    }

    /// The same; `None` when nobody answers.
    #[must_use]
    pub fn try_ask(
        &self,
        who: As<'_>,
        method: &str,
        path: &str,
        fields: &[&str],
        body: Option<&Value>,
    ) -> Option<Answer> {
        let mut curl = self.curl();
        curl.args(["--include", "--request", method]);
        for field in fields {
            curl.args(["--header", field]);
        }
        for (name, value) in who.fields() {
            curl.args(["--header", &format!("{name}: {value}")]);
        }
        if let Some(body) = body {
            curl.args(["--header", "Content-Type: application/json", "--data-binary", &body.to_string()]);
        }
        let finished = run(curl.arg(self.url(path)), ANSWER);
        (finished.code() == 0).then(|| parse(&finished.stdout))
    }

    /// `GET` over HTTP/3 at a UDP port; no answer is a failed test.
    #[track_caller]
    #[must_use]
    pub fn get_over_http3(&self, at: SocketAddr, who: As<'_>, path: &str) -> Answer {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answered = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
            runtime.block_on(async { tokio::time::timeout(ANSWER, self.over_http3(at, who, path)).await? })
        });
        answered.unwrap_or_else(|error| panic!("GET {path} was not answered over HTTP/3: {error:#}"))
    }

    async fn over_http3(&self, at: SocketAddr, who: As<'_>, path: &str) -> anyhow::Result<Answer> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&self.ca)? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let mut endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
        let host = self.authority.split(':').next().unwrap_or_default();
        let quic = endpoint.connect(at, host)?.await?;
        let (mut driver, mut sender) = h3::client::new(h3_quinn::Connection::new(quic)).await?;
        let driving = tokio::spawn(async move { driver.wait_idle().await });
        let mut request = http::Request::get(self.url(path));
        for (name, value) in who.fields() {
            request = request.header(name, value);
        }
        let mut stream = sender.send_request(request.body(())?).await?;
        stream.finish().await?;
        let head = stream.recv_response().await?;
        let mut body = Vec::new();
        while let Some(mut chunk) = stream.recv_data().await? {
            let part: Bytes = chunk.copy_to_bytes(chunk.remaining());
            body.extend_from_slice(&part);
        }
        driving.abort();
        let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Ok(Answer {
            status: head.status().as_u16(),
            headers: head.headers().iter().map(field).collect(),
            body: String::from_utf8(body)?,
        })
    }

    /// Makes the first administrator with the claim code, and gives its session, with a fresh proof of the person.
    #[track_caller]
    #[must_use]
    pub fn first_administrator(&self, claim_code: &str) -> Session {
        let claim = json!({"claim_code": claim_code, "account": ADA, "password": PASSWORD});
        let _made = self.ask(As::Nobody, "POST", "/api/v1/access/first-administrator", Some(&claim)).expect(201);
        self.step_up(&self.log_in())
    }

    /// Logs the first administrator in.
    #[track_caller]
    #[must_use]
    pub fn log_in(&self) -> Session {
        let login = json!({"account": ADA, "password": PASSWORD});
        self.ask(As::Nobody, "POST", "/api/v1/access/login", Some(&login)).expect(200).session()
    }

    /// Proves the person behind a session afresh, which gives another one.
    #[track_caller]
    #[must_use]
    pub fn step_up(&self, session: &Session) -> Session {
        let proof = json!({"password": PASSWORD});
        self.ask(As::Session(session), "POST", "/api/v1/access/step-up", Some(&proof)).expect(200).session()
    }
}

/// What `curl --include` prints.
fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status in {head:?}"));
    let field = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    Answer { status, headers: lines.filter_map(field).collect(), body: body.to_owned() }
}
