//! The words in which measuring daemons are spoken to, over HTTP on their unix sockets.
//!
//! One module per daemon: [`engine`] (load), [`personas`], [`practice_dut`]. Types only; the transport is `tbi-daemon`. Every daemon
//! also answers `/health/live`, `/health/ready`, `/health/startup`, `/metrics` and `/openapi.json`, and gives errors as RFC 9457
//! problem documents ([`Problem`]).

pub mod engine;
pub mod personas;
pub mod practice_dut;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// RFC 9457 problem document. `code` is stable and meant for programs; `detail` names the thing and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Problem {
    /// Short, constant for a code.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable machine-readable cause, `kebab-case`.
    pub code: String,
    /// One sentence for a person: what is wrong and what to do.
    pub detail: String,
}

/// Processor time a daemon used, in microseconds since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct CpuTime {
    /// In user mode, µs.
    pub user_us: u64,
    /// In the kernel on its behalf, µs.
    pub system_us: u64,
}

impl CpuTime {
    /// Both together, µs.
    #[must_use]
    pub fn total_us(self) -> u64 {
        self.user_us + self.system_us
    }

    /// What was used since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user_us: self.user_us.saturating_sub(earlier.user_us),
            system_us: self.system_us.saturating_sub(earlier.system_us),
        }
    }
}
