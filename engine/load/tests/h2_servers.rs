//! The HTTP/2 client core against servers nobody here wrote: nginx and hyper, over TLS, thousands of multiplexed requests.
//!
//! Blocking sockets on purpose: the core needs nothing but bytes.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request as HttpRequest, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use tbi_engine::codec::h2_client::{Event, H2Client, RequestTemplate, Settings};
use tbi_engine::codec::request::Request;

const HOST: &str = "www.example";
const DEADLINE: Duration = Duration::from_secs(60);
const TOKEN: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

fn identity() -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([HOST.to_owned()]).unwrap().self_signed(&key).unwrap();
    Identity { certificate, key }
}

fn client_config(root: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    heads: u64,
    ok: u64,
    with_length: u64,
    echoes: u64,
    ended: u64,
    failed: u64,
    body: u64,
    data: u64,
}

/// Makes `total` requests with as many streams at once as `settings` allow.
fn load(
    mut socket: impl Read + Write,
    tls: Arc<ClientConfig>,
    path: &str,
    settings: Settings,
    total: u64,
) -> (Counts, H2Client<u64>) {
    let mut tls = ClientConnection::new(tls, ServerName::try_from(HOST).unwrap()).unwrap();
    let mut client = H2Client::new(settings);
    let template = RequestTemplate::new(&Request::new(path, HOST).unwrap());
    let mut counts = Counts::default();
    let mut sent = 0;
    let mut buffer = vec![0; 64 * 1024];
    let start = Instant::now();
    while counts.ended + counts.failed < total {
        assert!(start.elapsed() < DEADLINE, "{counts:?} of {total}");
        while sent < total && client.may_request().is_ok() {
            client.request(&template, Some(TOKEN), sent).unwrap();
            sent += 1;
        }
        let written = tls.writer().write(client.output()).unwrap();
        client.advance_output(written);
        while tls.wants_write() {
            tls.write_tls(&mut socket).unwrap();
        }
        assert_ne!(tls.read_tls(&mut socket).unwrap(), 0, "the server closed the connection: {counts:?}");
        tls.process_new_packets().unwrap();
        loop {
            let read = match tls.reader().read(&mut buffer) {
                Ok(0) => panic!("the server ended TLS: {counts:?}"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            };
            client
                .receive(&buffer[..read], |event| match event {
                    Event::Head { head, .. } => {
                        counts.heads += 1;
                        counts.ok += u64::from(head.status == 200);
                        counts.with_length += u64::from(head.content_length.is_some());
                        counts.echoes += u64::from(head.echo.as_bytes() == Some(TOKEN));
                    }
                    Event::Data { bytes, .. } => counts.data += u64::from(bytes),
                    Event::End { body, .. } => {
                        counts.ended += 1;
                        counts.body += body;
                    }
                    Event::Failed { failure, .. } => panic!("{failure}"),
                    Event::GoAway { code } => panic!("GOAWAY {code}"),
                    Event::SettingsAcked => {}
                })
                .unwrap();
        }
    }
    (counts, client)
}

fn expected(requests: u64, size: u64, echoes: u64) -> Counts {
    Counts {
        heads: requests,
        ok: requests,
        with_length: requests,
        echoes,
        ended: requests,
        failed: 0,
        body: requests * size,
        data: requests * size,
    }
}

/// nginx in the foreground, ended with the test.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_nginx(folder: &Path, identity: &Identity) -> Nginx {
    std::fs::write(folder.join("cert.pem"), identity.certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), identity.key.serialize_pem()).unwrap();
    std::fs::create_dir(folder.join("o")).unwrap();
    std::fs::write(folder.join("o/1KB"), vec![b'x'; 1024]).unwrap();
    std::fs::write(folder.join("o/256KB"), vec![b'x'; 262_144]).unwrap();
    let root = folder.display();
    // A socket file instead of a port: no other test can take it.
    let config = format!(
        "daemon off; master_process off; pid {root}/pid; error_log stderr;
         events {{ worker_connections 64; }}
         http {{
           access_log off; keepalive_requests 1000000;
           client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
           uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
           server {{
             listen unix:{root}/socket ssl http2; root {root};
             ssl_certificate {root}/cert.pem; ssl_certificate_key {root}/key.pem;
             add_header x-tlsstress-echo $http_x_tlsstress_token;
           }}
         }}"
    );
    std::fs::write(folder.join("nginx.conf"), config).unwrap();
    let child = Command::new("nginx")
        .args(["-e", "stderr", "-p"])
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx starts; install the Debian package nginx");
    Nginx(child)
}

fn connect(path: &Path) -> UnixStream {
    let start = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(socket) => return socket,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(10), "nginx does not listen: {error}"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn thousands_of_requests_to_nginx() {
    let folder = tempfile::tempdir().unwrap();
    let identity = identity();
    let _nginx = start_nginx(folder.path(), &identity);
    let tls = client_config(identity.certificate.der());
    let socket = folder.path().join("socket");
    let (counts, client) = load(connect(&socket), tls.clone(), "/o/1KB", Settings::default(), 5000);
    assert_eq!(counts, expected(5000, 1024, 5000));
    assert_eq!(client.in_flight(), 0);
    // Large bodies and small windows: every one needs several updates of stream and connection.
    let small = Settings { connection_window: 0, max_streams: 20, ..Settings::default() };
    let (counts, _) = load(connect(&socket), tls, "/o/256KB", small, 100);
    assert_eq!(counts, expected(100, 262_144, 100));
}

#[test]
fn thousands_of_requests_to_hyper() {
    let identity = identity();
    let tls = client_config(identity.certificate.der());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || hyper_server(listener, identity));
    for (path, size, total) in [("/1024", 1024, 5000), ("/0", 0, 500), ("/200000", 200_000, 200)] {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        let (counts, _) = load(socket, tls.clone(), path, Settings::default(), total);
        assert_eq!(counts, expected(total, size, total));
    }
}

/// Serves `/N` with N bytes and the token as echo; ends with the process.
fn hyper_server(listener: TcpListener, identity: Identity) {
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    listener.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let stream = acceptor.accept(socket).await.unwrap();
            // One connection after the other is all the test makes.
            let service = hyper::service::service_fn(answer);
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        }
    });
}

async fn answer(request: HttpRequest<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let size = request.uri().path()[1..].parse().unwrap();
    let echo = request.headers()["x-tlsstress-token"].clone();
    let body = Full::new(Bytes::from(vec![b'x'; size]));
    let response = Response::builder()
        .header("x-tlsstress-echo", echo)
        .header("server-timing", format!("hs;dur=1.000, app;dur=0.{:03}", size % 1000))
        .header("content-length", size);
    Ok(response.body(body).unwrap())
}
