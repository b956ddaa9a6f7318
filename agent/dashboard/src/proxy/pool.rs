//! Connections to one daemon: at most [`MOST`] in use, at most [`IDLE`] kept for the next request, the one used last taken first.

use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};

use crate::body::RequestBody;

/// Most requests to one daemon at once, event streams among them.
const MOST: usize = 1024;
/// Most idle connections kept.
const IDLE: usize = 512;
/// How long connecting, or waiting for a place, may take.
pub(crate) const CONNECT: Duration = Duration::from_secs(2);
/// Daemons answer with far smaller heads.
const READ_BUFFER: usize = 64 << 10;

type Driver = Pin<Box<Connection<TokioIo<UnixStream>, RequestBody>>>;

/// A connection to a daemon. Whoever holds it must poll [`Self::drive`] while waiting for anything on it.
pub(crate) struct Upstream {
    pub(crate) sender: SendRequest<RequestBody>,
    driver: Driver,
    over: bool,
    /// For whoever waits on it; kept, because a clock that is put off costs less than a new one.
    pub(crate) clock: Pin<Box<Sleep>>,
}

impl Upstream {
    /// Turns the connection; ready when it is over.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.over {
            // Why it ended is said to whoever waits for an answer on it.
            self.over = self.driver.poll_unpin(cx).is_ready();
        }
        if self.over { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Turns the connection once, in nobody's name.
    fn settle(&mut self) {
        let _waits = self.drive(&mut Context::from_waker(std::task::Waker::noop()));
    }
}

/// A connection in use.
pub(crate) struct Lease {
    pub(crate) upstream: Upstream,
    pool: Arc<Pool>,
    _place: OwnedSemaphorePermit,
}

impl Lease {
    /// The answer was read to its end: the connection is kept when it can take another request, else closed.
    pub(crate) fn give_back(mut self) {
        self.upstream.settle();
        if !self.upstream.over && self.upstream.sender.is_ready() {
            let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE {
                idle.push(self.upstream);
            }
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PoolError {
    #[error("nobody listens ({0})")]
    Connect(io::Error),
    #[error("it did not accept a connection within 2 s")]
    Slow,
    #[error("1024 requests to it are open")]
    Busy,
}

/// Connections to one daemon.
pub(crate) struct Pool {
    socket: PathBuf,
    idle: Mutex<Vec<Upstream>>,
    places: Arc<Semaphore>,
    lost: AtomicU64,
}

impl Pool {
    pub(crate) fn new(socket: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            socket,
            idle: Mutex::default(),
            places: Arc::new(Semaphore::new(MOST)),
            lost: AtomicU64::new(0),
        })
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// How many idle connections the daemon closed: it may be another process now.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Takes an idle connection, or makes one.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Lease, PoolError> {
        let place = self.place().await?;
        loop {
            let Some(mut upstream) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() else { break };
            // Sees an end that came while it lay idle.
            upstream.settle();
            if !upstream.over && upstream.sender.is_ready() {
                return Ok(Lease { upstream, pool: Arc::clone(self), _place: place });
            }
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.connect(place).await
    }

    /// A connection that nobody used before.
    pub(crate) async fn fresh(self: &Arc<Self>) -> Result<Lease, PoolError> {
        let place = self.place().await?;
        self.connect(place).await
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, PoolError> {
        // The semaphore is never closed, so an error of its own does not occur.
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => Ok(place),
            Err(_none_free) => match timeout(CONNECT, Arc::clone(&self.places).acquire_owned()).await {
                Ok(Ok(place)) => Ok(place),
                Ok(Err(_)) | Err(_) => Err(PoolError::Busy),
            },
        }
    }

    async fn connect(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Result<Lease, PoolError> {
        let connecting = async {
            let stream = UnixStream::connect(&self.socket).await.map_err(PoolError::Connect)?;
            let shaken = Builder::new().max_buf_size(READ_BUFFER).writev(false).handshake(TokioIo::new(stream)).await;
            let (sender, driver) = shaken.map_err(|error| PoolError::Connect(io::Error::other(error)))?;
            let mut upstream =
                Upstream { sender, driver: Box::pin(driver), over: false, clock: Box::pin(sleep(CONNECT)) };
            poll_fn(|cx| {
                let over = upstream.drive(cx);
                match upstream.sender.poll_ready(cx) {
                    Poll::Ready(ready) => {
                        Poll::Ready(ready.map_err(|error| PoolError::Connect(io::Error::other(error))))
                    }
                    Poll::Pending if over.is_ready() => {
                        Poll::Ready(Err(PoolError::Connect(io::ErrorKind::ConnectionReset.into())))
                    }
                    Poll::Pending => Poll::Pending,
                }
            })
            .await?;
            Ok(upstream)
        };
        let upstream = timeout(CONNECT, connecting).await.unwrap_or(Err(PoolError::Slow))?;
        Ok(Lease { upstream, pool: Arc::clone(self), _place: place })
    }
}
