//! The whole: CA, sites, sockets and workers, started in this order, so that nothing listens before everything is known to be right.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, mpsc};
use std::thread::JoinHandle;

use http::HeaderValue;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tbi_bench::control::personas::SiteCertificate;
use tbi_bench::wire;
use tbi_daemon::{Health, Shutdown};

use crate::answer;
use crate::ca::{Authority, BACKDATE, CaError, DAY, LEAF_DAYS};
use crate::config::Config;
use crate::counters::{Counters, Totals};
use crate::site::{SiteError, Sites};
use crate::sockets::{self, SocketError, Sockets};
use crate::worker::{self, Worker};

/// Running personas.
pub struct Personas {
    authority: Authority,
    leaves_valid: (i64, i64),
    sites: usize,
    certificates: Vec<SiteCertificate>,
    port: u16,
    counters: Vec<Arc<Counters>>,
    threads: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

/// Why personas do not start. Each sentence is complete.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The CA.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// A site.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The network.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// A worker.
    #[error(
        "cannot start a worker thread: {0}; raise the limits on threads and memory, or lower workers in the configuration"
    )]
    Worker(io::Error),
}

impl Personas {
    /// Opens the CA, signs the leaves and starts the workers; returns when all of them listen. Blocks for as long as keys take. `now` is
    /// Unix time in seconds. Workers that end early make `health` fail.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: &Config, now: i64, health: &Health, shutdown: &Shutdown) -> Result<Self, StartError> {
        let authority = Authority::open(&config.ca_dir, config.key, now)?;
        let sites = Arc::new(Sites::build(config, &authority, now)?);
        let leaves_valid = (now - BACKDATE, now + LEAF_DAYS * DAY);
        answer::prepare();
        raise_descriptor_limit();
        let (sockets, port) = sockets::open(config.workers, config.port)?;
        let alt_svc = if port == wire::PORT {
            HeaderValue::from_static(wire::ALT_SVC)
        } else {
            HeaderValue::from_str(&format!("h3=\":{port}\"; ma=86400"))
                .unwrap_or(HeaderValue::from_static(wire::ALT_SVC))
        };
        let (count, certificates) = (sites.count(), sites.certificates.clone());
        let (mut counters, mut threads) = (Vec::new(), Vec::new());
        let (ready, all_ready) = mpsc::sync_channel(sockets.len());
        for (i, sockets) in sockets.into_iter().enumerate() {
            let own = Arc::new(Counters::default());
            counters.push(Arc::clone(&own));
            let worker = Worker {
                sites: Arc::clone(&sites),
                counters: own,
                alt_svc: alt_svc.clone(),
                shutdown: shutdown.clone(),
            };
            threads.push(spawn(i, worker, sockets, ready.clone(), health).map_err(StartError::Worker)?);
        }
        drop(ready);
        for _ in &threads {
            // The channel closes early only when a worker ended, and then it sent why.
            all_ready
                .recv()
                .unwrap_or_else(|_closed| Err(io::ErrorKind::BrokenPipe.into()))
                .map_err(StartError::Worker)?;
        }
        tracing::info!(sites = count, workers = threads.len(), port, "personas listen");
        let threads = std::sync::Mutex::new(threads);
        Ok(Self { authority, leaves_valid, sites: count, certificates, port, counters, threads })
    }

    /// Port of all sites, TCP and UDP.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Number of sites.
    #[must_use]
    pub fn sites(&self) -> usize {
        self.sites
    }

    /// What each site's certificate says.
    #[must_use]
    pub fn certificates(&self) -> &[SiteCertificate] {
        &self.certificates
    }

    /// The authority that signed their leaves.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// When their leaves are valid: from and until, Unix seconds. All were signed at one moment.
    #[must_use]
    pub fn leaves_valid(&self) -> (i64, i64) {
        self.leaves_valid
    }

    /// Waits for the workers after shutdown was requested; they drain with a deadline of their own.
    pub fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked; report this");
            }
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals::of(&self.counters)
    }
}

fn spawn(
    i: usize,
    worker: Worker,
    sockets: Sockets,
    ready: mpsc::SyncSender<io::Result<()>>,
    health: &Health,
) -> io::Result<JoinHandle<()>> {
    let name = format!("worker {i}");
    let alive = health.critical(format!("persona {name}"));
    // Nobody waits any more when start failed elsewhere; then the message is of no interest.
    let tell = move |started: io::Result<()>| drop(ready.send(started));
    std::thread::Builder::new().name(name).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return tell(Err(error)),
        };
        let told = AtomicUsize::new(0);
        let run = worker::run(Arc::new(worker), sockets, || {
            told.store(1, Ordering::Relaxed);
            tell(Ok(()));
        });
        match runtime.block_on(run) {
            Ok(()) => alive.finish(),
            Err(error) => tracing::error!(%error, "a worker cannot use its sockets"),
        }
    })
}

/// Lifts the soft limit of open files to the hard one: each TCP connection is a descriptor.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, "cannot raise the limit of open files; many connections at once will fail");
    }
}
