//! The place the gateway stands in: what the configuration file says, checked once at the door.
//!
//! Reading it touches no network; everything that can be said about it is said before anything is bound.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use tbi_bench::control::personas::KeyKind;
use tbi_bench::control::practice_dut::PracticeDutConfig;

/// Most worker threads that make sense on one box.
const MAX_WORKERS: u32 = 256;
/// Kernel limit for interface names, without the closing zero (`IFNAMSIZ` - 1).
const MAX_INTERFACE_NAME: usize = 15;

/// A network interface's name, safe to put into a ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface(String);

impl Interface {
    /// Checks a name: 1 to 15 of letters, digits, `.`, `_`, `-`, not beginning with `-` or `.`.
    ///
    /// ```
    /// use tbi_practice_dut::config::Interface;
    /// assert!(Interface::parse("vlan20.inside").is_ok());
    /// for bad in ["", "-a", "..", "a b", "a\"}", "sixteencharacter"] {
    ///     assert!(Interface::parse(bad).is_err(), "{bad}");
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ConfigError::Interface`] for anything else.
    pub fn parse(name: &str) -> Result<Self, ConfigError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let good =
            (1..=MAX_INTERFACE_NAME).contains(&name.len()) && name.chars().all(plain) && !name.starts_with(['-', '.']);
        if good {
            Ok(Self(name.to_owned()))
        } else {
            Err(ConfigError::Interface { name: name.chars().take(40).collect() })
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A checked [`PracticeDutConfig`].
#[derive(Debug, Clone)]
pub struct Place {
    /// Interfaces towards the agents, at least one.
    pub inside: Vec<Interface>,
    /// Interfaces towards the ISP, at least one, none of them inside.
    pub outside: Vec<Interface>,
    /// Persona CA certificate file.
    pub persona_ca_file: PathBuf,
    /// Directory of the gateway's own CA.
    pub ca_dir: PathBuf,
    /// Key type of CA and leaves.
    pub key: KeyKind,
    /// Worker threads.
    pub workers: usize,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}; give an existing file with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a configuration.
    #[error("the configuration file {path} is not valid: {source}; correct the field it names")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A name no interface can have.
    #[error("'{name}' is not an interface name; use 1 to 15 letters, digits, '.', '_' or '-'")]
    Interface {
        /// The name, clipped.
        name: String,
    },
    /// A side without interfaces.
    #[error("{side}_interfaces is empty; name at least one interface on that side")]
    NoInterface {
        /// `inside` or `outside`.
        side: &'static str,
    },
    /// An interface on both sides.
    #[error("interface {name} is both inside and outside; put it on one side")]
    BothSides {
        /// The interface.
        name: String,
    },
    /// No, or far too many, worker threads.
    #[error("workers is {workers}; use 1 to {MAX_WORKERS}")]
    Workers {
        /// What was asked for.
        workers: u32,
    },
}

/// Reads and checks a configuration file.
///
/// # Errors
/// [`ConfigError`] naming file, field and remedy.
pub fn read(path: &Path) -> Result<Place, ConfigError> {
    let bytes = fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let config =
        serde_json::from_slice(&bytes).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })?;
    check(&config)
}

/// Checks a configuration.
///
/// # Errors
/// [`ConfigError`] naming the field and the remedy.
pub fn check(config: &PracticeDutConfig) -> Result<Place, ConfigError> {
    let side = |names: &[String], side: &'static str| -> Result<Vec<Interface>, ConfigError> {
        if names.is_empty() {
            return Err(ConfigError::NoInterface { side });
        }
        names.iter().map(|name| Interface::parse(name)).collect()
    };
    let (inside, outside) = (side(&config.inside_interfaces, "inside")?, side(&config.outside_interfaces, "outside")?);
    if let Some(both) = inside.iter().find(|name| outside.contains(name)) {
        return Err(ConfigError::BothSides { name: both.to_string() });
    }
    if !(1..=MAX_WORKERS).contains(&config.workers) {
        return Err(ConfigError::Workers { workers: config.workers });
    }
    Ok(Place {
        inside,
        outside,
        persona_ca_file: PathBuf::from(&config.persona_ca_file),
        ca_dir: PathBuf::from(&config.ca_dir),
        key: config.key,
        workers: config.workers as usize,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn config() -> PracticeDutConfig {
        PracticeDutConfig {
            inside_interfaces: vec!["in0".into()],
            outside_interfaces: vec!["out0".into()],
            persona_ca_file: "ca.pem".into(),
            ca_dir: "ca".into(),
            key: KeyKind::EcdsaP256,
            workers: 1,
        }
    }

    #[test]
    fn a_place_needs_two_distinct_sides_and_workers() {
        assert_eq!(check(&config()).unwrap().inside[0].to_string(), "in0");
        let broken: [fn(&mut PracticeDutConfig); 5] = [
            |config| config.inside_interfaces.clear(),
            |config| config.outside_interfaces.clear(),
            |config| config.outside_interfaces.push("in0".into()),
            |config| config.inside_interfaces.push("a;b".into()),
            |config| config.workers = 0,
        ];
        for (index, breaking) in broken.iter().enumerate() {
            let mut config = config();
            breaking(&mut config);
            assert!(check(&config).is_err(), "case {index}");
        }
    }
}
