//! The files in `--state` that certificates are kept in, each readable to the door alone. Blocks on the disk; holds no rule about what is
//! shown. What was brought is one file, so that a power cut leaves chain and key that belong together.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tbi_api::access::Hidden;
use tbi_daemon::{Access, replace_file};

use super::CertError;
use super::authority::Pair;

const CA: (&str, &str) = ("ca.crt", "ca.key");
const LEAF: (&str, &str) = ("door.crt", "door.key");
const BROUGHT: &str = "brought.json";
const REQUEST: &str = "request.key";

/// The directory.
#[derive(Debug)]
pub(super) struct Kept {
    state: PathBuf,
}

/// What was brought through the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    /// PEM, leaf first.
    pub(super) chain: String,
    /// PEM.
    pub(super) key: Hidden,
}

impl Kept {
    /// Makes the directory when it is missing.
    ///
    /// # Errors
    /// [`CertError::Read`].
    pub(super) fn new(state: &Path) -> Result<Self, CertError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(state);
        made.map_err(|reason| CertError::Read { path: state.to_owned(), reason })?;
        Ok(Self { state: state.to_owned() })
    }

    pub(super) fn ca(&self) -> Result<Option<Pair>, CertError> {
        self.pair(CA)
    }

    pub(super) fn keep_ca(&self, pair: Pair) -> Result<Pair, CertError> {
        self.keep_pair(CA, pair)
    }

    pub(super) fn leaf(&self) -> Result<Option<Pair>, CertError> {
        self.pair(LEAF)
    }

    pub(super) fn keep_leaf(&self, pair: Pair) -> Result<Pair, CertError> {
        self.keep_pair(LEAF, pair)
    }

    pub(super) fn broken_ca(&self, reason: String) -> CertError {
        CertError::Broken { path: self.state.join(CA.0), reason }
    }

    pub(super) fn broken_leaf(&self, reason: String) -> CertError {
        CertError::Broken { path: self.state.join(LEAF.0), reason }
    }

    pub(super) fn brought(&self) -> Result<Option<Stored>, CertError> {
        let Some(text) = self.text(BROUGHT)? else { return Ok(None) };
        // The parser's own sentence could quote the key.
        let stored = serde_json::from_str(&text).map_err(|error| CertError::Broken {
            path: self.state.join(BROUGHT),
            reason: format!("{:?} error in its JSON", error.classify()),
        })?;
        Ok(Some(stored))
    }

    pub(super) fn keep_brought(&self, stored: &Stored) -> Result<(), CertError> {
        let path = self.state.join(BROUGHT);
        let text = serde_json::to_vec(stored).map_err(|error| CertError::Broken {
            path: path.clone(),
            reason: format!("{:?} error in its JSON", error.classify()),
        })?;
        Ok(replace_file(&path, &text, Access::Owner)?)
    }

    pub(super) fn forget_brought(&self) -> Result<(), CertError> {
        self.remove(BROUGHT)
    }

    /// Key of a request that waits for its answer.
    pub(super) fn request(&self) -> Result<Option<Hidden>, CertError> {
        Ok(self.text(REQUEST)?.map(Hidden::new))
    }

    pub(super) fn keep_request(&self, key: &Hidden) -> Result<(), CertError> {
        Ok(replace_file(&self.state.join(REQUEST), key.reveal().as_bytes(), Access::Owner)?)
    }

    pub(super) fn forget_request(&self) -> Result<(), CertError> {
        self.remove(REQUEST)
    }

    fn text(&self, name: &str) -> Result<Option<String>, CertError> {
        let path = self.state.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(reason) => Err(CertError::Read { path, reason }),
        }
    }

    fn pair(&self, (certificate, key): (&str, &str)) -> Result<Option<Pair>, CertError> {
        // What is no text is as good as missing: it is replaced.
        let text = |name: &str| match self.text(name) {
            Err(CertError::Read { reason, .. }) if reason.kind() == io::ErrorKind::InvalidData => Ok(None),
            read => read,
        };
        Ok(text(certificate)?.zip(text(key)?).map(|(certificate, key)| Pair { certificate, key }))
    }

    /// Key first: a certificate without its key would be judged broken at the next start, and so is replaced.
    fn keep_pair(&self, (certificate, key): (&str, &str), pair: Pair) -> Result<Pair, CertError> {
        replace_file(&self.state.join(key), pair.key.as_bytes(), Access::Owner)?;
        replace_file(&self.state.join(certificate), pair.certificate.as_bytes(), Access::Owner)?;
        Ok(pair)
    }

    /// Removes a file that may be missing, so that it stays removed after a power cut.
    fn remove(&self, name: &str) -> Result<(), CertError> {
        let path = self.state.join(name);
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => File::open(&self.state).and_then(|directory| directory.sync_all()),
        };
        removed.map_err(|reason| CertError::Remove { path, reason })
    }
}
