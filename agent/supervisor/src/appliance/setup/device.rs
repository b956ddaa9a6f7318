//! The device under test as the operator described it. Its password or token is a file of its own: sealed to the TPM where there is one, else
//! readable to the agent only, as the box's own key is. It goes into no database, no log, no audit entry and no answer.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tbi_api::access::Hidden;
use tbi_api::device::{Change, Device, Kind};
use tbi_api::node::KeyStorage;
use tbi_daemon::{Access, ReplaceError, replace_file};
use tbi_ledger::{Ledger, LedgerError};

use super::super::node::{Appliance, Lost};
use super::super::sealing::{SealError, Sealer};
use super::super::settings::usage::host_and_port;
use super::capabilities::capabilities;
use super::{text_of, understood};

/// Document of the description.
const DOCUMENT: &str = "device";
/// Name that is bound into the sealed secret.
const NAME: &str = "--name=tbi-device-credential";
const SEALED: &str = "device.credential.sealed";
const PLAIN: &str = "device.credential";
/// A password, or a token of some hundred letters.
const LONGEST_SECRET: usize = 1024;
const LONGEST_ACCOUNT: usize = 128;

/// What is kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) kind: Kind,
    pub(crate) address: Option<String>,
    pub(crate) account: Option<String>,
    pub(crate) changed: Timestamp,
}

impl Described {
    pub(super) fn read(ledger: &Ledger) -> Result<Option<Self>, LedgerError> {
        Ok(ledger.document(DOCUMENT)?.and_then(|text| understood(DOCUMENT, &text)))
    }
}

/// Why a description is not taken. Nothing in it repeats a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    #[error(
        "address is no host name or address; give one such as fw.example.net, 192.0.2.20 or [2001:db8::20]:8443, without https:// and \
         without a path"
    )]
    Address,
    #[error("address is missing; give the host name or address of the device's management")]
    NoAddress,
    #[error("account is not taken; it has 1 to {LONGEST_ACCOUNT} bytes on one line")]
    Account,
    #[error("secret is not taken; it has 1 to {LONGEST_SECRET} bytes on one line")]
    Secret,
    #[error("secret and forget_secret are both given; give one of them")]
    SecretTwice,
    #[error("the credential could not be kept: {0}")]
    Kept(#[from] ReplaceError),
    #[error("the credential of before could not be removed ({0}); restart the box and try again")]
    Removed(std::io::Error),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<Lost> for DeviceError {
    fn from(lost: Lost) -> Self {
        Self::Ledger(lost.into())
    }
}

/// A description that was checked. Its secret shows itself to nobody.
#[derive(Debug)]
struct Checked {
    kind: Kind,
    address: Option<String>,
    account: Option<String>,
    secret: NewSecret,
}

/// What becomes of the secret.
enum NewSecret {
    Keep,
    Forget,
    Replace(Hidden),
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "Keep",
            Self::Forget => "Forget",
            Self::Replace(_) => "Replace",
        })
    }
}

fn check(change: Change) -> Result<Checked, DeviceError> {
    let Change { kind, address, account, secret, forget_secret } = change;
    if kind == Kind::Practice {
        return Ok(Checked { kind, address: None, account: None, secret: NewSecret::Forget });
    }
    let some = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let on_one_line = |text: &str, most: usize| text.len() <= most && !text.chars().any(char::is_control);
    let (address, account) = (some(address), some(account));
    match &address {
        None if kind != Kind::Other => return Err(DeviceError::NoAddress),
        Some(address) if host_and_port(&format!("https://{address}")).is_err() => return Err(DeviceError::Address),
        None | Some(_) => {}
    }
    if account.as_deref().is_some_and(|account| !on_one_line(account, LONGEST_ACCOUNT)) {
        return Err(DeviceError::Account);
    }
    let secret = match (secret, forget_secret) {
        (Some(_), true) => return Err(DeviceError::SecretTwice),
        (None, true) => NewSecret::Forget,
        (None, false) => NewSecret::Keep,
        (Some(secret), false) if secret.reveal().is_empty() || !on_one_line(secret.reveal(), LONGEST_SECRET) => {
            return Err(DeviceError::Secret);
        }
        (Some(secret), false) => NewSecret::Replace(secret),
    };
    Ok(Checked { kind, address, account, secret })
}

/// The secret on the disk.
#[derive(Debug, Clone)]
struct Safe(PathBuf);

impl Safe {
    fn of(state: &Path) -> Self {
        Self(state.join("secrets"))
    }

    fn found(&self) -> Option<KeyStorage> {
        match (self.0.join(SEALED).exists(), self.0.join(PLAIN).exists()) {
            (true, _) => Some(KeyStorage::SealedToTpm),
            (false, true) => Some(KeyStorage::StatePartition),
            (false, false) => None,
        }
    }

