//! The door as a whole: built from its configuration, run until it is to stop, drained.
//!
//! Tasks: one heartbeat per daemon, one acceptor per socket (see [`crate::connection`] and [`crate::quic`]), one that watches certificates and
//! documents. All live in one set; an acceptor that ends early ends the door.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tbi_daemon::{Shutdown, life_signs, notify};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::caps::{Caps, Most};
use crate::certs::{Brought, CertError, Certificates, Names};
use crate::connection::{self, Servers};
use crate::door::Door;
use crate::face::Face;
use crate::gate::Gate;
use crate::listen::Sockets;
use crate::local::Local;
use crate::quic;
use crate::registry::{Configured, Daemon, keep};
use crate::tls::{self, Tls, TlsError};

/// What is still open after this is cut. Below the five seconds that stopping may take.
const DRAIN: Duration = Duration::from_secs(4);
/// How often the certificate is judged again.
const REJUDGE: Duration = Duration::from_secs(3600);

/// What the door runs with: sockets that are bound and values that are checked.
pub(crate) struct Config {
    pub(crate) sockets: Sockets,
    pub(crate) state: PathBuf,
    pub(crate) names: Names,
    pub(crate) brought: Option<Brought>,
    pub(crate) client_ca: Option<PathBuf>,
    pub(crate) daemons: Vec<Configured>,
    /// Operations of this process.
    pub(crate) locals: Vec<Local>,
    /// How people see refusals; without, as programs do.
    pub(crate) face: Option<Arc<dyn Face>>,
    pub(crate) most: Most,
}

/// Why the door does not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Certificate(#[from] CertError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the listening sockets cannot be used: {0}; restart the door")]
    Socket(#[from] io::Error),
    #[error("a task of the door ended early; restart the door and look at its log")]
    Ended,
}

/// Serves until `shutdown` is requested, then drains for at most [`DRAIN`]. Every request is put to `gate` first.
///
/// # Errors
/// [`ServeError`]; never for what clients or daemons do.
pub(crate) async fn serve(config: Config, gate: Arc<dyn Gate>, shutdown: Shutdown) -> Result<(), ServeError> {
    let certificates = Certificates::load(&config.state, config.names, config.brought, tls::provider())?;
    let tls = Tls::new(&certificates, config.client_ca.as_deref())?;
    let daemons: Vec<_> = config.daemons.iter().map(Daemon::new).collect();
    let http3_port =
        config.sockets.udp.first().and_then(|socket| socket.local_addr().ok()).map(|address| address.port());
    let caps = Caps::new(config.most);
    let fingerprint = certificates.leaf_fingerprint();
    let door = Arc::new(Door::new(gate, daemons, (config.locals, config.face), certificates, caps, http3_port));

    let mut minders = JoinSet::new();
    let changed = Arc::new(Notify::new());
    for daemon in &door.daemons {
        minders.spawn(keep(Arc::clone(daemon), Arc::clone(&changed)));
    }
    minders.spawn(mind(Arc::clone(&door), changed));
    let mut acceptors = JoinSet::new();
    let servers = Servers::new(Arc::clone(&door), tls.tcp);
    for socket in config.sockets.tcp {
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket)?;
        tracing::info!(address = %shown(listener.local_addr()), fingerprint, "listening");
        acceptors.spawn(connection::accept(Arc::clone(&servers), listener));
    }
    for socket in config.sockets.udp {
        acceptors.spawn(quic::accept(Arc::clone(&door), quic::endpoint(socket, Arc::clone(&tls.quic))?));
    }
    notify("READY=1\nSTATUS=serving");

    // Each arm only says that the time has come; what is to be done is below.
    let early = tokio::select! {
        () = shutdown.requested() => false,
        _ended = acceptors.join_next() => true,
        _ended = minders.join_next() => true,
        () = life_signs() => false,
    };
    notify("STOPPING=1\nSTATUS=draining");
    door.stop.cancel();
    let drained = async { while acceptors.join_next().await.is_some() {} };
    if timeout(DRAIN, drained).await.is_err() {
        tracing::warn!(
            deadline_s = DRAIN.as_secs(),
            open = door.caps.open(),
            "connections were still open and are cut"
        );
    }
    acceptors.shutdown().await;
    minders.shutdown().await;
    tracing::info!("the door is closed");
    if early { Err(ServeError::Ended) } else { Ok(()) }
}

/// Judges the certificate again, hourly and when told by SIGHUP, and forgets merged documents that are out of date.
async fn mind(door: Arc<Door>, changed: Arc<Notify>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let mut ticks = interval(REJUDGE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, and the certificate was judged a moment ago.
    ticks.tick().await;
    loop {
        // Cancel safe: a notification that was not received is kept, as are a signal and a tick.
        tokio::select! {
            () = changed.notified() => {
                door.documents.forget();
                continue;
            }
            _ = hangup.recv() => {}
            _ = ticks.tick() => {}
        }
        let certificates = Arc::clone(&door.certificates);
        match tokio::task::spawn_blocking(move || certificates.reload()).await {
            Ok(Ok(())) => {
                tracing::info!(fingerprint = door.certificates.leaf_fingerprint(), "the certificate was judged again")
            }
            Ok(Err(error)) => tracing::error!(%error, "the certificate in use stays"),
            Err(error) => tracing::error!(%error, "judging the certificate panicked; the one in use stays"),
        }
    }
}

fn shown(address: io::Result<SocketAddr>) -> String {
    address.map_or_else(|_unknown| "an unknown address".to_owned(), |address| address.to_string())
}
