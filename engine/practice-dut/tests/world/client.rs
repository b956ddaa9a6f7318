//! What a client in the agents' namespace sees: one connection and one or more requests per protocol, chain always verified against
//! persona CA and gateway CA.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tbi_bench::proof::{Answer, EXPORTER_LABEL, Echo, Interception, KEYING_MATERIAL_LEN, Token};
use tbi_bench::wire::{ECHO_HEADER, TOKEN_HEADER};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Longest a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one request showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) class: Interception,
    pub(crate) issuer: String,
    pub(crate) alpn: String,
    pub(crate) tls: String,
    pub(crate) alt_svc: Option<String>,
    pub(crate) body: usize,
}

/// A client that trusts exactly these CAs.
#[derive(Clone)]
pub(crate) struct Client {
    roots: Arc<RootCertStore>,
}

type Error = Box<dyn std::error::Error + Send + Sync>;

impl Client {
    pub(crate) fn new(cas: &[&str]) -> Self {
        let mut roots = RootCertStore::empty();
        for pem in cas {
            roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        }
        Self { roots: Arc::new(roots) }
    }

    fn config(&self, alpn: &[&str]) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    pub(crate) async fn tls(
        &self,
        ip: IpAddr,
        name: &'static str,
        alpn: &[&str],
    ) -> Result<TlsStream<TcpStream>, Error> {
        let stream = tokio::time::timeout(PATIENCE, TcpStream::connect((ip, 443))).await??;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(self.config(alpn)));
        Ok(tokio::time::timeout(PATIENCE, connector.connect(ServerName::try_from(name)?, stream)).await??)
    }

    /// One request over TCP with these protocols offered.
    pub(crate) async fn tcp(&self, ip: IpAddr, name: &'static str, alpn: &[&str], path: &str) -> Result<Seen, Error> {
        let mut tcp = self.connect(ip, name, alpn).await?;
        tokio::time::timeout(PATIENCE, tcp.get(path)).await?
    }

    pub(crate) async fn connect(&self, ip: IpAddr, name: &'static str, alpn: &[&str]) -> Result<Tcp, Error> {
        let stream = self.tls(ip, name, alpn).await?;
        let session = &stream.get_ref().1;
        let token = Token::new(rand_bytes());
        let own = Echo::from_keying_material(&session.export_keying_material(
            [0; KEYING_MATERIAL_LEN],
            EXPORTER_LABEL,
            Some(token.as_bytes()),
        )?);
        let alpn = String::from_utf8_lossy(session.alpn_protocol().unwrap_or_default()).into_owned();
        let tls = format!("{:?}", session.protocol_version().unwrap());
        let issuer = issuer(session.peer_certificates().unwrap());
        let io = TokioIo::new(stream);
        let sender = if alpn == "h2" {
            let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            Sender::H2(sender)
        } else {
            let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
            tokio::spawn(connection);
            Sender::H1(sender)
        };
        Ok(Tcp { sender, token, own, alpn, tls, issuer, name })
    }

    pub(crate) async fn quic(&self, ip: IpAddr, name: &str) -> Result<quinn::Connection, Error> {
        let any: SocketAddr = if ip.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let endpoint = quinn::Endpoint::client(any)?;
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(self.config(&["h3"]))?;
        let connecting = endpoint.connect_with(quinn::ClientConfig::new(Arc::new(crypto)), (ip, 443).into(), name)?;
        Ok(tokio::time::timeout(PATIENCE, connecting).await??)
    }

    /// One HTTP/3 request.
    pub(crate) async fn h3(&self, ip: IpAddr, name: &str, path: &str) -> Result<Seen, Error> {
        let connection = self.quic(ip, name).await?;
        tokio::time::timeout(PATIENCE, h3_on(connection, name, path, 0)).await?
    }
}

/// One HTTP/3 request with a body of `upload` bytes on a connection of its own.
pub(crate) async fn h3_on(connection: quinn::Connection, name: &str, path: &str, upload: usize) -> Result<Seen, Error> {
    let token = Token::new(rand_bytes());
    let mut material = [0; KEYING_MATERIAL_LEN];
    connection.export_keying_material(&mut material, EXPORTER_LABEL, token.as_bytes()).map_err(|_| "exporter")?;
    let chain = connection.peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>().unwrap();
    let (mut driver, mut sender) = h3::client::new(h3_quinn::Connection::new(connection.clone())).await?;
    let driving = tokio::spawn(async move { driver.wait_idle().await });
    let request = Request::get(format!("https://{name}{path}")).header(TOKEN_HEADER, hex(token)).body(())?;
    let mut stream = sender.send_request(request).await?;
    stream.send_data(Bytes::from(vec![b'u'; upload])).await?;
    stream.finish().await?;
    let response = stream.recv_response().await?;
    if let Some(received) = response.headers().get("x-upload") {
        assert_eq!(received.to_str()?, upload.to_string());
    }
    let mut body = 0;
    while let Some(chunk) = stream.recv_data().await? {
        body += chunk.remaining();
    }
    driving.abort();
    connection.close(0x100u32.into(), b"");
    Ok(Seen {
        class: Interception::classify(
            Echo::from_keying_material(&material),
            Answer::Response(response.headers().get(ECHO_HEADER).map(|value| value.as_bytes())),
        ),
        issuer: issuer(&chain),
        alpn: "h3".to_owned(),
        tls: "TLSv1_3".to_owned(),
        alt_svc: None,
        body,
    })
}

/// An open HTTP/1.1 or HTTP/2 connection.
pub(crate) struct Tcp {
    sender: Sender,
    token: Token,
    own: Echo,
    alpn: String,
    tls: String,
    issuer: String,
    name: &'static str,
}

enum Sender {
    H1(hyper::client::conn::http1::SendRequest<Empty<Bytes>>),
    H2(hyper::client::conn::http2::SendRequest<Empty<Bytes>>),
}

impl Tcp {
    pub(crate) async fn get(&mut self, path: &str) -> Result<Seen, Error> {
        let request = Request::get(format!("https://{}{path}", self.name))
            .header("host", self.name)
            .header(TOKEN_HEADER, hex(self.token));
        let request = request.body(Empty::new())?;
        let response = match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await?;
                let (mut parts, body) = request.into_parts();
                parts.uri = path.parse()?;
                sender.send_request(Request::from_parts(parts, body)).await?
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                let (mut parts, body) = request.into_parts();
                parts.headers.remove("host");
                sender.send_request(Request::from_parts(parts, body)).await?
            }
        };
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (echo, alt_svc) = (header(ECHO_HEADER), header("alt-svc"));
        let body = response.into_body().collect().await?.to_bytes().len();
        Ok(Seen {
            class: Interception::classify(self.own, Answer::Response(echo.as_deref().map(str::as_bytes))),
            issuer: self.issuer.clone(),
            alpn: self.alpn.clone(),
            tls: self.tls.clone(),
            alt_svc,
            body,
        })
    }
}

fn issuer(chain: &[CertificateDer<'_>]) -> String {
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    leaf.issuer().iter_common_name().next().unwrap().as_str().unwrap().to_owned()
}

fn hex(token: Token) -> String {
    String::from_utf8(token.to_hex().to_vec()).unwrap()
}

fn rand_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut bytes).unwrap();
    bytes
}