    async fn keep(&self, secret: &Hidden, sealer: Option<&Sealer>) -> Result<(), DeviceError> {
        let sealed = match sealer {
            None => None,
            Some(sealer) => sealer
                .seal(secret.reveal().as_bytes())
                .await
                .inspect_err(
                    |error: &SealError| tracing::warn!(%error, "the device's credential is not sealed to the TPM"),
                )
                .ok(),
        };
        let (name, other, bytes) = match sealed {
            Some(blob) => (SEALED, PLAIN, blob),
            None => (PLAIN, SEALED, secret.reveal().as_bytes().to_vec()),
        };
        replace_file(&self.0.join(name), &bytes, Access::Owner)?;
        remove(&self.0.join(other)).map_err(DeviceError::Removed)
    }

    fn forget(&self) -> Result<(), DeviceError> {
        for name in [SEALED, PLAIN] {
            remove(&self.0.join(name)).map_err(DeviceError::Removed)?;
        }
        Ok(())
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Appliance {
    /// The device as it was described; the practice device where nobody did.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn device(&self) -> Result<Device, DeviceError> {
        let described = self.ledger(|ledger, _| Ok::<_, DeviceError>(Described::read(ledger)?)).await?;
        let secret = Safe::of(self.state()).found();
        Ok(match described {
            Some(Described { kind, address, account, changed }) => {
                let capabilities = capabilities(kind);
                Device { kind, address, account, secret, changed: Some(changed.to_string()), capabilities }
            }
            None => {
                let (kind, capabilities) = (Kind::Practice, capabilities(Kind::Practice));
                Device { kind, address: None, account: None, secret, changed: None, capabilities }
            }
        })
    }

    /// Describes the device.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub(crate) async fn change_device(&self, change: Change) -> Result<Device, DeviceError> {
        let Checked { kind, address, account, secret } = check(change)?;
        let safe = Safe::of(self.state());
        match secret {
            NewSecret::Keep => {}
            NewSecret::Forget => safe.forget()?,
            NewSecret::Replace(secret) => {
                let sealer = Sealer::of_machine(&self.place().root).map(|sealer| sealer.named(NAME));
                safe.keep(&secret, sealer.as_ref()).await?;
            }
        }
        let described = Described { kind, address, account, changed: Timestamp::now() };
        let kept = move |ledger: &mut Ledger, _: &dyn tbi_ledger::Signer| {
            Ok::<_, DeviceError>(ledger.keep_document(DOCUMENT, &text_of(&described))?)
        };
        self.ledger(kept).await?;
        self.device().await
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn change(json: &str) -> Change {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn wrong_huge_and_hostile_descriptions_are_refused_and_no_secret_is_repeated() {
        let huge = "a".repeat(5000);
        for (json, part) in [
            (r#"{"kind":"fortigate"}"#.to_owned(), "address is missing"),
            (r#"{"kind":"pan_os","address":"https://fw"}"#.to_owned(), "without https://"),
            (r#"{"kind":"pan_os","address":"fw/../../etc"}"#.to_owned(), "address"),
            (r#"{"kind":"pan_os","address":"ada:s3cret@fw"}"#.to_owned(), "address"),
            (r#"{"kind":"other","address":"<script>alert(1)</script>"}"#.to_owned(), "address"),
            (format!(r#"{{"kind":"other","address":"{huge}"}}"#), "address"),
            (format!(r#"{{"kind":"other","account":"{huge}"}}"#), "account"),
            (r#"{"kind":"other","account":"a\nb"}"#.to_owned(), "account"),
            (format!(r#"{{"kind":"other","secret":"{huge}s3cret"}}"#), "secret"),
            (r#"{"kind":"other","secret":"s3cret\n"}"#.to_owned(), "secret"),
            (r#"{"kind":"other","secret":""}"#.to_owned(), "secret"),
            (r#"{"kind":"other","secret":"s3cret","forget_secret":true}"#.to_owned(), "both"),
        ] {
            let error = check(change(&json)).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("s3cret") && error.len() < 300, "{json}: {error}");
        }
        let good = check(change(r#"{"kind":"ftd_fmc","address":" [2001:db8::20]:8443 ","account":"api"}"#)).unwrap();
        assert_eq!(good.address.as_deref(), Some("[2001:db8::20]:8443"));
        assert!(!format!("{:?}", check(change(r#"{"kind":"other","secret":"s3cret"}"#)).unwrap()).contains("s3cret"));
    }

    #[tokio::test]
    async fn a_credential_is_the_agents_only_and_goes_when_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("secrets")).unwrap();
        let safe = Safe::of(dir.path());
        assert_eq!(safe.found(), None);
        safe.keep(&Hidden::new("s3cret"), None).await.unwrap();
        assert_eq!(safe.found(), Some(KeyStorage::StatePartition));
        let mode = fs::metadata(dir.path().join("secrets").join(PLAIN)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        safe.forget().unwrap();
        safe.forget().unwrap();
        assert_eq!(safe.found(), None);
    }
}
