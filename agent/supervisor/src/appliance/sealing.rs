//! Secrets sealed to the machine's TPM 2.0, by `systemd-creds`: the program that the rest of the system uses for it, run as a child, so that
//! no TPM stack is linked into the agent. It keeps nothing; what comes out of it is only readable on this machine.
//!
//! Run by a user that is not root it asks its own service (`systemd-creds@.service`), which opens the TPM. Such a user needs nobody's leave for
//! secrets in its own name (`--user`); for the system's it would, and the choice of a key is not handed on (systemd 257). So what came back
//! is looked at: where its TPM does not work, the service seals with a key on the disk, and says so to nobody.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::sysfs::Root;

/// A TPM needs a second or two; one that is locked or busy must not hold up the start for longer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bound into the sealed secret, so that one secret cannot be put in another's place.
const NAME: &str = "--name=tbi-node-key";
/// How everything begins that needs the TPM to be opened: `CRED_AES256_GCM_BY_HOST_AND_TPM2_HMAC_SCOPED` (systemd 257,
/// `src/shared/creds-util.h`), all but its last byte, in base64.
pub(super) const BY_TPM: &str = "70rBNnmpSA6n22iJf58W";

/// Seals and unseals.
#[derive(Debug, Clone)]
pub(crate) struct Sealer {
    program: PathBuf,
    name: &'static str,
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// The sealer itself does not work; the same secret may open another time.
    #[error("{0}")]
    Unavailable(String),
    /// The sealer works and says no.
    #[error("{0}")]
    Rejected(String),
}

impl Sealer {
    /// The machine's, when it has a TPM 2.0 that the kernel hands out.
    pub(crate) fn of_machine(root: &Root) -> Option<Self> {
        // Not its node in /dev, which the agent does not see.
        let two = root.text("sys/class/tpm/tpm0/tpm_version_major").is_some_and(|version| version == "2");
        (two && root.exists("sys/class/tpmrm/tpmrm0")).then(|| Self::with_program("systemd-creds"))
    }

    pub(crate) fn with_program(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), name: NAME }
    }

    /// The same for another secret than the box's key: `--name=` and what is bound into it.
    pub(crate) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// # Errors
    /// [`SealError`].
    pub(crate) async fn seal(&self, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        // Bound to no PCR (systemd-creds@.service.d/10-tbi.conf): a firmware or release update must not take the box's identity away. It
        // protects the key of a disk that was taken out, not of a box that was taken over.
        let sealed = self.run(&["encrypt", "--user", self.name, "-", "-"], secret).await?;
        if sealed.starts_with(BY_TPM.as_bytes()) {
            return Ok(sealed);
        }
        Err(SealError::Unavailable(format!("{}: the TPM was not used", self.program.display())))
    }

    /// # Errors
    /// [`SealError`].
    pub(crate) async fn unseal(&self, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.run(&["decrypt", "--user", self.name, "-", "-"], sealed).await
    }

    /// Whether a secret that is sealed now can be unsealed. A "no" does not say for how long: a TPM that fails and one that never saw the
    /// secret answer alike (`io.systemd.System`).
    ///
    /// # Errors
    /// [`SealError`].
    pub(crate) async fn try_out(&self) -> Result<(), SealError> {
        const TRIAL: &[u8] = b"trial";
        match self.unseal(&self.seal(TRIAL).await?).await? {
            opened if opened == TRIAL => Ok(()),
            _ => Err(SealError::Unavailable(format!("{}: another secret came back", self.program.display()))),
        }
    }

    async fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, SealError> {
        let unavailable = |what: String| SealError::Unavailable(format!("{}: {what}", self.program.display()));
        let mut child = Command::new(&self.program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| unavailable(error.to_string()))?;
        let mut stdin = child.stdin.take();
        let feeding = async move {
            if let Some(stdin) = &mut stdin {
                // A child that ends without reading says why on its standard error.
                let _heard = stdin.write_all(input).await;
            }
            drop(stdin);
        };
        let whole = async { tokio::join!(feeding, child.wait_with_output()).1 };
        let output = timeout(PATIENCE, whole)
            .await
            .map_err(|_| unavailable(format!("no answer within {} s", PATIENCE.as_secs())))?
            .map_err(|error| unavailable(error.to_string()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
        Err(SealError::Rejected(format!("{} ({}): {last}", self.program.display(), output.status)))
    }
}
