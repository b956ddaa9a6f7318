//! TCP interception: accepts what `tproxy` steers here and hands each connection to [`intercept`].
//!
//! Tasks: one acceptor per listener, owned by the worker; one task per connection, owned by the epoch. The acceptor ends with the
//! worker's token, connections with their epoch's.

pub(crate) mod hello;
mod intercept;
mod strip;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tbi_bench::control::practice_dut::TcpPolicy;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::counters::Watch;
use crate::gateway::Shared;

/// Connections one worker carries at a time; further ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 50_000;
/// Pause after the system refused to accept, usually for want of file descriptors.
const BREATH: Duration = Duration::from_millis(20);

/// Accepts until `stop`.
pub async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Nothing is lost when cancelled here: neither a permit nor a connection has been taken out of its queue.
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = async { (room.clone().acquire_owned().await, listener.accept().await) } => event,
        };
        match event {
            (Ok(permit), Ok((stream, _))) => {
                let epoch = shared.epoch();
                if epoch.behaviour.tcp != TcpPolicy::Decrypt {
                    // Accepted in the instant in which interception ended: the client will try again and be forwarded.
                    continue;
                }
                let shared = shared.clone();
                let connections = epoch.connections.clone();
                connections.spawn(async move {
                    let (_permit, _watch) = (permit, Watch::new(&shared.tally));
                    let ended = epoch.ended.clone();
                    let carried = ended.run_until_cancelled(carry(stream, &shared, &epoch)).await;
                    if let Some(Err(error)) = carried {
                        shared.tally.count_failed();
                        if error.is_untrusted() {
                            shared.tally.count_upstream_untrusted();
                        }
                        tracing::debug!(%error, "TCP connection given up on");
                    }
                });
            }
            (_, Err(error)) if is_of_one_connection(&error) => {}
            (_, Err(error)) => {
                tracing::warn!(%error, "cannot accept; raise the limit of open files if that is the cause");
                tokio::time::sleep(BREATH).await;
            }
            // The semaphore is never closed.
            (Err(_), _) => return,
        }
    }
}

async fn carry(
    stream: TcpStream,
    shared: &Arc<Shared>,
    epoch: &Arc<crate::gateway::Epoch>,
) -> Result<(), intercept::InterceptError> {
    // Boxed: the two halves of a TLS proxy are a large future, and most connections live long.
    let legs = Box::pin(intercept::establish(stream, shared, &epoch.behaviour)).await?;
    shared.tally.count_tcp_decrypted();
    Box::pin(intercept::relay(legs, epoch)).await;
    Ok(())
}

/// accept(2) reports errors of the connection it would have returned.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
