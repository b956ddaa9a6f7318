//! The ISP router between device and personas: the one that ships, or one that the operator brings (docs/isp.md).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which router it is. Chosen in the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Router {
    /// FRR, in a container that is part of the verified image.
    #[default]
    Frr,
    /// The root file system in the slot.
    Own,
}

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Isp {
    /// The one the settings choose. How it is, says the component `isp` of the health.
    pub router: Router,
    /// What is in the slot.
    pub root: Option<Root>,
}

/// A root file system in the slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Root {
    /// Size of the file.
    pub bytes: u64,
    /// Of the whole file, hexadecimal.
    pub sha256: String,
    /// When it came, RFC 3339.
    pub imported: String,
}

/// How an operator's `config.boot` compares with the topology; both empty when it has everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// What every router needs and this file lacks: static routes, the version footer.
    pub routes: Vec<String>,
    /// What only a router outside of the box needs besides: in the slot, links and addresses are laid by the bench.
    pub interfaces: Vec<String>,
}
