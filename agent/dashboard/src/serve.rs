//! The door as a whole: built from its configuration, run until it is to stop, drained.
//!
//! Tasks: one heartbeat per daemon, one acceptor per socket (see [`crate::connection`] and [`crate::quic`]), the keeper of the certificate, one
//! that forgets documents. All live in one set; an acceptor that ends early ends the door.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tbi_daemon::{Shutdown, life_signs, notify};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::caps::{Caps, Most};
use crate::certs::{self, Agent, Certificates};
use crate::connection::{self, Servers};
use crate::door::Door;
use crate::face::Face;
use crate::gate::Gate;
use crate::listen::Sockets;
use crate::local::Local;
use crate::quic;
use crate::registry::{Configured, Daemon, keep};
use crate::tls::{Tls, TlsError};

/// What is still open after this is cut. Below the five seconds that stopping may take.
const DRAIN: Duration = Duration::from_secs(4);

/// What the door runs with: sockets that are bound and values that are checked.
pub(crate) struct Config {
    pub(crate) sockets: Sockets,
    pub(crate) certificates: Arc<Certificates>,
    /// Who is asked for names and told what is shown.
    pub(crate) agent: Agent,
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
    let certificates = config.certificates;
    let tls = Tls::new(&certificates, config.client_ca.as_deref())?;
    let daemons: Vec<_> = config.daemons.iter().map(Daemon::new).collect();
    let http3_port =
        config.sockets.udp.first().and_then(|socket| socket.local_addr().ok()).map(|address| address.port());
    let caps = Caps::new(config.most);
    let fingerprint = certificates.leaf_fingerprint();
    let locals = (config.locals, config.face);
    let door = Arc::new(Door::new(gate, daemons, locals, Arc::clone(&certificates), caps, http3_port));

    let mut minders = JoinSet::new();
    let changed = Arc::new(Notify::new());
    for daemon in &door.daemons {
        minders.spawn(keep(Arc::clone(daemon), Arc::clone(&changed)));
    }
    minders.spawn(forget(Arc::clone(&door), changed));
    minders.spawn(certs::keep(certificates, config.agent));
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

/// Forgets merged documents that are out of date.
async fn forget(door: Arc<Door>, changed: Arc<Notify>) {
    loop {
        changed.notified().await;
        door.documents.forget();
    }
}

fn shown(address: io::Result<SocketAddr>) -> String {
    address.map_or_else(|_unknown| "an unknown address".to_owned(), |address| address.to_string())
}
