//! The whole door over real sockets: a real daemon behind it, a gate that lets in whom a header names, and clients of every protocol.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::result_large_err, reason = "tests")]

mod certificate;
mod drain;
mod faults;
mod http3;
mod identity;
mod load;
mod routing;
mod smuggling;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http::header::{self, HeaderMap};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::{Value, json};
use tbi_api::access::{AccessClient, Role};
use tbi_api::client::AgentClient;
use tbi_daemon::{Health, Listener, Shutdown, sse};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::answers::refusal;
use crate::caps::Most;
use crate::certs::{Agent, Certificates, Names};
use crate::gate::{Asked, Caller, Gate, Refusal};
use crate::limits::{Limits, RateLimiter};
use crate::listen::Sockets;
use crate::local::Local;
use crate::registry::Configured;
use crate::serve::{Config, ServeError, serve};

/// Nothing here takes so long unless it is broken.
const SOON: Duration = Duration::from_secs(30);
/// Whom the gate lets in.
const AS: &str = "x-test-role";

struct TestGate;

impl Gate for TestGate {
    fn admit<'a>(&'a self, asked: &'a Asked<'a>) -> BoxFuture<'a, Result<Caller, Refusal>> {
        let judge = || {
            assert!(!asked.correlation_id.is_empty() && asked.peer.address.is_loopback());
            if asked.headers.contains_key("x-test-limited") {
                return Err(refusal(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "wait"));
            }
            let standing = RateLimiter::new(Limits::PER_ADDRESS, 1).take(&(), Duration::ZERO);
            if asked.claims.public {
                return Ok(Caller { account: None, standing, unproven: false });
            }
            let role = asked.headers.get(AS).and_then(|role| role.to_str().ok());
            match Role::ALL.into_iter().find(|known| Some(known.as_str()) == role) {
                None => Err(refusal(StatusCode::UNAUTHORIZED, "not-logged-in", "log in")),
                Some(role) if !asked.claims.roles.contains(&role) => {
                    Err(refusal(StatusCode::FORBIDDEN, "not-permitted", "another role may"))
                }
                Some(_) if asked.claims.step_up => {
                    Err(refusal(StatusCode::FORBIDDEN, "step-up-required", "prove it is you"))
                }
                Some(role) => {
                    Ok(Caller { account: Some(("tester".parse().unwrap(), role)), standing, unproven: false })
                }
            }
        };
        std::future::ready(judge()).boxed()
    }
}

