//! Adapters for the device under test: who it is, in which decrypt mode it is, how its mode is switched, what it counts.
//!
//! A campaign touches the device only through [`DutAdapter`]; which implementation it gets is chosen once, in `main`. KPIs never come
//! from a device (RFC 9411 §6.3): what an adapter tells is annex and corroboration.
//!
//! [`practice::PracticeDut`] speaks to the built-in gateway. Adapters for firewalls (REQUIREMENTS H1) are other modules beside it.

pub mod practice;

use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use tbi_bench::control::CpuTime;

/// The two modes a campaign compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecryptMode {
    /// The device decrypts (or shows the behaviour the plan calls ON).
    On,
    /// The device forwards without decrypting.
    Bypass,
}

/// Who the device says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DutIdentity {
    /// Maker.
    pub vendor: String,
    /// Model.
    pub model: String,
    /// Software version.
    pub version: String,
    /// SHA-256 of the CA with which it re-signs, lower-case hex, where it tells.
    pub ca_sha256: Option<String>,
}

/// The device's configuration without secrets, and its hash, so that a report can show that only the decrypt rule changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Text as the device gives it, sanitised.
    pub text: String,
    /// SHA-256 of the text, lower-case hex.
    pub sha256: String,
}

impl Snapshot {
    /// Snapshot of this text.
    #[must_use]
    pub fn new(text: String) -> Self {
        let sha256 = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text, sha256 }
    }
}

/// What the device counted since it started; absent where it does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DutCounters {
    /// Connections it decrypted.
    pub decrypted: Option<u64>,
    /// Connections it gave up on.
    pub failed: Option<u64>,
    /// Packets it lost although its configuration did not ask for loss.
    pub overrun: Option<u64>,
    /// CPU it used, where it runs on this machine.
    pub cpu: Option<CpuTime>,
}

/// The device could not be asked or told. Each variant is one sentence that names the device and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum DutError {
    /// No answer from its API.
    #[error("the device under test does not answer on {api}: {why}; check that it is up and reachable, then run again")]
    Unreachable {
        /// Where it was asked.
        api: String,
        /// Transport error.
        why: String,
    },
    /// It answered with a refusal.
    #[error("the device under test refused to {operation}: {detail}")]
    Refused {
        /// What was asked of it.
        operation: &'static str,
        /// Its own words.
        detail: String,
    },
    /// It said yes, but shows something else.
    #[error(
        "the device under test says it is in another mode than it was switched to ({wanted}); another administrator may be at work on it"
    )]
    NotInForce {
        /// Mode that was asked for.
        wanted: &'static str,
    },
}

/// A device under test.
pub trait DutAdapter: Send + Sync {
    /// Name of the adapter, for records.
    fn name(&self) -> &'static str;

    /// Who it is.
    fn identity(&self) -> BoxFuture<'_, Result<DutIdentity, DutError>>;

    /// PEM of the CA with which it re-signs; `None` when it has none to give and the operator must supply it.
    fn ca_pem(&self) -> BoxFuture<'_, Result<Option<String>, DutError>>;

    /// The mode it is in; `None` when it is neither of the two.
    fn mode(&self) -> BoxFuture<'_, Result<Option<DecryptMode>, DutError>>;

    /// Switches, waits until the device says that the mode is in force, and reads it back.
    fn switch_mode(&self, mode: DecryptMode) -> BoxFuture<'_, Result<(), DutError>>;

    /// Its configuration now.
    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, DutError>>;

    /// Its counters now.
    fn counters(&self) -> BoxFuture<'_, Result<DutCounters, DutError>>;
}
