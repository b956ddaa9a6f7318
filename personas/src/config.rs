//! The configuration file, read in two stages: the words of [`PersonasConfig`], then [`Config`], which is complete and consistent.

use std::collections::HashSet;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use tbi_bench::control::personas::{KeyKind, PersonasConfig, Site};

/// Largest configuration file, bytes; a hundred sites need some 20 KB.
const FILE_LIMIT: u64 = 4 << 20;
/// More workers than any machine of the bench has cores.
const MOST_WORKERS: u32 = 256;
/// More sites than any plan has; each costs a certificate at start.
const MOST_SITES: usize = 10_000;

/// What the process runs with.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) sites: Vec<Site>,
    pub(crate) key: KeyKind,
    pub(crate) ca_dir: PathBuf,
    pub(crate) workers: u32,
    pub(crate) port: u16,
}

/// Why a configuration cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {reason}; give a readable file with --config", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The file is too large.
    #[error("the configuration {} is larger than {FILE_LIMIT} bytes; that is no persona configuration", .0.display())]
    TooLarge(PathBuf),
    /// The file is no configuration.
    #[error("the configuration {} is not understood: {reason}; correct it", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// What and where.
        reason: serde_json::Error,
    },
    /// A value is out of range.
    #[error("the configuration gives {what} {value}; give {wanted}")]
    Range {
        /// Which value.
        what: &'static str,
        /// What it is.
        value: usize,
        /// What it may be.
        wanted: String,
    },
    /// A site without an address.
    #[error("site {0} has no address; give it an IPv4 or IPv6 address")]
    NoAddress(String),
    /// A server name that cannot be one.
    #[error(
        "site {persona} has the server name '{name}', which is no host name; use letters, digits, hyphens and dots, at most 253"
    )]
    Name {
        /// Which site.
        persona: String,
        /// Its name, shortened.
        name: String,
    },
    /// Two sites share an address, so the address would not tell them apart.
    #[error("site {0} has the address {1}, which another site has too; give each site its own")]
    SharedAddress(String, IpAddr),
    /// Two sites share a name.
    #[error("two sites have the server name {0}; give each site its own")]
    SharedName(String),
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |reason| ConfigError::Read { path: path.to_owned(), reason };
        let mut text = Vec::new();
        std::fs::File::open(path).map_err(failed)?.take(FILE_LIMIT + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > FILE_LIMIT {
            return Err(ConfigError::TooLarge(path.to_owned()));
        }
        let words: PersonasConfig =
            serde_json::from_slice(&text).map_err(|reason| ConfigError::Parse { path: path.to_owned(), reason })?;
        Self::check(words)
    }

    /// Checks words that did not come from a file. Port 0 stands for any free port, the same for TCP and UDP.
    ///
    /// # Errors
    /// [`ConfigError`] other than about files.
    pub fn check(words: PersonasConfig) -> Result<Self, ConfigError> {
        let PersonasConfig { mut sites, key, ca_dir, workers, port } = words;
        if !(1..=MOST_WORKERS).contains(&workers) {
            let wanted = format!("1 to {MOST_WORKERS}");
            return Err(ConfigError::Range { what: "workers =", value: workers as usize, wanted });
        }
        if !(1..=MOST_SITES).contains(&sites.len()) {
            let wanted = format!("1 to {MOST_SITES}");
            return Err(ConfigError::Range { what: "a number of sites of", value: sites.len(), wanted });
        }
        let (mut addresses, mut names) = (HashSet::new(), HashSet::new());
        for site in &mut sites {
            if site.addresses.is_empty() {
                return Err(ConfigError::NoAddress(site.persona.clone()));
            }
            if !is_host_name(&site.server_name) {
                let name = site.server_name.chars().take(80).collect();
                return Err(ConfigError::Name { persona: site.persona.clone(), name });
            }
            site.server_name.make_ascii_lowercase();
            if !names.insert(site.server_name.clone()) {
                return Err(ConfigError::SharedName(site.server_name.clone()));
            }
            for address in &mut site.addresses {
                *address = address.to_canonical();
                if !addresses.insert(*address) {
                    return Err(ConfigError::SharedAddress(site.persona.clone(), *address));
                }
            }
        }
        Ok(Self { sites, key, ca_dir: PathBuf::from(ca_dir), workers, port })
    }
}

/// RFC 1123 §2.1 host name. Its last label is never a number, which tells it from an address; TLS has no SNI for addresses.
fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253 && name.split('.').all(label) && !name.rsplit('.').next().is_some_and(number)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn words() -> PersonasConfig {
        let site = |persona: &str, address: &str| Site {
            persona: persona.to_owned(),
            server_name: format!("{persona}.de.persona.tlsstress.art"),
            addresses: vec![address.parse().unwrap()],
        };
        PersonasConfig {
            sites: vec![site("bank", "198.51.100.1"), site("shop", "2001:db8::1")],
            key: KeyKind::EcdsaP256,
            ca_dir: "ca".to_owned(),
            workers: 2,
            port: 443,
        }
    }

    #[test]
    fn good_words_pass() {
        Config::check(words()).unwrap();
    }

    #[test]
    fn each_defect_has_its_sentence() {
        let refused = |spoil: fn(&mut PersonasConfig)| {
            let mut words = words();
            spoil(&mut words);
            Config::check(words).unwrap_err().to_string()
        };
        assert!(refused(|words| words.workers = 0).contains("workers = 0; give 1 to 256"));
        assert!(refused(|words| words.sites.clear()).contains("number of sites of 0"));
        assert!(refused(|words| words.sites[0].addresses.clear()).contains("site bank has no address"));
        assert!(refused(|words| words.sites[0].server_name = "a b".to_owned()).contains("'a b'"));
        assert!(refused(|words| words.sites[0].server_name = "192.0.2.1".to_owned()).contains("no host name"));
        assert!(refused(|words| words.sites[0].server_name = words.sites[1].server_name.clone()).contains("two sites"));
        assert!(
            refused(|words| words.sites[1].addresses = vec!["::ffff:198.51.100.1".parse().unwrap()])
                .contains("shop has the address 198.51.100.1")
        );
    }

    #[test]
    fn files_are_named_in_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("personas.json");
        assert!(Config::read(&path).unwrap_err().to_string().contains("personas.json"));
        std::fs::write(&path, r#"{"sites":[],"sitez":1}"#).unwrap();
        let error = Config::read(&path).unwrap_err().to_string();
        assert!(error.contains("personas.json") && error.contains("sitez"), "{error}");
    }
}
