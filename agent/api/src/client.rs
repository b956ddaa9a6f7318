//! The agent's API for programs that ask: one method per path, nothing hidden.

use std::path::Path;
use std::time::Duration;

use tbi_daemon::{ClientError, UnixClient};

use crate::health::Health;
use crate::node::Identity;
use crate::power;
use crate::runs::{Order, Run};
use crate::settings::{Change, Snapshot, TopologyText};
use crate::status::Status;

/// Asks the agent behind a socket.
#[derive(Debug, Clone)]
pub struct AgentClient {
    socket: UnixClient,
}

impl AgentClient {
    /// Client of the agent at `socket` ([`crate::AGENT_SOCKET`] on an appliance).
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: UnixClient::new(socket) }
    }

    /// The same with another limit for each request.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { socket: self.socket.with_timeout(timeout) }
    }

    /// What the console shows.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.socket.get_json("/v1/status").await
    }

    /// Every part of the box.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.socket.get_json("/v1/health").await
    }

    /// Who it is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn identity(&self) -> Result<Identity, ClientError> {
        self.socket.get_json("/v1/identity").await
    }

    /// Settings in force.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn settings(&self) -> Result<Snapshot, ClientError> {
        self.socket.get_json("/v1/settings").await
    }

    /// Changes settings.
    ///
    /// # Errors
    /// [`ClientError`], code `settings-changed` when somebody else was faster.
    pub async fn change_settings(&self, change: &Change) -> Result<Snapshot, ClientError> {
        self.socket.put_json("/v1/settings", change).await
    }

    /// Starts a run.
    ///
    /// # Errors
    /// [`ClientError`], code `run-under-way` when there is one.
    pub async fn start_run(&self, order: &Order) -> Result<Run, ClientError> {
        self.socket.post_json("/v1/runs", order).await
    }

    /// Stores another topology.
    ///
    /// # Errors
    /// [`ClientError`], code `topology-refused` when it cannot be built on the box.
    pub async fn change_topology(&self, topology: &TopologyText) -> Result<TopologyText, ClientError> {
        self.socket.put_json("/v1/topology", topology).await
    }

    /// Restarts the machine or switches it off.
    ///
    /// # Errors
    /// [`ClientError`], code `power-refused` when the system does not let the agent.
    pub async fn power(&self, order: &power::Order) -> Result<power::Order, ClientError> {
        self.socket.post_json("/v1/power", order).await
    }

    /// One run.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn run(&self, id: &str) -> Result<Run, ClientError> {
        self.socket.get_json(&format!("/v1/runs/{id}")).await
    }
}
