//! The pages as readers have them: a real door over TLS with the gate of access, accounts in memory, and on the agent's socket a daemon that
//! answers in the agent's words with what a test puts there.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod agent;
mod bench;
mod entering;
mod forms;
mod frames;
mod hostile;
mod live;
mod management;
mod markup;
mod observability;
mod rooms;
mod setup;
mod views;
mod words;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http::header::{self, HeaderMap};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tbi_api::access::AccessClient;
use tbi_daemon::Shutdown;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use self::agent::TestAgent;
use super::Pages;
use crate::access::tests::{PASSWORD, TestBox};
use crate::caps::Most;
use crate::certs::{Certificates, Names};
use crate::listen::Sockets;
use crate::registry::Configured;
use crate::serve::{Config, ServeError, serve};

/// Nothing here takes so long unless it is broken.
const SOON: Duration = Duration::from_secs(30);
const HOST: &str = "localhost";

/// A box with accounts `anna` (administrator), `olaf` (operator), `vera` (viewer), `aura` (auditor), or none.
struct Stand {
    address: SocketAddr,
    ca: CertificateDer<'static>,
    on_box: TestBox,
    agent: TestAgent,
    shutdown: Shutdown,
    serving: JoinHandle<Result<(), ServeError>>,
    _dir: tempfile::TempDir,
}

impl Stand {
    async fn start() -> Self {
        Self::on(TestBox::new().await).await
    }

    /// A box that nobody has claimed.
    async fn unclaimed() -> Self {
        Self::on(TestBox::empty().await).await
    }

    async fn on(on_box: TestBox) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let agent = TestAgent::start(dir.path().join("agent.sock"));
        let sockets = Sockets::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = sockets.tcp[0].local_addr().unwrap();
        let shutdown = Shutdown::new();
        let names = Names { hosts: [HOST.to_owned()].into(), addresses: [address.ip()].into() };
        let certificates = Certificates::load(&dir.path().join("door"), names, None, crate::tls::provider()).unwrap();
        let pages = Pages::new(Arc::clone(&on_box.access), Arc::clone(&certificates), Some(&agent.socket));
        let config = Config {
            sockets,
            certificates,
            agent: crate::certs::Agent {
                status: None,
                access: AccessClient::new(Path::new("/nonexistent/access.sock")),
            },
            client_ca: None,
            daemons: vec![Configured { name: "agent".to_owned(), socket: agent.socket.clone() }],
            locals: vec![super::local(&pages)],
            face: Some(pages),
            most: Most { all: 100, per_address: 100 },
        };
        let gate = Arc::clone(&on_box.access);
        let serving = tokio::spawn(serve(config, gate, shutdown.clone()));
        let ca = dir.path().join("door/ca.crt");
        let made = async {
            loop {
                match CertificateDer::from_pem_file(&ca) {
                    Ok(ca) => return ca,
                    Err(_not_yet) => sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let ca = timeout(SOON, made).await.expect("the door made no CA");
        Self { address, ca, on_box, agent, shutdown, serving, _dir: dir }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Page {
        let asked = async {
            let mut roots = RootCertStore::empty();
            roots.add(self.ca.clone()).unwrap();
            let mut config = ClientConfig::builder_with_provider(crate::tls::provider())
                .with_protocol_versions(&[&TLS13])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            let tcp = TcpStream::connect(self.address).await.unwrap();
            let tls = TlsConnector::from(Arc::new(config));
            let tls = tls.connect(ServerName::try_from(HOST).unwrap(), tcp).await.unwrap();
            let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
            let driving = tokio::spawn(driver);
            let (head, body) = sender.send_request(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            driving.abort();
            Page { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
        };
        timeout(SOON, asked).await.expect("no answer came")
    }

    async fn stop(mut self) {
        self.shutdown.request();
        timeout(SOON, &mut self.serving).await.unwrap().unwrap().unwrap();
    }
}

/// What came back.
#[derive(Debug)]
struct Page {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Page {
    #[track_caller]
    fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:?} {}", self.headers, self.body);
        self
    }

    #[track_caller]
    fn leads_to(self, place: &str) -> Self {
        let page = self.is(303);
        assert_eq!(page.header("location"), place);
        page
    }

    #[track_caller]
    fn has(self, text: &str) -> Self {
        assert!(self.body.contains(text), "there is no '{text}' in {}", self.body);
        self
    }

    #[track_caller]
    fn has_not(self, text: &str) -> Self {
        assert!(!self.body.contains(text), "there is '{text}' in {}", self.body);
        self
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The token of the session's forms.
    fn token(&self) -> String {
        let at = self.body.split("name=\"csrf\" value=\"").nth(1).expect("there is no token on the page");
        at.split('"').next().unwrap().to_owned()
    }
}

/// A browser: keeps cookies, says where its forms come from.
#[derive(Debug, Clone, Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
    language: &'static str,
}

impl Browser {
    fn request(&self, request: http::request::Builder) -> http::request::Builder {
        let mut request = request.header(header::HOST, HOST).header(header::ACCEPT, "text/html,*/*;q=0.8");
        if !self.language.is_empty() {
            request = request.header(header::ACCEPT_LANGUAGE, self.language);
        }
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(header::COOKIE, pairs.join("; "));
        }
        request
    }

    fn keep(&mut self, page: Page) -> Page {
        for cookie in page.headers.get_all(header::SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        page
    }

    async fn get(&mut self, stand: &Stand, path: &str) -> Page {
        let request = self.request(Request::get(path)).body(Full::default()).unwrap();
        let page = stand.send(request).await;
        self.keep(page)
    }

    /// A form as a browser sends it from a page of this box.
    async fn post(&mut self, stand: &Stand, path: &str, fields: &[(&str, &str)]) -> Page {
        self.post_from(stand, path, fields, &[("origin", "https://localhost"), ("sec-fetch-site", "same-origin")]).await
    }

    async fn post_from(&mut self, stand: &Stand, path: &str, fields: &[(&str, &str)], from: &[(&str, &str)]) -> Page {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let body = form.extend_pairs(fields).finish();
        let mut request =
            self.request(Request::post(path)).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        for (name, value) in from {
            request = request.header(*name, *value);
        }
        let page = stand.send(request.body(Full::from(body)).unwrap()).await;
        self.keep(page)
    }

    async fn log_in(stand: &Stand, account: &str) -> Self {
        let mut browser = Self::default();
        browser
            .post(stand, "/login", &[("account", account), ("password", PASSWORD), ("code", "")])
            .await
            .leads_to("/");
        browser
    }
}
