//! The task that keeps the certificate right. About once a minute, and at SIGHUP, it asks the agent what the box is called and where it is
//! reached, and judges the certificate again; then, and whenever something else is shown, it tells the agent what is shown, which keeps it in
//! memory only and may have been started again.
//!
//! An agent that does not answer changes nothing but when it is asked next.

use std::sync::Arc;
use std::time::Duration;

use tbi_api::access::AccessClient;
use tbi_api::client::AgentClient;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::{Certificates, Names};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(60);
/// The same while the agent could not be told: the console shows a certificate only when it was.
const AGAIN: Duration = Duration::from_secs(5);

/// The agent's two sockets.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    /// For its status; `None`: no daemon of that name is behind the door.
    pub(crate) status: Option<AgentClient>,
    /// To be told what is shown.
    pub(crate) access: AccessClient,
}

enum Event {
    Look,
    Tell,
}

/// Runs until it is dropped; ends only when signals cannot be had.
pub(crate) async fn keep(certificates: Arc<Certificates>, agent: Agent) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let mut next = Instant::now();
    loop {
        // Each arm may be dropped: a change and a signal that were not taken are kept, and a time that comes is only looked at.
        let event = tokio::select! {
            () = certificates.changed() => Event::Tell,
            _ = hangup.recv() => Event::Look,
            () = sleep_until(next) => Event::Look,
        };
        if matches!(event, Event::Look) {
            look(&certificates, &agent).await;
        }
        let told = agent.access.tell_certificate(&certificates.said()).await;
        if let Err(error) = &told {
            tracing::debug!(%error, "the agent does not know which certificate is shown");
        }
        next = Instant::now() + if told.is_ok() { EVERY } else { AGAIN };
    }
}

async fn look(certificates: &Arc<Certificates>, agent: &Agent) {
    if let Some(status) = &agent.status {
        match status.status().await {
            Ok(status) => {
                if let Some(names) = Names::of_box(&status) {
                    certificates.learn(names);
                }
            }
            Err(error) => tracing::debug!(%error, "the names of the box are those of a moment ago"),
        }
    }
    let _turn = certificates.turn().await;
    let looking = Arc::clone(certificates);
    let before = certificates.leaf_fingerprint();
    match tokio::task::spawn_blocking(move || looking.reload()).await {
        Ok(Ok(())) => {
            let fingerprint = certificates.leaf_fingerprint();
            if fingerprint != before {
                tracing::info!(fingerprint, "another certificate is shown");
            }
        }
        Ok(Err(error)) => tracing::error!(%error, "the certificate in use stays"),
        Err(error) => tracing::error!(%error, "judging the certificate panicked; the one in use stays"),
    }
}
