//! The task that listens to one daemon's heart: every [`EVERY`] it asks `/health/ready`, and reads the OpenAPI document anew when the daemon
//! may be another process than before, or when a while has passed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tbi_daemon::{ClientError, UnixClient};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::heart::Beat;
use super::{Daemon, Routes};

/// Time between two heartbeats.
const EVERY: Duration = Duration::from_secs(5);
/// A daemon that needs longer has missed.
const PATIENCE: Duration = Duration::from_secs(2);
/// Heartbeats after which the document is read anew although nothing hints at a restart.
const REREAD: u32 = 12;

/// Keeps `daemon` up to date for ever; tells `changed` when its document is another one. Dropping it loses nothing.
pub(crate) async fn keep(daemon: Arc<Daemon>, changed: Arc<Notify>) {
    let client = UnixClient::new(daemon.pool.socket()).with_timeout(PATIENCE);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut age, mut lost) = (0, 0);
    loop {
        ticks.tick().await;
        let beat = listen(&client).await;
        let before = daemon.view();
        let mut view = (*before).clone();
        let heard = !matches!(beat, Beat::Missed { .. });
        view.heart.apply(beat);
        // A missed heartbeat or a connection that the daemon closed may mean a restart.
        let closed = daemon.pool.lost();
        let restarted = before.heart.misses > 0 || closed != lost || view.document.is_none();
        age += 1;
        if heard && (restarted || age >= REREAD) {
            match client.get_json::<Value>("/openapi.json").await {
                Ok(document) => {
                    (age, lost) = (0, closed);
                    if view.document.as_deref() != Some(&document) {
                        view.version = document["info"]["version"].as_str().map(str::to_owned);
                        view.routes = Arc::new(Routes::of_document(&document, &daemon.meters));
                        view.document = Some(Arc::new(document));
                        changed.notify_one();
                    }
                }
                Err(error) => tracing::warn!(daemon = daemon.name, %error, "its OpenAPI document cannot be read"),
            }
        }
        if view.heart.state != before.heart.state {
            let (state, reason) = (view.heart.state.as_str(), view.heart.reason.as_deref().unwrap_or(""));
            tracing::info!(daemon = daemon.name, state, reason, "a daemon's state changed");
        }
        daemon.set(view);
    }
}

async fn listen(client: &UnixClient) -> Beat {
    let began = Instant::now();
    match client.get_json::<Value>("/health/ready").await {
        Ok(_ready) => Beat::Ready { after: began.elapsed() },
        Err(ClientError::Problem(problem)) => Beat::NotReady { after: began.elapsed(), reason: problem.detail },
        Err(error) => Beat::Missed { reason: error.to_string() },
    }
}
