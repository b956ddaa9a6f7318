//! A closed-loop HTTP/3 client written on the `h3` crate in the way its examples show: the peer `cargo tbi bench` compares the engine with.
//!
//! One current-thread runtime, one endpoint, one task per request slot. It verifies the chain and the body length, and measures nothing
//! but the number of requests; its processor time is read from outside. Prints `{"requests": N}`.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes};
use clap::Parser;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::task::LocalSet;

type Sender = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;

/// Closed-loop HTTP/3 client on the h3 crate.
#[derive(Parser)]
struct Options {
    /// UDP port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// SNI and authority.
    #[arg(long)]
    server_name: String,
    /// Path to fetch.
    #[arg(long)]
    path: String,
    /// PEM file with the authority to trust.
    #[arg(long)]
    ca: PathBuf,
    /// Connections held at once.
    #[arg(long)]
    connections: u32,
    /// Requests in flight on each connection.
    #[arg(long)]
    streams: u32,
    /// For how long.
    #[arg(long)]
    seconds: f64,
    /// A new connection for each request.
    #[arg(long)]
    fresh: bool,
}

struct Work {
    endpoint: quinn::Endpoint,
    options: Options,
    end: Instant,
    requests: Cell<u64>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let requests = LocalSet::new().block_on(&runtime, run(options))?;
    #[expect(clippy::print_stdout, reason = "the result is the program's output")]
    {
        println!("{}", serde_json::json!({ "requests": requests }));
    }
    Ok(())
}

async fn run(options: Options) -> Result<u64> {
    let mut endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
    endpoint.set_default_client_config(client_config(&options)?);
    let end = Instant::now() + Duration::from_secs_f64(options.seconds);
    let work = Rc::new(Work { endpoint, options, end, requests: Cell::new(0) });
    let connections: Vec<_> =
        (0..work.options.connections).map(|_| tokio::task::spawn_local(connections(Rc::clone(&work)))).collect();
    for connection in connections {
        connection.await??;
    }
    work.endpoint.wait_idle().await;
    Ok(work.requests.get())
}

/// TLS 1.3, AES-128-GCM, X25519, no resumption: what the engine offers too.
fn client_config(options: &Options) -> Result<quinn::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&options.ca).context("cannot read --ca")? {
        roots.add(certificate?)?;
    }
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    Ok(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}

/// One connection after the other until the time is over; only one unless `--fresh`.
async fn connections(work: Rc<Work>) -> Result<()> {
    while Instant::now() < work.end {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, work.options.port));
        let connection = work.endpoint.connect(address, &work.options.server_name)?.await.context("handshake")?;
        let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(connection.clone())).await?;
        let driving = tokio::task::spawn_local(async move { poll_fn(|context| driver.poll_close(context)).await });
        let slots: Vec<_> = (0..work.options.streams)
            .map(|_| tokio::task::spawn_local(requests(Rc::clone(&work), sender.clone())))
            .collect();
        for slot in slots {
            slot.await??;
        }
        drop(sender);
        connection.close(quinn::VarInt::from_u32(0x100), b""); // H3_NO_ERROR, RFC 9114 §8.1
        driving.await?;
    }
    Ok(())
}

/// One request after the other until the time is over; only one with `--fresh`.
async fn requests(work: Rc<Work>, mut sender: Sender) -> Result<()> {
    let uri = format!("https://{}{}", work.options.server_name, work.options.path);
    loop {
        let mut stream = sender.send_request(http::Request::get(&uri).body(())?).await?;
        stream.finish().await?;
        let response = stream.recv_response().await?;
        let mut body = 0;
        while let Some(chunk) = stream.recv_data().await? {
            body += chunk.remaining();
        }
        if response.status() != http::StatusCode::OK || body == 0 {
            bail!("{} with {body} bytes", response.status());
        }
        work.requests.set(work.requests.get() + 1);
        if work.options.fresh || Instant::now() >= work.end {
            return Ok(());
        }
    }
}
