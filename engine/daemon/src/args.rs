//! Command line and logging that all daemons have in common. Decides nothing; a daemon flattens [`DaemonArgs`] into its own arguments.

use std::io::IsTerminal;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use crate::{ListenError, Listener};

/// Arguments to flatten into a daemon's own.
#[derive(Debug, Clone, clap::Args)]
pub struct DaemonArgs {
    /// Unix socket of the control API; not needed when systemd hands one over (LISTEN_FDS)
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// What to log, as tracing filter directives
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: String,
}

impl DaemonArgs {
    /// The control socket: the one systemd handed over, else a new one at `--socket`.
    ///
    /// # Errors
    /// [`ListenError`] when neither is given or the path cannot be bound.
    pub fn listener(&self) -> Result<Listener, ListenError> {
        Listener::open(self.socket.as_deref())
    }
}

/// Sends tracing to standard error: one compact line per event, or JSON when `TBI_LOG_FORMAT=json`. A filter that does not parse
/// falls back to `info` and says so. Calling it twice is harmless.
pub fn init_tracing(daemon: &'static str, filter: &str) {
    let parsed = EnvFilter::try_new(filter);
    let complaint = parsed.as_ref().err().map(ToString::to_string);
    let filter = parsed.unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // The only failure is an already installed subscriber, which then stays in charge.
    let _already_installed = if std::env::var_os("TBI_LOG_FORMAT").is_some_and(|format| format == "json") {
        builder.json().try_init()
    } else {
        builder.compact().try_init()
    };
    if let Some(complaint) = complaint {
        tracing::warn!(daemon, %complaint, "the --log filter is not understood; logging at level info");
    }
    tracing::debug!(daemon, "logging");
}
