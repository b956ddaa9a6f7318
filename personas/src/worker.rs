//! One worker: a thread with its own runtime and sockets. It accepts, and each connection is a task of its own in a set whose exits are
//! watched.
//!
//! Tasks: the acceptor (this loop), one per connection, quinn's endpoint driver. Input: sockets. Output: counters. All end when shutdown is
//! requested, at the latest after [`DRAIN`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tbi_daemon::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};

use crate::counters::Counters;
use crate::site::Sites;
use crate::sockets::Sockets;
use crate::{quic, tcp};

/// Most connections of one worker; more wait in the kernel (TCP) or are refused (QUIC).
const MOST_CONNECTIONS: usize = 50_000;
/// How long open connections may finish after the wish to stop.
const DRAIN: Duration = Duration::from_secs(3);
/// Pause after a failed accept (most likely out of descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What all connections of a worker share.
pub(crate) struct Worker {
    pub(crate) sites: Arc<Sites>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) alt_svc: HeaderValue,
    pub(crate) shutdown: Shutdown,
}

/// Serves until shutdown; `on_ready` is called when both listeners stand.
pub(crate) async fn run(worker: Arc<Worker>, sockets: Sockets, on_ready: impl FnOnce()) -> io::Result<()> {
    let listener = TcpListener::from_std(sockets.tcp)?;
    let endpoint = quinn::Endpoint::new(
        quinn::EndpointConfig::default(),
        Some(worker.sites.any_quic.clone()),
        sockets.udp,
        Arc::new(quinn::TokioRuntime),
    )?;
    on_ready();
    let mut connections = JoinSet::new();
    let stop = worker.shutdown.clone();
    let stop = stop.requested();
    tokio::pin!(stop);
    loop {
        let has_room = connections.len() < MOST_CONNECTIONS;
        // Every arm is cancel safe: accepting leaves what it did not return in the kernel or endpoint, joining leaves it in the set.
        let event = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(ended) = connections.join_next() => Event::Ended(ended),
            accepted = listener.accept(), if has_room => Event::Tcp(accepted),
            Some(incoming) = endpoint.accept() => Event::Quic(incoming),
        };
        match event {
            Event::Ended(ended) => reap(&worker, ended),
            Event::Tcp(Ok((stream, peer))) => {
                connections.spawn(tcp::serve(Arc::clone(&worker), stream, peer));
            }
            Event::Tcp(Err(error)) => {
                tracing::warn!(%error, "cannot accept a TCP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Event::Quic(incoming) if has_room => {
                connections.spawn(quic::serve(Arc::clone(&worker), incoming));
            }
            Event::Quic(incoming) => incoming.refuse(),
        }
    }
    drop(listener);
    endpoint.set_server_config(None);
    let finished = tokio::time::timeout(DRAIN, async {
        while let Some(ended) = connections.join_next().await {
            reap(&worker, ended);
        }
    })
    .await;
    if finished.is_err() {
        tracing::warn!(cut = connections.len(), "connections were still open at the drain deadline and are cut");
    }
    connections.shutdown().await;
    endpoint.close(quic::NO_ERROR, b"");
    // Only tells peers; who does not listen will time out.
    let _told = tokio::time::timeout(Duration::from_millis(200), endpoint.wait_idle()).await;
    Ok(())
}

#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for one match; boxing would cost an allocation per connection"
)]
enum Event {
    Ended(Result<(), JoinError>),
    Tcp(io::Result<(TcpStream, SocketAddr)>),
    Quic(quinn::Incoming),
}

fn reap(worker: &Worker, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        worker.counters.panic();
        tracing::error!(%error, "a connection task panicked; the connection is lost, the others go on; report this");
    }
}
