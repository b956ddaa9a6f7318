//! Adapter for the practice DUT, over its unix socket. Both modes are behaviours of the plan, so that every behaviour of the gateway
//! can stand for ON.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tbi_bench::control::practice_dut::{Behaviour, Counters, Identity};
use tbi_daemon::{ClientError, UnixClient};

use crate::{DecryptMode, DutAdapter, DutCounters, DutError, DutIdentity, Snapshot};

/// The built-in gateway.
#[derive(Debug, Clone)]
pub struct PracticeDut {
    client: UnixClient,
    on: Behaviour,
    bypass: Behaviour,
}

impl PracticeDut {
    /// Adapter for the gateway behind `client`, with the behaviours the two modes stand for.
    #[must_use]
    pub fn new(client: UnixClient, on: Behaviour, bypass: Behaviour) -> Self {
        Self { client, on, bypass }
    }

    fn behaviour(&self, mode: DecryptMode) -> &Behaviour {
        match mode {
            DecryptMode::On => &self.on,
            DecryptMode::Bypass => &self.bypass,
        }
    }

    fn explain(&self, operation: &'static str, error: ClientError) -> DutError {
        match error {
            ClientError::Problem(problem) => DutError::Refused { operation, detail: problem.detail },
            other => DutError::Unreachable { api: self.client.socket().display().to_string(), why: other.to_string() },
        }
    }
}

impl DutAdapter for PracticeDut {
    fn name(&self) -> &'static str {
        "practice"
    }

    fn identity(&self) -> BoxFuture<'_, Result<DutIdentity, DutError>> {
        async {
            let identity: Identity =
                self.client.get_json("/v1/identity").await.map_err(|error| self.explain("identify itself", error))?;
            Ok(DutIdentity {
                vendor: identity.vendor,
                model: identity.model,
                version: identity.version,
                ca_sha256: Some(identity.ca_sha256),
            })
        }
        .boxed()
    }

    fn ca_pem(&self) -> BoxFuture<'_, Result<Option<String>, DutError>> {
        async { self.client.get_text("/v1/ca.pem").await.map(Some).map_err(|error| self.explain("give its CA", error)) }
            .boxed()
    }

    fn mode(&self) -> BoxFuture<'_, Result<Option<DecryptMode>, DutError>> {
        async {
            let now: Behaviour =
                self.client.get_json("/v1/behaviour").await.map_err(|error| self.explain("tell its mode", error))?;
            // ON is looked at first: in an A/A control both modes are the same behaviour, and either answer is right.
            Ok([DecryptMode::On, DecryptMode::Bypass].into_iter().find(|mode| *self.behaviour(*mode) == now))
        }
        .boxed()
    }

    fn switch_mode(&self, mode: DecryptMode) -> BoxFuture<'_, Result<(), DutError>> {
        async move {
            let wanted = self.behaviour(mode);
            let _echo: Behaviour = self
                .client
                .put_json("/v1/behaviour", wanted)
                .await
                .map_err(|error| self.explain("switch its mode", error))?;
            let now: Behaviour =
                self.client.get_json("/v1/behaviour").await.map_err(|error| self.explain("tell its mode", error))?;
            if now == *wanted {
                Ok(())
            } else {
                Err(DutError::NotInForce {
                    wanted: match mode {
                        DecryptMode::On => "on",
                        DecryptMode::Bypass => "bypass",
                    },
                })
            }
        }
        .boxed()
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, DutError>> {
        async {
            let now: serde_json::Value = self
                .client
                .get_json("/v1/behaviour")
                .await
                .map_err(|error| self.explain("show its configuration", error))?;
            Ok(Snapshot::new(format!("{now:#}")))
        }
        .boxed()
    }

    fn counters(&self) -> BoxFuture<'_, Result<DutCounters, DutError>> {
        async {
            let counters: Counters =
                self.client.get_json("/v1/counters").await.map_err(|error| self.explain("show its counters", error))?;
            Ok(DutCounters {
                decrypted: Some(counters.tcp_decrypted + counters.quic_decrypted),
                failed: Some(counters.failed),
                overrun: Some(counters.packets_overrun),
                cpu: Some(counters.cpu),
            })
        }
        .boxed()
    }
}
