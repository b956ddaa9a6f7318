//! Worker threads: each has its own runtime and its own sockets on port 443; the kernel spreads flows over them.
//!
//! Sockets are opened by the caller, before any thread starts, so that every error is told at start. A worker ends when told to stop and
//! its connections are gone.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tbi_daemon::Health;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::gateway::Shared;
use crate::quic::{Interceptor, QuicError, Sockets};
use crate::sockets::{self, Family, SocketError};
use crate::tcp;

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// No socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// No QUIC.
    #[error(transparent)]
    Quic(#[from] QuicError),
    /// No runtime or thread.
    #[error("cannot start a worker thread: {0}; check the limits of processes and open files")]
    Thread(std::io::Error),
}

/// Sockets of one worker.
#[derive(Debug)]
pub struct WorkerSockets {
    listeners: Vec<std::net::TcpListener>,
    datagrams: Vec<Sockets>,
}

impl WorkerSockets {
    /// Opens TCP and UDP sockets for both families.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn open() -> Result<Self, SocketError> {
        let listeners = Family::ALL.into_iter().map(sockets::listener).collect::<Result<_, _>>()?;
        let datagrams = Family::ALL.into_iter().map(Sockets::open).collect::<Result<_, _>>()?;
        Ok(Self { listeners, datagrams })
    }
}

/// Starts a worker. `health` learns when it ends without having been told to.
///
/// # Errors
/// [`WorkerError::Thread`] when the system has none left.
pub fn start(
    index: usize,
    sockets: WorkerSockets,
    shared: Arc<Shared>,
    health: &Health,
    stop: CancellationToken,
) -> Result<JoinHandle<Result<(), WorkerError>>, WorkerError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(WorkerError::Thread)?;
    let alive = health.critical(format!("worker {index}"));
    let run = move || {
        let ended = runtime.block_on(work(sockets, shared, stop));
        if let Err(error) = &ended {
            tracing::error!(%error, worker = index, "worker ended");
        } else {
            alive.finish();
        }
        ended
    };
    thread::Builder::new().name(format!("worker-{index}")).spawn(run).map_err(WorkerError::Thread)
}

async fn work(sockets: WorkerSockets, shared: Arc<Shared>, stop: CancellationToken) -> Result<(), WorkerError> {
    let mut acceptors = JoinSet::new();
    for listener in sockets.listeners {
        let listener = TcpListener::from_std(listener).map_err(WorkerError::Thread)?;
        acceptors.spawn(tcp::accept(listener, shared.clone(), stop.clone()));
    }
    for sockets in sockets.datagrams {
        acceptors.spawn(Interceptor::new(sockets, shared.clone())?.accept(stop.clone()));
    }
    while let Some(ended) = acceptors.join_next().await {
        if let Err(panicked) = ended {
            return Err(WorkerError::Thread(std::io::Error::other(panicked)));
        }
    }
    Ok(())
}
