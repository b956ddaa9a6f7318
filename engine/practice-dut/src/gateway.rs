//! Which behaviour is in force, and the only place that changes it.
//!
//! Connections belong to the [`Epoch`] in which they were accepted. A change opens a new epoch, ends the old one and waits until its
//! connections are gone, then replaces the rules; so a connection never changes its treatment, and what [`Gateway::change`] returned
//! is true of every connection from then on.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tbi_bench::control::practice_dut::{Behaviour, Counters, Identity};
use tbi_bench::units::Span;
use tbi_daemon::Health;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::behaviour::{BehaviourError, check};
use crate::counters::Tally;
use crate::delay::{DelayError, DelayLine};
use crate::rules::apply::{ApplyError, Kernel, PacketCounts};
use crate::tls::Templates;
use crate::tls::forge::Forger;

/// How long ended connections may take to say goodbye before the change goes on without them.
const GOODBYE: Duration = Duration::from_secs(2);

/// One behaviour and the connections accepted under it.
#[derive(Debug)]
pub struct Epoch {
    /// The behaviour.
    pub behaviour: Behaviour,
    /// Cancelled when the behaviour is no longer in force.
    pub ended: CancellationToken,
    /// Tasks of its connections.
    pub connections: TaskTracker,
}

impl Epoch {
    fn new(behaviour: Behaviour) -> Arc<Self> {
        Arc::new(Self { behaviour, ended: CancellationToken::new(), connections: TaskTracker::new() })
    }

    async fn end(&self) {
        self.connections.close();
        self.ended.cancel();
        if tokio::time::timeout(GOODBYE, self.connections.wait()).await.is_err() {
            tracing::warn!(
                connections = self.connections.len(),
                "connections of the previous behaviour do not end; they are left to their timers"
            );
        }
    }
}

/// What every worker needs to treat a connection.
#[derive(Debug)]
pub struct Shared {
    /// Signs leaves.
    pub forger: Forger,
    /// TLS settings of both legs.
    pub templates: Templates,
    /// What happened.
    pub tally: Arc<Tally>,
    current: RwLock<Arc<Epoch>>,
}

impl Shared {
    /// Everything for workers, under the default behaviour: a plain router.
    #[must_use]
    pub fn new(forger: Forger, templates: Templates, tally: Arc<Tally>) -> Arc<Self> {
        Arc::new(Self { forger, templates, tally, current: RwLock::new(Epoch::new(Behaviour::default())) })
    }

    /// The epoch new connections belong to.
    #[must_use]
    pub fn epoch(&self) -> Arc<Epoch> {
        // The lock only ever guards one pointer assignment, which cannot be left half done.
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begin(&self, behaviour: Behaviour) -> Arc<Epoch> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, Epoch::new(behaviour))
    }
}

/// Why a behaviour is not in force.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It makes no sense.
    #[error(transparent)]
    Refused(#[from] BehaviourError),
    /// The kernel does not take the rules.
    #[error(transparent)]
    Rules(#[from] ApplyError),
    /// The delay line cannot be opened.
    #[error(transparent)]
    Delay(#[from] DelayError),
}

/// The gateway as its API sees it.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    /// One change at a time.
    machinery: Mutex<Machinery>,
}

#[derive(Debug)]
struct Machinery {
    kernel: Kernel,
    delay: DelayLine,
}

impl Gateway {
    /// Puts the default behaviour in force. `health` learns when a part of the gateway breaks.
    ///
    /// # Errors
    /// [`ChangeError::Rules`] when the kernel does not take them.
    pub async fn open(shared: Arc<Shared>, mut kernel: Kernel, health: Health) -> Result<Self, ChangeError> {
        kernel.apply(&Behaviour::default()).await?;
        let delay = DelayLine::new(shared.tally.clone(), health);
        Ok(Self { shared, machinery: Mutex::new(Machinery { kernel, delay }) })
    }

    /// The behaviour in force; waits while it is being changed.
    pub async fn behaviour(&self) -> Behaviour {
        let _settled = self.machinery.lock().await;
        self.shared.epoch().behaviour
    }

    /// Puts a behaviour in force and returns when it is. Asking for the present one changes nothing and ends no connection.
    ///
    /// # Errors
    /// [`ChangeError`]; the behaviour of before is in force again then, without its connections.
    pub async fn change(&self, wanted: Behaviour) -> Result<Behaviour, ChangeError> {
        check(&wanted)?;
        let mut machinery = self.machinery.lock().await;
        let before = self.shared.epoch().behaviour;
        if wanted == before {
            return Ok(wanted);
        }
        self.shared.begin(wanted).end().await;
        if let Err(error) = machinery.enforce(&wanted).await {
            self.shared.begin(before).end().await;
            if let Err(second) = machinery.enforce(&before).await {
                tracing::error!(error = %second, "the previous rules cannot be restored either");
            }
            return Err(error);
        }
        tracing::info!(behaviour = ?wanted, "in force");
        Ok(wanted)
    }

    /// Who this device says it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let ca = self.shared.forger.ca();
        Identity {
            vendor: "TLSStress.Art".to_owned(),
            model: "practice DUT".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ca_sha256: ca.sha256.clone(),
            ca_not_after: ca.not_after,
        }
    }

    /// CA certificate in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.shared.forger.ca().pem.clone()
    }

    /// Counts since start. Packets the QUIC block refused count as dropped on purpose, like those lost at random.
    ///
    /// # Errors
    /// [`ApplyError`] when the packet counters cannot be read.
    pub async fn counters(&self) -> Result<Counters, ApplyError> {
        let PacketCounts { dropped, blocked } = Kernel::counts().await?;
        let tally = &self.shared.tally;
        Ok(Counters {
            tcp_decrypted: tally.tcp_decrypted(),
            quic_decrypted: tally.quic_decrypted(),
            failed: tally.failed(),
            upstream_untrusted: tally.upstream_untrusted(),
            leaves_forged: tally.leaves_forged(),
            packets_dropped: dropped + blocked,
            packets_delayed: tally.packets_delayed(),
            packets_overrun: tally.packets_overrun(),
            cpu: tbi_daemon::cpu_time(),
        })
    }

    /// What the workers share, for metrics.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Ends all connections and removes all rules.
    ///
    /// # Errors
    /// [`ApplyError`] of the first rule that could not be removed.
    pub async fn close(&self) -> Result<(), ApplyError> {
        let mut machinery = self.machinery.lock().await;
        self.shared.begin(Behaviour::default()).end().await;
        let removed = machinery.kernel.remove().await;
        machinery.delay.close().await;
        removed
    }
}

impl Machinery {
    /// The delay line opens before the first packet is sent to it and lets go only after the last.
    async fn enforce(&mut self, behaviour: &Behaviour) -> Result<(), ChangeError> {
        if behaviour.delay > Span::ZERO {
            self.delay.hold(behaviour.delay)?;
        }
        self.kernel.apply(behaviour).await?;
        if behaviour.delay == Span::ZERO {
            self.delay.let_go();
        }
        Ok(())
    }
}
