//! Which daemons there are, how they are, and what each can be asked. [`routes`] reads an OpenAPI document into a table, [`heart`] judges
//! heartbeats; both are pure. [`Daemon`] holds what they found for the request path, which reads it without waiting; [`heartbeat`] is the
//! task that keeps it true.

mod heart;
mod heartbeat;
mod routes;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use crate::proxy::Pool;

pub(crate) use heart::{Heart, State};
pub(crate) use heartbeat::keep;
pub(crate) use routes::{Found, MeterShelf, Operation, Routes, path_of};

/// A daemon as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configured {
    pub(crate) name: String,
    pub(crate) socket: PathBuf,
}

/// A `--daemon` that cannot be one.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{0}' is no daemon; write NAME=SOCKET, the name in lower case letters, digits and hyphens, and not 'routes' or 'access'"
)]
pub(crate) struct NoDaemon(String);

impl std::str::FromStr for Configured {
    type Err = NoDaemon;

    fn from_str(text: &str) -> Result<Self, NoDaemon> {
        let wrong = || NoDaemon(text.to_owned());
        let (name, socket) = text.split_once('=').ok_or_else(wrong)?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        // Those names are the door's own under /api/v1/.
        if name.is_empty() || !name.bytes().all(plain) || matches!(name, "routes" | "access") || socket.is_empty() {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), socket: PathBuf::from(socket) })
    }
}

/// What is known of a daemon at a moment.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) heart: Heart,
    /// From its document.
    pub(crate) version: Option<String>,
    pub(crate) document: Option<Arc<Value>>,
    pub(crate) routes: Arc<Routes>,
}

/// A daemon behind the door.
pub(crate) struct Daemon {
    pub(crate) name: String,
    pub(crate) pool: Arc<Pool>,
    pub(crate) meters: MeterShelf,
    view: RwLock<Arc<View>>,
}

impl Daemon {
    pub(crate) fn new(configured: &Configured) -> Arc<Self> {
        let view = View { heart: Heart::new(), version: None, document: None, routes: Arc::default() };
        Arc::new(Self {
            name: configured.name.clone(),
            pool: Pool::new(configured.socket.clone()),
            meters: MeterShelf::new(&configured.name),
            view: RwLock::new(Arc::new(view)),
        })
    }

    pub(crate) fn view(&self) -> Arc<View> {
        // Writers only put a finished value in place.
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, view: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn daemons_are_named_on_the_command_line() {
        let agent: Configured = "agent=/run/tlsstress/agent.sock".parse().unwrap();
        assert_eq!(agent.name, "agent");
        for wrong in ["agent", "=x", "a=", "A=x", "a/b=x", "routes=x", "access=x", "a b=x"] {
            assert!(wrong.parse::<Configured>().unwrap_err().to_string().contains(wrong));
        }
    }
}
