//! The keys that sign cookies: kept in a file under the door's state directory, so that sessions survive a restart of the door.
//!
//! A new key is made every 90 days; older ones still verify for as long as what they signed may live. A file that others could read, or that
//! is damaged, is replaced: its sessions end, which is better than trusting it. A disk that cannot be written costs sessions at the next
//! restart, not the door.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use data_encoding::BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tbi_api::access::Hidden;
use tbi_daemon::replace_file;

use super::clock::between;

const FILE: &str = "cookies.keys";
/// Largest file that is read, bytes; four keys take less than one thousand.
const LARGEST: u64 = 16 << 10;
const DAY: Duration = Duration::from_secs(86_400);
/// A key signs for so long.
const SIGNS: Duration = DAY.saturating_mul(90);
/// And is trusted for so long: what it signed last, a device's cookie, lives for 180 days more.
const VERIFIES: Duration = DAY.saturating_mul(270);
/// Keys kept at most, whatever the clock did.
const MOST: usize = 4;

/// What a signature is for; one for another purpose is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Session,
    Csrf,
    Device,
}

impl Purpose {
    fn tag(self) -> &'static [u8] {
        match self {
            Self::Session => b"tbi-session-v1\0",
            Self::Csrf => b"tbi-csrf-v1\0",
            Self::Device => b"tbi-device-v1\0",
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// Newest first.
    keys: Vec<StoredKey>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    made: Timestamp,
    /// 32 bytes, base64.
    secret: Hidden,
}

struct Key {
    stored: StoredKey,
    hmac: hmac::Key,
}

/// Signs and verifies.
pub(crate) struct Keys {
    file: PathBuf,
    /// Newest first; never empty.
    ring: RwLock<Vec<Key>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Keys").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Keys {
    /// Takes the keys under `state`, or makes the first one. Blocks on the disk.
    ///
    /// # Errors
    /// Only when the system gives no randomness.
    pub(crate) fn open(state: &Path, now: Timestamp) -> Result<Self, Unspecified> {
        let file = state.join(FILE);
        let ring = match read(&file) {
            Ok(ring) => ring,
            Err(reason) => {
                if let Some(reason) = reason {
                    tracing::warn!(file = %file.display(), %reason, "the cookie keys are replaced; everybody has to log in again");
                }
                Vec::new()
            }
        };
        let keys = Self { file, ring: RwLock::new(ring) };
        keys.renew_when_due(now)?;
        Ok(keys)
    }

    /// Whether a new key should be made.
    pub(crate) fn due(&self, now: Timestamp) -> bool {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        ring.first().is_none_or(|newest| between(newest.stored.made, now) >= SIGNS)
    }

    /// Makes a new key when it is time. Blocks on the disk then.
    pub(crate) fn renew_when_due(&self, now: Timestamp) -> Result<(), Unspecified> {
        if !self.due(now) {
            return Ok(());
        }
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret)?;
        let stored = StoredKey { made: now, secret: Hidden::new(BASE64.encode(&secret)) };
        let text = {
            let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
            ring.insert(0, Key { stored, hmac: hmac::Key::new(hmac::HMAC_SHA256, &secret) });
            ring.retain(|key| between(key.stored.made, now) < VERIFIES);
            ring.truncate(MOST);
            serde_json::to_vec(&Stored { keys: ring.iter().map(|key| key.stored.clone()).collect() })
        };
        let written = text.map_err(|error| error.to_string()).and_then(|text| {
            replace_file(&self.file, &text, tbi_daemon::Access::Owner).map_err(|error| error.to_string())
        });
        if let Err(reason) = written {
            tracing::error!(%reason, "the cookie keys could not be kept; sessions will end when the door is restarted");
        }
        Ok(())
    }

    /// Signs with the newest key.
    pub(crate) fn sign(&self, purpose: Purpose, data: &[u8]) -> [u8; 32] {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let mut tag = [0; 32];
        if let Some(newest) = ring.first() {
            tag.copy_from_slice(hmac::sign(&newest.hmac, &message(purpose, data)).as_ref());
        }
        tag
    }

    /// Whether one of the keys signed it; compares in constant time.
    pub(crate) fn verify(&self, purpose: Purpose, data: &[u8], tag: &[u8]) -> bool {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let message = message(purpose, data);
        ring.iter().any(|key| hmac::verify(&key.hmac, &message, tag).is_ok())
    }
}

