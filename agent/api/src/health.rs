//! Health of the box and of its parts. "Degraded" is not "healthy".

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Does its work.
    Healthy,
    /// Is on its way up, for the first time or again.
    Starting,
    /// Does part of its work, or does it in a way that somebody should look at.
    Degraded,
    /// Does not do its work.
    Failed,
}

/// One part: a workload, the network, the state partition, the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Component {
    /// Stable name: `engine`, `personas`, `isp`, `practice-dut`, `network`, `trunk`, `state`, `database`, `clock`, `identity`, `topology`,
    /// `settings`, `management`.
    pub name: String,
    /// How it is.
    pub state: State,
    /// One sentence: what is wrong and what to do; empty when healthy.
    pub sentence: String,
    /// Times it was started again since the agent started.
    pub restarts: u32,
    /// Memory of its control group, bytes, where it has one.
    pub memory_bytes: Option<u64>,
}

/// The whole box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// The worst of the parts.
    pub state: State,
    /// The parts, by name.
    pub components: Vec<Component>,
}

impl Health {
    /// The whole of these parts.
    #[must_use]
    pub fn of(mut components: Vec<Component>) -> Self {
        components.sort_by(|a, b| a.name.cmp(&b.name));
        let state = components.iter().map(|component| component.state).max().unwrap_or(State::Healthy);
        Self { state, components }
    }
}
