//! Who this box is: a P-256 key made on its first start, the certificate it signed for itself, and the id that follows from the key.
//!
//! The private key stays in `<state>/secrets`: sealed to the TPM where there is one, else readable to the agent only. What is broken is moved
//! aside, never deleted, and replaced, so that the box comes up; the sentence says that whoever trusted the old certificate must look again.

use std::fmt::{self, Write as _};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SigningKey as _,
    date_time_ymd,
};
use sha2::{Digest as _, Sha256};
use tbi_api::health::State;
use tbi_api::node::{Identity, KeyStorage};
use tbi_daemon::{Access, replace_file};
use tbi_ledger::{SignError, Signer};
use x509_parser::pem::parse_x509_pem;

use super::sealing::{SealError, Sealer};

const KEY: &str = "node.key";
const SEALED: &str = "node.key.sealed";
const CERTIFICATE: &str = "node.crt";

/// The identity, and what is wrong with it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) identity: Identity,
    /// What signs receipts and checkpoints of the audit chain.
    pub(crate) key: Arc<NodeKey>,
    pub(crate) trouble: Option<(State, String)>,
}

/// The box's key at work. It signs and is never shown.
pub(crate) struct NodeKey {
    pair: KeyPair,
    public: Vec<u8>,
}

impl NodeKey {
    fn new(pair: KeyPair) -> Self {
        Self { public: pair.subject_public_key_info(), pair }
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").finish_non_exhaustive()
    }
}

impl Signer for NodeKey {
    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.pair.sign(message).map_err(|error| SignError(error.to_string()))
    }
}

/// No key can be made; only a broken random source does that.
#[derive(Debug, thiserror::Error)]
#[error("no identity can be made ({0}); restart, and if it stays so, the machine's random source is broken")]
pub(crate) struct IdentityError(#[from] rcgen::Error);

/// What is on disk.
enum Kept {
    Key(KeyPair, KeyStorage),
    Nothing,
    /// Moved aside or about to be; why.
    Broken {
        file: &'static str,
        why: String,
    },
    /// May be readable another time: left alone.
    OutOfReach(String),
}

/// Loads the identity or makes it.
///
/// # Errors
/// [`IdentityError`]; a disk or a TPM that does not work is no error but a sentence.
pub(crate) async fn load(state: &Path, sealer: Option<&Sealer>, now: Timestamp) -> Result<Node, IdentityError> {
    let secrets = state.join("secrets");
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&secrets);
    let mut trouble = None;
    let (key, storage) = match kept(&secrets, sealer).await {
        Kept::Key(key, storage) => (key, storage),
        Kept::Nothing => {
            // Without a certificate it is the first start; with one, somebody removed the key.
            if secrets.join(CERTIFICATE).exists() {
                trouble = Some((State::Degraded, lost("it was missing")));
            }
            fresh(&secrets, sealer, &mut trouble).await?
        }
        Kept::Broken { file, why } => {
            let aside = move_aside(&secrets.join(file), now);
            trouble = Some((State::Degraded, lost(&format!("{why}; it was kept as {}", aside.display()))));
            fresh(&secrets, sealer, &mut trouble).await?
        }
        Kept::OutOfReach(why) => {
            trouble = Some((
                State::Failed,
                format!(
                    "The box's key cannot be unsealed now ({why}); a key for this start only is used: check the TPM and restart."
                ),
            ));
            (KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?, KeyStorage::ThisStartOnly)
        }
    };
    if let Err(error) = made {
        tracing::warn!(%error, directory = %secrets.display(), "no directory for secrets");
    }
    let identity = certified(&secrets, &key, storage, &mut trouble)?;
    Ok(Node { identity, key: Arc::new(NodeKey::new(key)), trouble })
}

/// What is to be done comes first: a small screen cuts long sentences at their end.
fn lost(why: &str) -> String {
    format!(
        "The box has a new key: compare the new certificate fingerprint where the old one was trusted. The old key could not be used ({why})."
    )
}

