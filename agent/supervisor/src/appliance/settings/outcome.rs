//! What `tbi-agent settings apply` did, as a file for the agent: the two run as different users and never meet.

use serde::{Deserialize, Serialize};

/// Where the file is, below the root.
pub(crate) const PATH: &str = "run/tlsstress-settings/outcome.json";

/// The last application of settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SettingsOutcome {
    /// Host name in force.
    pub(crate) host_name: String,
    /// Management interface by the name it had.
    pub(crate) management_interface: Option<String>,
    /// Trunk interface by the name it had.
    pub(crate) trunk_interface: Option<String>,
    /// Whether the file's settings were used; otherwise the defaults were.
    pub(crate) settings_used: bool,
    /// What went wrong and what to do; empty when nothing did.
    pub(crate) sentences: Vec<String>,
}