/// A daemon as ours are, with an operation for each thing that can happen.
struct TestDaemon {
    socket: PathBuf,
    shutdown: Shutdown,
    health: Health,
    /// Requests that are being worked on; a cancelled one is none.
    working: watch::Sender<usize>,
    served: Arc<AtomicUsize>,
    /// Pieces of a MiB that were taken from the answer that never ends.
    flooded: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

struct Working(watch::Sender<usize>);

impl Working {
    fn begin(working: &watch::Sender<usize>) -> Self {
        working.send_modify(|count| *count += 1);
        Self(working.clone())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

fn document() -> utoipa::openapi::OpenApi {
    let answers = json!({"200": {"description": "Done"}});
    let of = |roles: &[&str]| json!({"security": [{"session": roles}], "responses": answers});
    let mut large = of(&["operator"]);
    large["x-body-limit"] = json!(4 << 20);
    let mut danger = of(&["administrator"]);
    danger["x-step-up"] = json!(true);
    let everybody = ["viewer", "operator", "administrator", "auditor"];
    serde_json::from_value(json!({
        "openapi": "3.1.0",
        "info": {"title": "test", "version": "7"},
        "paths": {
            "/v1/headers": {"get": of(&everybody)},
            "/v1/echo/{id}": {"post": of(&["operator"])},
            "/v1/large": {"put": large},
            "/v1/events": {"get": of(&everybody)},
            "/v1/hang": {"get": of(&everybody)},
            "/v1/torn": {"get": of(&everybody)},
            "/v1/flood": {"get": of(&everybody)},
            "/v1/open": {"get": {"security": [], "responses": answers}},
            "/v1/page": {"get": of(&everybody)},
            "/v1/power": {"post": danger},
            "/v1/strict": {"get": {"responses": answers}},
        },
        "components": {"schemas": {"Thing": {"type": "object"}}},
    }))
    .unwrap()
}

impl TestDaemon {
    fn start(socket: PathBuf) -> Self {
        let listener = Listener::bind(&socket).unwrap();
        let (health, shutdown) = (Health::new(), Shutdown::new());
        let (working, served) = (watch::Sender::new(0), Arc::new(AtomicUsize::new(0)));
        let flooded = Arc::new(AtomicUsize::new(0));
        let router = router(&working, &served, &shutdown).route("/v1/flood", get(flood(&flooded)));
        health.set_ready(Ok(()));
        let (stop, said) = (shutdown.clone(), health.clone());
        let serving = tokio::spawn(async move {
            tbi_daemon::serve(listener, router, said, document(), || "tbi_test_total 1\n".to_owned(), stop)
                .await
                .unwrap();
        });
        Self { socket, shutdown, health, working, served, flooded, serving }
    }

    async fn stop(&mut self) {
        self.shutdown.request();
        timeout(SOON, &mut self.serving).await.unwrap().unwrap();
    }

    async fn until_working(&self, wanted: usize) {
        let mut working = self.working.subscribe();
        timeout(SOON, working.wait_for(|count| *count == wanted))
            .await
            .expect("requests were not begun or not ended")
            .unwrap();
    }
}

/// An answer of a GiB, in pieces.
fn flood(pieces: &Arc<AtomicUsize>) -> impl Fn() -> std::future::Ready<Body> + Clone + Send + Sync + 'static {
    let pieces = Arc::clone(pieces);
    move || {
        let pieces = Arc::clone(&pieces);
        std::future::ready(Body::from_stream(stream::iter(0..1024).map(move |_| {
            pieces.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Bytes::from(vec![0; 1 << 20]))
        })))
    }
}

fn router(working: &watch::Sender<usize>, served: &Arc<AtomicUsize>, shutdown: &Shutdown) -> Router {
    let (hang, events, stop, served) = (working.clone(), working.clone(), shutdown.clone(), Arc::clone(served));
    Router::new()
        .route(
            "/v1/headers",
            get(move |headers: HeaderMap| async move {
                served.fetch_add(1, Ordering::Relaxed);
                let pairs =
                    headers.iter().map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or("?"))));
                axum::Json(Value::Object(pairs.collect()))
            }),
        )
        .route("/v1/echo/{id}", post(|body: Bytes| async move { body }))
        .route("/v1/large", put(|body: Bytes| async move { body.len().to_string() }).layer(DefaultBodyLimit::disable()))
        .route(
            "/v1/events",
            get(move || {
                let working = Working::begin(&events);
                let first = stream::iter([("tick", json!({"n": 1}))]);
                let rest = stream::pending().map(move |never: Infallible| {
                    let _until_dropped = &working;
                    match never {}
                });
                std::future::ready(sse(1, first.chain(rest), stop.clone()))
            }),
        )
        .route(
            "/v1/hang",
            get(move || async move {
                let _working = Working::begin(&hang);
                std::future::pending::<()>().await;
            }),
        )
        .route(
            "/v1/torn",
            get(|| async {
                let pieces = [Ok("first piece"), Err(std::io::Error::other("deliberate"))];
                Body::from_stream(stream::iter(pieces).then(|piece| async {
                    // The head and the first piece get out before the connection is torn.
                    tokio::task::yield_now().await;
                    piece
                }))
            }),
        )
        .route("/v1/open", get(|| async { "open" }))
        .route("/v1/page", get(|| async { axum::response::Html("<!doctype html>") }))
        .route("/v1/power", post(|| async { "off" }))
        .route("/v1/strict", get(|| async { "strict" }))
}

/// Door and daemon, started.
struct Stand {
    address: SocketAddr,
    certificates: Arc<Certificates>,
    ca: CertificateDer<'static>,
    daemon: TestDaemon,
    shutdown: Shutdown,
    serving: JoinHandle<Result<(), ServeError>>,
    _dir: tempfile::TempDir,
}

impl Stand {
    async fn start() -> Self {
        Self::with(Most { all: 100, per_address: 100 }).await
    }