async fn kept(secrets: &Path, sealer: Option<&Sealer>) -> Kept {
    let sealed = secrets.join(SEALED);
    if sealed.exists() {
        let broken = |why: String| Kept::Broken { file: SEALED, why };
        let Some(sealer) = sealer else { return broken("it is sealed to a TPM that is not there any more".to_owned()) };
        let blob = match fs::read(&sealed) {
            Ok(blob) => blob,
            Err(error) => return Kept::OutOfReach(error.to_string()),
        };
        return match sealer.unseal(&blob).await {
            Ok(pem) => parsed(&pem).map_or_else(broken, |key| Kept::Key(key, KeyStorage::SealedToTpm)),
            Err(SealError::Rejected(why)) => match sealer.try_out().await {
                Ok(()) => broken(format!(
                    "this machine's TPM works but cannot open it: the disk comes from another machine, or the TPM was cleared; {why}"
                )),
                Err(error) => Kept::OutOfReach(format!("{why}; {error}")),
            },
            Err(SealError::Unavailable(why)) => Kept::OutOfReach(why),
        };
    }
    match fs::read(secrets.join(KEY)) {
        // A key that was made without a TPM stays where it is: what was once on the disk in clear cannot be taken back.
        Ok(pem) => parsed(&pem)
            .map_or_else(|why| Kept::Broken { file: KEY, why }, |key| Kept::Key(key, KeyStorage::StatePartition)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept::Nothing,
        Err(error) => Kept::Broken { file: KEY, why: error.to_string() },
    }
}

fn parsed(pem: &[u8]) -> Result<KeyPair, String> {
    let text = std::str::from_utf8(pem).map_err(|_| "it is no text".to_owned())?;
    let key = KeyPair::from_pkcs8_pem_and_sign_algo(text, &PKCS_ECDSA_P256_SHA256);
    key.map_err(|error| format!("it cannot be read: {error}"))
}

async fn fresh(
    secrets: &Path,
    sealer: Option<&Sealer>,
    trouble: &mut Option<(State, String)>,
) -> Result<(KeyPair, KeyStorage), IdentityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let pem = key.serialize_pem();
    let (file, bytes, storage) = match sealer {
        None => (KEY, pem.into_bytes(), KeyStorage::StatePartition),
        Some(sealer) => match sealer.seal(pem.as_bytes()).await {
            Ok(blob) => (SEALED, blob, KeyStorage::SealedToTpm),
            Err(error) => {
                let sentence = format!(
                    "There is a TPM, but the box's key could not be sealed to it ({error}), so it is on the state partition without \
                     hardware protection: check the TPM in the firmware's settings."
                );
                add(trouble, State::Degraded, sentence);
                (KEY, pem.into_bytes(), KeyStorage::StatePartition)
            }
        },
    };
    match replace_file(&secrets.join(file), &bytes, Access::Owner) {
        Ok(()) => Ok((key, storage)),
        Err(error) => {
            add(trouble, State::Failed, format!("The box has an identity for this start only: {error}."));
            Ok((key, KeyStorage::ThisStartOnly))
        }
    }
}

fn add(trouble: &mut Option<(State, String)>, state: State, sentence: String) {
    *trouble = Some(match trouble.take() {
        None => (state, sentence),
        Some((before, text)) => (before.max(state), format!("{text} {sentence}")),
    });
}

/// The certificate on disk when it is this key's, else a new one.
fn certified(
    secrets: &Path,
    key: &KeyPair,
    storage: KeyStorage,
    trouble: &mut Option<(State, String)>,
) -> Result<Identity, IdentityError> {
    let spki = key.subject_public_key_info();
    let node_id = hex(&Sha256::digest(&spki), "").chars().take(32).collect::<String>();
    let path = secrets.join(CERTIFICATE);
    let found = fs::read_to_string(&path).ok().and_then(|pem| of_key(&pem, &spki).map(|der| (pem, der)));
    let (certificate_pem, der) = match found {
        Some(found) => found,
        None => {
            let certificate = certificate(key, &node_id)?;
            // A key for this start only must not push the certificate of the real one away.
            if storage != KeyStorage::ThisStartOnly
                && let Err(error) = replace_file(&path, certificate.pem().as_bytes(), Access::Everybody)
            {
                add(trouble, State::Degraded, format!("The box's certificate is for this start only: {error}."));
            }
            (certificate.pem(), certificate.der().to_vec())
        }
    };
    Ok(Identity { node_id, certificate_pem, certificate_sha256: hex(&Sha256::digest(&der), ":"), key_storage: storage })
}

