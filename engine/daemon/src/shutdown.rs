//! The wish to stop, from SIGTERM, SIGINT or the program itself. It is only a wish: each part drains and ends on its own.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Clones share one wish; once requested it stays.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// A wish that only [`Self::request`] fulfils.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A wish that SIGTERM or SIGINT fulfil. Call inside a runtime that lives as long as the daemon.
    ///
    /// # Errors
    /// When the system refuses signal handlers.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::new();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let wish = shutdown.clone();
        // Watches nothing but signals and cannot fail; it ends with the first signal or with the runtime.
        tokio::spawn(async move {
            // Both arms are cancel safe: a signal not yet received is not lost by dropping `recv`.
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "stopping");
            wish.request();
        });
        Ok(shutdown)
    }

    /// Wishes to stop.
    pub fn request(&self) {
        self.token.cancel();
    }

    /// Waits until somebody wishes to stop.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Whether somebody wished to stop.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }
}
