//! Persona-like servers: HTTP/1.1 and HTTP/2 over TLS, HTTP/3 over QUIC, with echo and Alt-Svc, plus a UDP echo server for counting
//! packets. They run in a thread of their own in the personas' namespace until the test process ends.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc;

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tbi_bench::proof::{EXPORTER_LABEL, Echo, KEYING_MATERIAL_LEN, Token};
use tbi_bench::wire::{ALT_SVC, ECHO_HEADER, TOKEN_HEADER};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;

use crate::net;

pub(crate) const SHOP: &str = "shop.persona.test";
pub(crate) const ROGUE: &str = "rogue.persona.test";
pub(crate) const CA_NAME: &str = "in-test persona CA";

/// Certificate authority for the in-test personas.
pub(crate) struct Ca {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, CA_NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn server_config(&self, name: &str, addresses: &[IpAddr], alpn: &[&str]) -> rustls::ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut names = vec![name.to_owned()];
        names.extend(addresses.iter().map(IpAddr::to_string));
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![leaf.der().clone()], key)
                .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// Starts a trusted persona on `.10`, one of another CA on `.66`, and UDP echo on `.20`; returns when all listen.
pub(crate) fn start(trusted: Ca, rogue: Ca) {
    let (ready, wait) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        net::enter_personas();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            for (ca, name, last) in [(&trusted, SHOP, 10), (&rogue, ROGUE, 66)] {
                let addresses = [address_v4(last), address_v6(last)];
                for ip in addresses {
                    let tls = ca.server_config(name, &addresses, &["h2", "http/1.1"]);
                    tokio::spawn(serve_tcp(
                        TcpListener::bind((ip, 443)).await.unwrap(),
                        TlsAcceptor::from(Arc::new(tls)),
                    ));
                    let tls = ca.server_config(name, &addresses, &["h3"]);
                    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
                    let endpoint =
                        quinn::Endpoint::server(quinn::ServerConfig::with_crypto(Arc::new(crypto)), (ip, 443).into())
                            .unwrap();
                    tokio::spawn(serve_quic(endpoint));
                }
            }
            tokio::spawn(echo_udp(UdpSocket::bind((address_v4(20), 443)).await.unwrap()));
            ready.send(()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    wait.recv().unwrap();
}

pub(crate) fn address_v4(last: u8) -> IpAddr {
    IpAddr::from([198, 51, 100, last])
}

pub(crate) fn address_v6(last: u8) -> IpAddr {
    // The shell wrote the decimal digits as hexadecimal ones.
    format!("2001:db8:1::{last}").parse().unwrap()
}

async fn serve_tcp(listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(tls) = acceptor.accept(stream).await else { return };
            let h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            serve_http(tls, h2).await;
        });
    }
}

async fn serve_http(tls: tokio_rustls::server::TlsStream<TcpStream>, h2: bool) {
    let (io, exporter) = Tapped::new(tls);
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let exporter = exporter.clone();
        async move {
            let echo =
                request.headers().get(TOKEN_HEADER).and_then(|token| Token::from_hex(token.as_bytes())).map(|token| {
                    let material = exporter.lock().unwrap().get_ref().1.export_keying_material(
                        [0; KEYING_MATERIAL_LEN],
                        EXPORTER_LABEL,
                        Some(token.as_bytes()),
                    );
                    Echo::from_keying_material(&material.unwrap())
                });
            Ok::<_, Infallible>(answer(request.uri().path(), echo))
        }
    });
    let io = TokioIo::new(io);
    if h2 {
        let _broken =
            hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
    } else {
        let _broken = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
    }
}

/// `/N` is answered with N bytes; `/die` with half of what it promises.
fn answer(
    path: &str,
    echo: Option<Echo>,
) -> Response<StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + use<>>> {
    let dies = path == "/die";
    let size = if dies { 100_000 } else { path[1..].parse().unwrap_or(0) };
    let first = if dies { size / 2 } else { size };
    let mut frames = vec![Ok(Frame::data(Bytes::from(vec![b'x'; first])))];
    if dies {
        frames.push(Err(std::io::Error::other("deliberate")));
    }
    let mut response = Response::builder().header("alt-svc", ALT_SVC).header("content-length", size);
    if let Some(echo) = echo {
        response = response.header(ECHO_HEADER, std::str::from_utf8(&echo.to_hex()).unwrap());
    }
    response.body(StreamBody::new(futures_util::stream::iter(frames))).unwrap()
}

async fn serve_quic(endpoint: quinn::Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            let mut http = h3::server::Connection::new(h3_quinn::Connection::new(connection.clone())).await.unwrap();
            while let Ok(Some(resolver)) = http.accept().await {
                let connection = connection.clone();
                tokio::spawn(async move {
                    let Ok((request, mut stream)) = resolver.resolve_request().await else { return };
                    let echo = request
                        .headers()
                        .get(TOKEN_HEADER)
                        .and_then(|token| Token::from_hex(token.as_bytes()))
                        .map(|token| {
                            let mut material = [0; KEYING_MATERIAL_LEN];
                            connection.export_keying_material(&mut material, EXPORTER_LABEL, token.as_bytes()).unwrap();
                            Echo::from_keying_material(&material)
                        });
                    let size: usize = request.uri().path()[1..].parse().unwrap_or(0);
                    let dies = request.uri().path() == "/die";
                    let mut response = Response::builder().status(200);
                    if let Some(echo) = echo {
                        response = response.header(ECHO_HEADER, std::str::from_utf8(&echo.to_hex()).unwrap());
                    }
                    let mut upload = 0;
                    while let Ok(Some(chunk)) = stream.recv_data().await {
                        upload += chunk.remaining();
                    }
                    let response = response.header("x-upload", upload).body(()).unwrap();
                    if stream.send_response(response).await.is_err() {
                        return;
                    }
                    let _gone = stream.send_data(Bytes::from(vec![b'x'; if dies { 50_000 } else { size }])).await;
                    if dies {
                        connection.close(7u32.into(), b"deliberate");
                    } else {
                        let _gone = stream.finish().await;
                    }
                });
            }
        });
    }
}

async fn echo_udp(socket: UdpSocket) {
    let mut buffer = [0; 64];
    loop {
        let (len, from): (usize, SocketAddr) = socket.recv_from(&mut buffer).await.unwrap();
        let _full = socket.send_to(&buffer[..len], from).await;
    }
}

/// A TLS stream that can still be asked for its session while hyper uses it.
struct Tapped(Arc<std::sync::Mutex<tokio_rustls::server::TlsStream<TcpStream>>>);

impl Tapped {
    fn new(
        tls: tokio_rustls::server::TlsStream<TcpStream>,
    ) -> (Self, Arc<std::sync::Mutex<tokio_rustls::server::TlsStream<TcpStream>>>) {
        let shared = Arc::new(std::sync::Mutex::new(tls));
        (Self(shared.clone()), shared)
    }
}

mod tapped_io {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Tapped;

    impl AsyncRead for Tapped {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut *self.0.lock().unwrap()).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Tapped {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut *self.0.lock().unwrap()).poll_write(cx, bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut *self.0.lock().unwrap()).poll_flush(cx)
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut *self.0.lock().unwrap()).poll_shutdown(cx)
        }
    }
}
