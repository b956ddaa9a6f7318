//! Personas in this process or as the real binary, and a client that speaks all three protocols and proves its sessions.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code, unreachable_pub, reason = "shared by several test crates, none of which uses everything")]

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::{SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tbi_bench::control::personas::{KeyKind, PersonasConfig, Saw, Site};
use tbi_bench::fingerprint::HelloFields;
use tbi_bench::proof::{EXPORTER_LABEL, Echo, Token};
use tbi_bench::protocol::Protocol;
use tbi_bench::wire::{ECHO_HEADER, TOKEN_HEADER};
use tbi_daemon::{Health, Shutdown, UnixClient};
use tbi_personas::Personas;
use tbi_personas::config::Config;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Longer than anything takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);
pub const BANK: &str = "bank.de.persona.tlsstress.art";
pub const SHOP: &str = "shop.fr.persona.tlsstress.art";
pub const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
pub const ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

pub fn words(ca_dir: &Path, key: KeyKind) -> PersonasConfig {
    let site = |persona: &str, server_name: &str, addresses: &[&str]| Site {
        persona: persona.to_owned(),
        server_name: server_name.to_owned(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    };
    PersonasConfig {
        sites: vec![site("bank", BANK, &["127.0.0.1", "::1"]), site("shop", SHOP, &["127.0.0.2"])],
        key,
        ca_dir: ca_dir.to_str().unwrap().to_owned(),
        workers: 2,
        port: 0,
    }
}

/// Where to send, and whom to trust.
#[derive(Clone)]
pub struct Client {
    pub port: u16,
    roots: Arc<RootCertStore>,
}

/// Personas in this process.
pub struct Running {
    pub personas: Option<Personas>,
    pub client: Client,
    pub health: Health,
    pub shutdown: Shutdown,
    pub dir: tempfile::TempDir,
}

pub fn start(key: KeyKind) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::check(words(&dir.path().join("ca"), key)).unwrap();
    let (health, shutdown) = (Health::new(), Shutdown::new());
    let personas = Personas::start(&config, jiff::Timestamp::now().as_second(), &health, &shutdown).unwrap();
    health.set_ready(Ok(()));
    let client = Client::new(personas.port(), personas.authority().pem());
    Running { personas: Some(personas), client, health, shutdown, dir }
}

