//! A TLS server for HTTP/1.1 that does one thing wrong, on a thread of its own; stops when dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tbi_bench::control::engine::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Accepts and says nothing.
    SilentBeforeTls,
    /// Talks, but not TLS.
    GarbageInsteadOfTls,
    /// RST after the handshake.
    ResetAfterHandshake,
    /// Reads the request and never answers.
    SilentAfterRequest,
    /// This answer, then an orderly close.
    Answer(&'static str),
    /// Offers only h2.
    OtherAlpn,
}

/// A running server and the CA that signed it.
pub struct Faulty {
    pub target: Target,
    pub ca_pem: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Faulty {
    pub fn start(defect: Defect) -> Self {
        let (ca_pem, config) = certificates(if defect == Defect::OtherAlpn { b"h2" } else { b"http/1.1" });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            super::runtime().block_on(async move {
                let listener = TcpListener::bind("127.0.3.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let serving = serve(listener, TlsAcceptor::from(Arc::new(config)), defect);
                tokio::select! {
                    () = serving => {}
                    _dropped = stopped => {}
                }
            });
        });
        let address: SocketAddr = told.recv_timeout(Duration::from_secs(5)).unwrap();
        let target = Target {
            persona: "faulty".to_owned(),
            address: address.ip(),
            port: address.port(),
            server_name: "faulty.test".to_owned(),
        };
        Self { target, ca_pem, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, defect: Defect) {
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let Ok((tcp, _)) = listener.accept().await else { return };
        tasks.spawn(misbehave(tcp, acceptor.clone(), defect));
        while tasks.try_join_next().is_some() {}
    }
}

async fn misbehave(mut tcp: TcpStream, acceptor: TlsAcceptor, defect: Defect) {
    match defect {
        Defect::SilentBeforeTls => {
            let mut sink = [0; 1024];
            while tcp.read(&mut sink).await.is_ok_and(|read| read > 0) {}
        }
        Defect::GarbageInsteadOfTls => {
            let _ = tcp.write_all(b"220 mail.example ESMTP\r\n").await;
            let mut sink = [0; 1024];
            while tcp.read(&mut sink).await.is_ok_and(|read| read > 0) {}
        }
        Defect::ResetAfterHandshake => {
            if let Ok(stream) = acceptor.accept(tcp).await {
                socket2::SockRef::from(stream.get_ref().0).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
        Defect::SilentAfterRequest | Defect::Answer(_) | Defect::OtherAlpn => {
            if let Ok(stream) = acceptor.accept(tcp).await {
                answer(stream, defect).await;
            }
        }
    }
}

async fn answer(mut stream: TlsStream<TcpStream>, defect: Defect) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut part = [0; 1024];
        match stream.read(&mut part).await {
            Ok(read @ 1..) => request.extend_from_slice(&part[..read]),
            _ => return,
        }
    }
    if let Defect::Answer(text) = defect {
        let _ = stream.write_all(text.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
    let mut sink = [0; 1024];
    while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {}
}

/// A CA and a server configuration with a leaf of it.
fn certificates(alpn: &[u8]) -> (String, ServerConfig) {
    let (ca, ca_key) = authority();
    let key = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::from_params(&ca, &ca_key);
    let leaf = rcgen::CertificateParams::new(vec!["faulty.test".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    (ca.self_signed(&ca_key).unwrap().pem(), config)
}

fn authority() -> (rcgen::CertificateParams, rcgen::KeyPair) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Faulty CA");
    (params, rcgen::KeyPair::generate().unwrap())
}

/// A CA that signed nothing, valid until `not_after` (year).
pub fn stranger_pem(not_after: i32) -> String {
    let (mut params, key) = authority();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(not_after, 1, 1);
    params.self_signed(&key).unwrap().pem()
}
