//! Reboot and power off, always with a reason, which the next boot shows.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What should happen to the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PowerOrder)]
pub struct Order {
    /// What.
    pub action: Action,
    /// Why, 1 to 200 characters; shown after the next boot.
    pub reason: String,
}

/// See [`Order`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Start again.
    Reboot,
    /// Switch off.
    PowerOff,
}