impl Running {
    /// The control API of these personas, as a router to ask.
    pub fn stop(mut self) {
        self.shutdown.request();
        self.personas.take().unwrap().join();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

/// The real binary.
pub struct Daemon {
    pub child: Child,
    pub control: UnixClient,
    pub client: Client,
    pub ca: PathBuf,
    pub dir: tempfile::TempDir,
}

pub async fn daemon() -> Daemon {
    let dir = tempfile::tempdir().unwrap();
    let (config, socket, ca_dir) =
        (dir.path().join("personas.json"), dir.path().join("control.sock"), dir.path().join("ca"));
    std::fs::write(&config, serde_json::to_vec(&words(&ca_dir, KeyKind::EcdsaP256)).unwrap()).unwrap();
    let child = command(&config, &socket).spawn().unwrap();
    let control = UnixClient::new(socket);
    control.wait_ready(SOON).await.unwrap();
    let port = metric(&control, "tbi_personas_port").await as u16;
    let client = Client::new(port, &control.get_text("/v1/ca.pem").await.unwrap());
    Daemon { child, control, client, ca: ca_dir.join("ca.pem"), dir }
}

pub fn command(config: &Path, socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tbi-personas"));
    command.arg("--config").arg(config).arg("--socket").arg(socket).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

pub async fn metric(control: &UnixClient, line: &str) -> u64 {
    let text = control.get_text("/metrics").await.unwrap();
    let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    value.expect("the metric exists").parse().unwrap()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// One answer and what the client knows of the session it came through.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub own_echo: Echo,
    pub hello: HelloFields,
    pub local: SocketAddr,
}

impl Reply {
    pub fn echo(&self) -> Option<Echo> {
        Echo::from_hex(self.headers.get(ECHO_HEADER)?.as_bytes())
    }

    pub fn saw(&self) -> Saw {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub fn token(n: u8) -> Token {
    Token::new([n; 16])
}

impl Client {
    pub fn new(port: u16, ca_pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
        Self { port, roots: Arc::new(roots) }
    }

    pub fn config(&self, versions: &[&'static SupportedProtocolVersion], protocol: Protocol) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.alpn().to_vec()];
        config
    }

    pub fn quic_config(&self) -> quinn::ClientConfig {
        let tls = self.config(&[&rustls::version::TLS13], Protocol::H3);
        let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        quinn::ClientConfig::new(Arc::new(tls))
    }

    /// One request on one new connection, over TLS 1.3 or 1.2 as the client likes.
    pub async fn get(&self, protocol: Protocol, address: &str, name: &str, path: &str) -> Result<Reply, String> {
        let requests = [("GET", path)];
        let mut replies = self.requests(protocol, BOTH, address, name, &requests).await?;
        Ok(replies.remove(0))
    }

    /// Requests one after the other on one new connection, each with the token `token(1)`.
    pub async fn requests(
        &self,
        protocol: Protocol,
        versions: &[&'static SupportedProtocolVersion],
        address: &str,
        name: &str,
        requests: &[(&str, &str)],
    ) -> Result<Vec<Reply>, String> {
        let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), self.port);
        let requested = async {
            if protocol.is_quic() {
                self.over_quic(address, name, requests).await
            } else {
                self.over_tcp(protocol, versions, address, name, requests).await
            }
        };
        tokio::time::timeout(SOON, requested).await.map_err(|_elapsed| "no answer in time".to_owned())?
    }

    async fn over_tcp(
        &self,
        protocol: Protocol,
        versions: &[&'static SupportedProtocolVersion],
        address: SocketAddr,
        name: &str,
        requests: &[(&str, &str)],
    ) -> Result<Vec<Reply>, String> {
        let tcp = TcpStream::connect(address).await.map_err(text)?;
        let local = tcp.local_addr().map_err(text)?;
        let config = Arc::new(self.config(versions, protocol));
        let hello = hello(&config, versions, false);
        let name_for_tls = ServerName::try_from(name.to_owned()).map_err(text)?;
        let tls = tokio_rustls::TlsConnector::from(config).connect(name_for_tls, tcp).await.map_err(text)?;
        let session = tls.get_ref().1;
        assert_eq!(session.alpn_protocol(), Some(protocol.alpn()));
        if versions.len() == 1 {
            assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_2));
        }
        let context = token(1);
        let material =
            session.export_keying_material([0; 32], EXPORTER_LABEL, Some(context.as_bytes())).map_err(text)?;
        let own_echo = Echo::from_keying_material(&material);
        let mut driven = JoinSet::new();
        let mut replies = Vec::new();
        let io = TokioIo::new(tls);
        macro_rules! send_all {
            ($handshake:expr) => {{
                let (mut sender, connection) = $handshake.await.map_err(text)?;
                driven.spawn(async move { drop(connection.await) });
                for (method, path) in requests {
                    let request = request(method, name, path, protocol).body(Empty::<Bytes>::new()).map_err(text)?;
                    sender.ready().await.map_err(text)?;
                    let (parts, body) = sender.send_request(request).await.map_err(text)?.into_parts();
                    let body = body.collect().await.map_err(text)?.to_bytes();
                    let hello = hello.clone();
                    replies.push(Reply { status: parts.status, headers: parts.headers, body, own_echo, hello, local });
                }
            }};
        }
        if protocol == Protocol::H2 {
            send_all!(hyper::client::conn::http2::handshake(TokioExecutor::new(), io));
        } else {
            send_all!(hyper::client::conn::http1::handshake(io));
        }
        Ok(replies)
    }

    async fn over_quic(
        &self,
        address: SocketAddr,
        name: &str,
        requests: &[(&str, &str)],
    ) -> Result<Vec<Reply>, String> {
        let any: IpAddr = if address.is_ipv4() { "127.0.0.1".parse().unwrap() } else { "::1".parse().unwrap() };
        let endpoint = quinn::Endpoint::client(SocketAddr::new(any, 0)).map_err(text)?;
        let local = endpoint.local_addr().map_err(text)?;
        let quic = endpoint
            .connect_with(self.quic_config(), address, name)
            .map_err(text)?
            .await
            .map_err(|error| format!("{error:?}"))?;
        let mut material = [0; 32];
        quic.export_keying_material(&mut material, EXPORTER_LABEL, token(1).as_bytes())
            .map_err(|error| format!("{error:?}"))?;
        let own_echo = Echo::from_keying_material(&material);
        let hello = hello(&self.config(BOTH, Protocol::H3), &[&rustls::version::TLS13], true);
        let (mut driver, mut sender) = h3::client::new(h3_quinn::Connection::new(quic)).await.map_err(text)?;
        let mut driven = JoinSet::new();
        driven.spawn(async move { drop(std::future::poll_fn(|cx| driver.poll_close(cx)).await) });
        let mut replies = Vec::new();
        for (method, path) in requests {
            let request = request(method, name, path, Protocol::H3).body(()).map_err(text)?;
            let mut stream = sender.send_request(request).await.map_err(text)?;
            stream.finish().await.map_err(text)?;
            let (parts, ()) = stream.recv_response().await.map_err(text)?.into_parts();
            let mut body = Vec::new();
            while let Some(mut piece) = stream.recv_data().await.map_err(text)? {
                body.extend_from_slice(&piece.copy_to_bytes(piece.remaining()));
            }
            let (body, hello) = (Bytes::from(body), hello.clone());
            replies.push(Reply { status: parts.status, headers: parts.headers, body, own_echo, hello, local });
        }
        Ok(replies)
    }
}

fn request(method: &str, name: &str, path: &str, protocol: Protocol) -> http::request::Builder {
    let uri = if protocol == Protocol::H1 { path.to_owned() } else { format!("https://{name}{path}") };
    let builder = Request::builder().method(method).uri(uri).header(TOKEN_HEADER, &token(1).to_hex()[..]);
    if protocol == Protocol::H1 { builder.header("host", name) } else { builder }
}

/// What a client of this configuration offers, from the configuration and not from the wire. rustls leaves out suites that QUIC cannot use
/// and groups that none of the versions can use, nothing else.
fn hello(config: &ClientConfig, versions: &[&'static SupportedProtocolVersion], quic: bool) -> HelloFields {
    let provider = config.crypto_provider();
    let suites = provider.cipher_suites.iter().filter(|suite| !quic || suite.tls13().is_some());
    let usable =
        |group: &&&dyn SupportedKxGroup| versions.iter().any(|offered| group.usable_for_version(offered.version));
    HelloFields {
        quic,
        cipher_suites: suites.map(|suite| suite.suite().into()).collect(),
        named_groups: provider.kx_groups.iter().filter(usable).map(|group| group.name().into()).collect(),
        signature_schemes: provider
            .signature_verification_algorithms
            .mapping
            .iter()
            .map(|(scheme, _)| (*scheme).into())
            .collect(),
        alpn: config.alpn_protocols.clone(),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
