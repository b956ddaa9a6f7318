//! `network.json`: what the agent says the network is to be laid on.
//!
//! ```json
//! { "version": 1, "topology": null, "trunk": { "mac": "52:54:00:12:34:56" }, "isp": "frr" }
//! ```
//! `topology` is the text of a topology file or null for the one that ships; `trunk` is null for the practice DUT. Every field must be
//! there, and no other.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tbi_bench::catalogue::Catalogue;
use tbi_bench::netplan::{Fabric, IspRouter, MacAddress, Site};
use tbi_bench::topology::{DeploymentNodes, DutType, Topology, TopologyError};

/// A topology file has at most 64 KiB, which JSON may double.
const MAX_BYTES: u64 = 256 * 1024;
const VERSION: u32 = 1;

/// What was read and checked.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) fabric: Fabric,
    pub(super) topology: Topology,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    version: u32,
    // With a function of its own an absent field is not taken for null.
    #[serde(deserialize_with = "Option::deserialize")]
    topology: Option<String>,
    #[serde(deserialize_with = "Option::deserialize")]
    trunk: Option<TrunkChoice>,
    isp: IspRouter,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrunkChoice {
    mac: MacAddress,
}

/// A fault in `network.json`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {path} ({source}); let the agent write it again")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is larger than {MAX_BYTES} bytes; let the agent write it again")]
    TooLarge { path: PathBuf },
    #[error("{path} is not a network configuration ({detail}); let the agent write it again")]
    Json { path: PathBuf, detail: String },
    #[error(
        "{path} has version {found}, and this program reads version {VERSION}; let the agent of this image write it"
    )]
    Version { path: PathBuf, found: u32 },
    #[error(transparent)]
    Topology(#[from] TopologyError),
    #[error(
        "topology.yaml asks for deployment_nodes '{nodes}', and this box builds 'single'; set deployment_nodes: single"
    )]
    Nodes { nodes: DeploymentNodes },
    #[error(
        "topology.yaml names the DUT '{dut}', but no trunk NIC leads to one; choose a trunk in the settings, or set dut_type: practice"
    )]
    NoTrunk { dut: DutType },
}

impl Config {
    /// Reads the file.
    pub(super) fn read(path: &Path, catalogue: &Catalogue) -> Result<Self, ConfigError> {
        let at = || path.to_owned();
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text));
        let read = read.map_err(|source| ConfigError::Read { path: at(), source })?;
        if read as u64 > MAX_BYTES {
            return Err(ConfigError::TooLarge { path: at() });
        }
        let file: ConfigFile = serde_json::from_slice(&text)
            .map_err(|error| ConfigError::Json { path: at(), detail: error.to_string() })?;
        if file.version != VERSION {
            return Err(ConfigError::Version { path: at(), found: file.version });
        }
        let topology = match &file.topology {
            Some(text) => Topology::parse(text, catalogue)?,
            None => Topology::builtin(),
        };
        let site = match file.trunk {
            Some(choice) => Site::External { trunk: choice.mac },
            None => Site::Practice,
        };
        if topology.deployment_nodes() != DeploymentNodes::Single {
            return Err(ConfigError::Nodes { nodes: topology.deployment_nodes() });
        }
        // A practice DUT measured under another's name would be a lie.
        if site == Site::Practice && topology.dut_type() != DutType::Practice {
            return Err(ConfigError::NoTrunk { dut: topology.dut_type() });
        }
        Ok(Self { fabric: Fabric { site, isp: file.isp }, topology })
    }
}