fn message(purpose: Purpose, data: &[u8]) -> Vec<u8> {
    [purpose.tag(), data].concat()
}

/// `Err(None)`: there is no file yet.
fn read(file: &Path) -> Result<Vec<Key>, Option<String>> {
    let metadata = match fs::symlink_metadata(file) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(None),
        Err(error) => return Err(Some(error.to_string())),
    };
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(Some("it is no regular file of a sensible size".to_owned()));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(Some("others could read it".to_owned()));
    }
    let text = fs::read(file).map_err(|error| Some(error.to_string()))?;
    // The parser's words could quote a key.
    let stored: Stored = serde_json::from_slice(&text).map_err(|_error| Some("it is damaged".to_owned()))?;
    let key = |stored: StoredKey| {
        let secret = BASE64.decode(stored.secret.reveal().as_bytes()).ok().filter(|secret| secret.len() == 32)?;
        Some(Key { stored, hmac: hmac::Key::new(hmac::HMAC_SHA256, &secret) })
    };
    let ring: Option<Vec<Key>> = stored.keys.into_iter().take(MOST).map(key).collect();
    ring.ok_or_else(|| Some("it is damaged".to_owned()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn time(days: u64) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + DAY * u32::try_from(days).unwrap()
    }

    #[test]
    fn what_was_signed_is_verified_after_a_restart_and_for_its_purpose_only() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path(), time(0)).unwrap();
        let tag = keys.sign(Purpose::Session, b"a");
        let restarted = Keys::open(dir.path(), time(1)).unwrap();
        assert!(restarted.verify(Purpose::Session, b"a", &tag));
        assert!(!restarted.verify(Purpose::Csrf, b"a", &tag));
        assert!(!restarted.verify(Purpose::Session, b"b", &tag));
        assert!(!restarted.verify(Purpose::Session, b"a", &tag[..31]));
        assert_eq!(fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn keys_are_renewed_with_overlap_and_do_not_pile_up() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path(), time(0)).unwrap();
        let first = keys.sign(Purpose::Device, b"a");
        keys.renew_when_due(time(89)).unwrap();
        assert_eq!(keys.sign(Purpose::Device, b"a"), first);
        keys.renew_when_due(time(90)).unwrap();
        assert_ne!(keys.sign(Purpose::Device, b"a"), first);
        assert!(Keys::open(dir.path(), time(90)).unwrap().verify(Purpose::Device, b"a", &first));
        for renewal in 2..20 {
            keys.renew_when_due(time(90 * renewal)).unwrap();
        }
        assert!(!keys.verify(Purpose::Device, b"a", &first));
        assert!(keys.ring.read().unwrap().len() <= MOST);
        // A clock set back makes no new keys.
        let newest = keys.sign(Purpose::Device, b"a");
        keys.renew_when_due(time(0)).unwrap();
        assert_eq!(keys.sign(Purpose::Device, b"a"), newest);
    }

    #[test]
    fn a_damaged_file_and_one_that_others_read_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let tag = Keys::open(dir.path(), time(0)).unwrap().sign(Purpose::Session, b"a");
        let file = dir.path().join(FILE);
        let good = fs::read(&file).unwrap();
        for (bytes, mode) in
            [(&good[..], 0o644), (&good[..good.len() - 1], 0o600), (b"", 0o600), (b"{\"keys\":[{}]}", 0o600)]
        {
            fs::write(&file, bytes).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let keys = Keys::open(dir.path(), time(0)).unwrap();
            assert!(!keys.verify(Purpose::Session, b"a", &tag));
            assert!(keys.verify(Purpose::Session, b"a", &keys.sign(Purpose::Session, b"a")));
        }
    }

    #[test]
    fn a_state_directory_that_cannot_be_written_does_not_stop_the_door() {
        let keys = Keys::open(Path::new("/dev/null/no-directory"), time(0)).unwrap();
        assert!(keys.verify(Purpose::Session, b"a", &keys.sign(Purpose::Session, b"a")));
    }

    #[test]
    fn keys_are_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path(), time(0)).unwrap();
        let secret = keys.ring.read().unwrap()[0].stored.secret.reveal().to_owned();
        assert!(!format!("{keys:?} {:?}", keys.ring.read().unwrap()[0].stored).contains(&secret));
    }
}
