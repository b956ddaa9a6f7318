//! Licences: signed envelopes that allow runs and grant test stress units (TSU).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the box stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Licences {
    /// Whether runs need one (settings `licence.enforce`). Without, the developer envelope allows every run and nothing is spent.
    pub enforced: bool,
    /// Units that are unspent.
    pub balance: u64,
    /// Installed envelopes.
    pub installed: Vec<Installed>,
}

/// An installed envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Installed {
    /// Its id.
    pub id: String,
    /// For whom.
    pub customer: String,
    /// What it allows.
    pub features: Vec<String>,
    /// Runs at the same time.
    pub concurrency: u32,
    /// From then.
    #[schema(value_type = String)]
    pub not_before: Timestamp,
    /// Until then.
    #[schema(value_type = String)]
    pub expires: Timestamp,
    /// Days after that in which it is still taken.
    pub grace_days: u32,
    /// Units it granted.
    pub tsu: u64,
    /// `valid`, `grace`, `expired`, `not_yet` or `forged`.
    pub standing: String,
}

/// An envelope as its issuer hands it over: JSON with `format`, `issuer`, `envelope` and `signature`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The file's text.
    pub document: String,
}