    async fn with(most: Most) -> Self {
        Self::started(most, None, None).await
    }

    async fn started(most: Most, client_ca: Option<PathBuf>, local: Option<Local>) -> Self {
        let agent = Agent { status: None, access: AccessClient::new(Path::new("/nonexistent/access.sock")) };
        Self::of(most, client_ca, local, agent).await
    }

    /// With this agent to tell it names.
    async fn beside(agent: Agent) -> Self {
        Self::of(Most { all: 100, per_address: 100 }, None, None, agent).await
    }

    async fn of(most: Most, client_ca: Option<PathBuf>, local: Option<Local>, agent: Agent) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let daemon = TestDaemon::start(dir.path().join("agent.sock"));
        let sockets = Sockets::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = sockets.tcp[0].local_addr().unwrap();
        let shutdown = Shutdown::new();
        let names = Names { hosts: ["localhost".to_owned()].into(), addresses: [address.ip()].into() };
        let certificates = Certificates::load(&dir.path().join("door"), names, None, crate::tls::provider()).unwrap();
        let config = Config {
            sockets,
            certificates: Arc::clone(&certificates),
            agent,
            client_ca,
            daemons: vec![Configured { name: "agent".to_owned(), socket: daemon.socket.clone() }],
            locals: local.into_iter().collect(),
            face: None,
            most,
        };
        let serving = tokio::spawn(serve(config, Arc::new(TestGate), shutdown.clone()));
        let ca = dir.path().join("door/ca.crt");
        let stand = Self { address, certificates, ca: read_ca(&ca).await, daemon, shutdown, serving, _dir: dir };
        stand.until_ready(StatusCode::OK).await;
        stand
    }

    /// Waits until `/health/ready` answers `status`.
    async fn until_ready(&self, status: StatusCode) {
        let asked = async {
            while self.get("/health/ready", None).await.status() != status {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, asked).await.expect("readiness did not come");
    }

    fn client_config(&self, alpn: &str, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(crate::tls::provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        config
    }

    async fn connect(&self, alpn: &str) -> TlsStream<TcpStream> {
        self.connect_with(self.client_config(alpn, &[&TLS13])).await
    }

    async fn connect_with(&self, config: ClientConfig) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
    }

    /// Sends bytes over TLS and reads until the door closes the connection.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut tls = self.connect("http/1.1").await;
        tls.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // An abrupt end after the answer is an end, too.
        let _how = timeout(SOON, tls.read_to_end(&mut answer)).await.expect("the connection stayed open");
        String::from_utf8(answer).unwrap()
    }

    async fn http1(&self) -> hyper::client::conn::http1::SendRequest<Full<Bytes>> {
        let (sender, driver) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.connect("http/1.1").await)).await.unwrap();
        tokio::spawn(driver);
        sender
    }

    async fn http2(&self) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
        let io = TokioIo::new(self.connect("h2").await);
        let (sender, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(driver);
        sender
    }

    async fn get(&self, path: &str, role: Option<&str>) -> Response<Incoming> {
        let mut request = Request::get(path).header(header::HOST, "localhost");
        if let Some(role) = role {
            request = request.header(AS, role);
        }
        self.send(request.body(Full::default()).unwrap()).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        timeout(SOON, self.http1().await.send_request(request)).await.unwrap().unwrap()
    }

    async fn stop(mut self) -> Result<(), ServeError> {
        self.shutdown.request();
        timeout(SOON, &mut self.serving).await.unwrap().unwrap()
    }
}

async fn read_ca(path: &std::path::Path) -> CertificateDer<'static> {
    let read = async {
        loop {
            match CertificateDer::from_pem_file(path) {
                Ok(ca) => return ca,
                Err(_not_yet) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    timeout(SOON, read).await.expect("the door made no CA")
}

async fn text(response: Response<Incoming>) -> String {
    let body = timeout(SOON, response.into_body().collect()).await.unwrap().unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// Status and code of a problem document, which any refusal is.
async fn code(response: Response<Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let problem: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(problem["status"], status);
    assert!(!problem["detail"].as_str().unwrap().is_empty());
    (status, problem["code"].as_str().unwrap().to_owned())
}
