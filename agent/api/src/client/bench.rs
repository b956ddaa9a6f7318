//! What is asked of the agent about the bench, one method per path.

use tbi_daemon::ClientError;

use super::{AgentClient, asking};
use crate::bench::{Dut, Evidence, Examination, Links, Order, Personas};
use crate::history::{Asked, History};
use crate::isp::{Check, Isp};
use crate::settings::TopologyText;

impl AgentClient {
    /// The pre-flight checks that were made for themselves.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn preflight(&self) -> Result<Examination, ClientError> {
        self.socket.get_json("/v1/preflight").await
    }

    /// Makes them now.
    ///
    /// # Errors
    /// [`ClientError`], code `run-under-way` while the bench is in use.
    pub async fn start_preflight(&self, order: &Order) -> Result<Examination, ClientError> {
        self.socket.post_json("/v1/preflight", order).await
    }

    /// Has them end before their time.
    ///
    /// # Errors
    /// [`ClientError`], code `no-checks-under-way` when they are over.
    pub async fn cancel_preflight(&self) -> Result<(), ClientError> {
        self.socket.delete("/v1/preflight").await
    }

    /// The personas with their certificates.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn personas(&self) -> Result<Personas, ClientError> {
        self.socket.get_json("/v1/personas").await
    }

    /// What stands as device.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn dut(&self) -> Result<Dut, ClientError> {
        self.socket.get_json("/v1/dut").await
    }

    /// What the newest record says about the bench itself.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn evidence(&self) -> Result<Evidence, ClientError> {
        self.socket.get_json("/v1/evidence").await
    }

    /// Network cards with their counters.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn links(&self) -> Result<Links, ClientError> {
        self.socket.get_json("/v1/links").await
    }

    /// How the box was.
    ///
    /// # Errors
    /// [`ClientError`], code `history-refused` when the time asked for is none.
    pub async fn history(&self, asked: &Asked) -> Result<History, ClientError> {
        self.socket.get_json(&asking("/v1/history", asked)).await
    }

    /// Router between device and personas.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn isp(&self) -> Result<Isp, ClientError> {
        self.socket.get_json("/v1/isp").await
    }

    /// What a router in the slot is given.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn config_boot(&self) -> Result<String, ClientError> {
        self.socket.get_text("/v1/isp/config.boot").await
    }

    /// What an operator's `config.boot` lacks.
    ///
    /// # Errors
    /// [`ClientError`], code `config-boot-refused` when it cannot be read.
    pub async fn check_config_boot(&self, text: &str) -> Result<Check, ClientError> {
        self.socket.post_text("/v1/isp/config.boot/check", text).await
    }

    /// Topology as it was stored.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn topology(&self) -> Result<TopologyText, ClientError> {
        self.socket.get_json("/v1/topology").await
    }
}