fn of_key(pem: &str, spki: &[u8]) -> Option<Vec<u8>> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    (certificate.public_key().raw == spki).then(|| pem.contents.clone())
}

fn certificate(key: &KeyPair, node_id: &str) -> Result<rcgen::Certificate, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("tbi-{node_id}"));
    // Made on a first start, when the clock may be anything, and pinned by its fingerprint: it neither begins nor ends (RFC 5280 section
    // 4.1.2.5: 99991231235959Z for "no well-defined expiration").
    params.not_before = date_time_ymd(2000, 1, 1);
    let last_day = date_time_ymd(9999, 12, 31);
    let last_second =
        last_day.replace_hour(23).and_then(|it| it.replace_minute(59)).and_then(|it| it.replace_second(59));
    params.not_after = last_second.unwrap_or(last_day);
    params.self_signed(key)
}

fn move_aside(path: &Path, now: Timestamp) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".broken-{}", now.strftime("%Y%m%dT%H%M%SZ")));
    let to = path.with_file_name(name);
    // Where it cannot be moved, it cannot be replaced either, and that is said.
    let _said_later = fs::rename(path, &to);
    to
}

fn hex(bytes: &[u8], between: &str) -> String {
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{}{byte:02x}", if index == 0 { "" } else { between });
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::sealing::BY_TPM;
    use super::*;

    fn now() -> Timestamp {
        "2026-01-31T23:59:59Z".parse().unwrap()
    }

    /// A stand-in for `systemd-creds` that only its own output opens.
    fn sealer(dir: &Path, script: &str) -> Sealer {
        let program = dir.join("creds");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Sealer::with_program(program)
    }

    /// Seals for one TPM, named `here`.
    fn works(here: &str) -> String {
        format!(
            "case $1 in encrypt) echo {BY_TPM}{here}; base64;; decrypt) read -r word; [ \"$word\" = {BY_TPM}{here} ] || {{ echo 'not sealed here' >&2; exit 1; }}; base64 -d;; esac"
        )
    }

    #[tokio::test]
    async fn a_box_stays_who_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = load(dir.path(), None, now()).await.unwrap();
        assert_eq!(first.trouble, None);
        assert_eq!(first.identity.key_storage, KeyStorage::StatePartition);
        assert_eq!((first.identity.node_id.len(), first.identity.certificate_sha256.len()), (32, 95));
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("secrets"), mode("secrets/node.key")), (0o700, 0o600));
        let again = load(dir.path(), None, now()).await.unwrap();
        assert_eq!((again.identity, again.trouble), (first.identity, None));
    }

    #[tokio::test]
    async fn with_a_tpm_only_the_sealed_key_is_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let sealer = sealer(dir.path(), &works("here"));
        let first = load(dir.path(), Some(&sealer), now()).await.unwrap();
        assert_eq!((first.identity.key_storage, first.trouble), (KeyStorage::SealedToTpm, None));
        assert!(!dir.path().join("secrets/node.key").exists());
        for name in fs::read_dir(dir.path().join("secrets")).unwrap() {
            let text = fs::read_to_string(name.unwrap().path()).unwrap();
            assert!(!text.contains("PRIVATE KEY"), "{text}");
        }
        let again = load(dir.path(), Some(&sealer), now()).await.unwrap();
        assert_eq!((again.identity, again.trouble), (first.identity.clone(), None));

        fs::write(dir.path().join("secrets/node.key.sealed"), "garbage").unwrap();
        let other = load(dir.path(), Some(&sealer), now()).await.unwrap();
        assert_ne!(other.identity.node_id, first.identity.node_id);
        let (state, sentence) = other.trouble.unwrap();
        assert!(
            state == State::Degraded && sentence.contains("not sealed here") && sentence.contains("fingerprint"),
            "{sentence}"
        );
        assert_eq!(
            fs::read_to_string(dir.path().join("secrets/node.key.sealed.broken-20260131T235959Z")).unwrap(),
            "garbage"
        );

        let without = load(dir.path(), None, now()).await.unwrap();
        assert!(without.trouble.unwrap().1.contains("TPM that is not there any more"));
    }

    #[tokio::test]
    async fn a_sealer_that_does_not_work_costs_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let sealing = sealer(dir.path(), &works("here"));
        let first = load(dir.path(), Some(&sealing), now()).await.unwrap();
        let gone = Sealer::with_program(dir.path().join("nothing"));
        let now_and_then = load(dir.path(), Some(&gone), now()).await.unwrap();
        assert_eq!(now_and_then.identity.key_storage, KeyStorage::ThisStartOnly);
        assert_eq!(now_and_then.trouble.unwrap().0, State::Failed);
        let again = load(dir.path(), Some(&sealing), now()).await.unwrap();
        assert_eq!(again.identity, first.identity, "neither key nor certificate was touched");

        let fresh = tempfile::tempdir().unwrap();
        let refuses = sealer(dir.path(), "echo 'TPM is locked out' >&2; exit 1");
        let unsealed = load(fresh.path(), Some(&refuses), now()).await.unwrap();
        assert_eq!(unsealed.identity.key_storage, KeyStorage::StatePartition);
        assert!(unsealed.trouble.unwrap().1.contains("TPM is locked out"));

        let locked = load(dir.path(), Some(&refuses), now()).await.unwrap();
        assert_eq!(
            locked.identity.key_storage,
            KeyStorage::ThisStartOnly,
            "a TPM that opens nothing says nothing about the key"
        );
        assert_eq!(locked.trouble.unwrap().0, State::Failed);
        let again = load(dir.path(), Some(&sealer(dir.path(), &works("here"))), now()).await.unwrap();
        assert_eq!(again.identity, first.identity, "the key was not moved aside");
    }

    #[tokio::test]
    async fn another_machines_tpm_makes_another_box_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let first = load(dir.path(), Some(&sealer(dir.path(), &works("here"))), now()).await.unwrap();
        let elsewhere = sealer(dir.path(), &works("elsewhere"));
        let moved = load(dir.path(), Some(&elsewhere), now()).await.unwrap();
        assert_ne!(moved.identity.node_id, first.identity.node_id);
        assert_eq!(moved.identity.key_storage, KeyStorage::SealedToTpm);
        let (state, sentence) = moved.trouble.unwrap();
        assert!(state == State::Degraded && sentence.contains("the disk comes from another machine"), "{sentence}");
        let again = load(dir.path(), Some(&elsewhere), now()).await.unwrap();
        assert_eq!((again.identity, again.trouble), (moved.identity, None));
    }

    #[tokio::test]
    async fn a_key_sealed_without_the_tpm_is_not_called_sealed() {
        let dir = tempfile::tempdir().unwrap();
        // What systemd-creds falls back to: the key on the disk (CRED_AES256_GCM_BY_HOST_SCOPED).
        let fallen_back = sealer(dir.path(), "echo VbntHThZTUOoMZ0uuzMqxg; base64");
        let node = load(dir.path(), Some(&fallen_back), now()).await.unwrap();
        assert_eq!(node.identity.key_storage, KeyStorage::StatePartition);
        let (state, sentence) = node.trouble.unwrap();
        assert!(state == State::Degraded && sentence.contains("the TPM was not used"), "{sentence}");
    }

    #[tokio::test]
    async fn a_broken_key_is_moved_aside_and_a_missing_one_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let first = load(dir.path(), None, now()).await.unwrap();
        let key = dir.path().join("secrets/node.key");
        fs::write(&key, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        let second = load(dir.path(), None, now()).await.unwrap();
        assert_ne!(second.identity.certificate_sha256, first.identity.certificate_sha256);
        assert!(dir.path().join("secrets/node.key.broken-20260131T235959Z").exists());
        assert!(second.trouble.unwrap().1.contains("has a new key"));
        fs::remove_file(&key).unwrap();
        assert!(load(dir.path(), None, now()).await.unwrap().trouble.unwrap().1.contains("it was missing"));
        assert_eq!(load(dir.path(), None, now()).await.unwrap().trouble, None);
    }

    #[tokio::test]
    async fn a_full_or_read_only_state_partition_gives_an_identity_for_this_start() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let node = load(&dir.path().join("file/state"), None, now()).await.unwrap();
        assert_eq!(node.identity.key_storage, KeyStorage::ThisStartOnly);
        let (state, sentence) = node.trouble.unwrap();
        assert!(state == State::Failed && sentence.contains("this start only"), "{sentence}");
    }
}
