//! The slot for an operator's own ISP router: one squashfs file on the state partition (docs/isp.md). It comes in pieces over the API, is
//! bounded and checked before it is kept, and is taken by `run-tbi-router.mount` and `tbi-isp-own.service`; the agent never looks inside.
//!
//! ```text
//!  isp/incoming.part ──rename──▶ isp/SHA256.squashfs ◀──link, renamed into place── isp/root.squashfs
//! ```
//!
//! The link is the commit point: name, and so digest, and content are the old ones or the new ones, wherever power goes. What no link leads
//! to is removed with the next import and when the agent starts.

mod superblock;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use nix::sys::statvfs::statvfs;
use sha2::{Digest as _, Sha256};
use tbi_api::isp::Root;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};
use tokio::time::timeout;

pub(crate) use superblock::SuperblockError;
#[cfg(test)]
pub(super) use superblock::tests::squashfs;

/// VyOS's is some 500 MB; more than this is not a router.
const MOST: u64 = 2 << 30;
/// What must stay free: less than this and the box says that its state partition is full.
const SPARE: u64 = 256 << 20;
/// A sender that is silent for this long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Pieces that wait for the disk; a piece has some 16 KiB.
const WAITING: usize = 16;
/// Written to the disk this often, so that a large file does not pile up in memory that counts as the agent's.
const SYNC_EVERY: u64 = 64 << 20;
const LINK: &str = "root.squashfs";
const INCOMING: &str = "incoming.part";
const SUFFIX: &str = ".squashfs";

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    directory: PathBuf,
    /// Held by whoever writes the incoming file.
    turn: Arc<Mutex<()>>,
}

/// Nothing was imported or removed; what was in the slot is still there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SlotError {
    #[error("the request does not say how long the file is; send it with a Content-Length, as curl -T does")]
    NoLength,
    #[error("the file has {} MB, and a router's root file system at most {} MB; check that it is the right file", .0 >> 20, MOST >> 20)]
    TooLarge(u64),
    #[error(
        "the file has {} MB and {} MB must stay free, but the state partition has only {} MB left; delete old runs or use a larger disk",
        bytes >> 20, SPARE >> 20, free >> 20
    )]
    NoRoom { bytes: u64, free: u64 },
    #[error("another root file system is being imported; wait for its end and send this one again")]
    Busy,
    #[error(
        "the settings choose the operator's own ISP router, which runs from this file; set isp_router to frr with PUT /v1/settings first"
    )]
    InUse,
    #[error(transparent)]
    Superblock(#[from] SuperblockError),
    #[error("{came} of {announced} bytes came before the connection ended; send the file again")]
    Cut { announced: u64, came: u64 },
    #[error("nothing came for {} s; check the connection and send the file again", SILENCE.as_secs())]
    Silent,
    #[error("cannot write {} ({source}); check the disk, and restart the box if it stays so", path.display())]
    Disk { path: PathBuf, source: io::Error },
    #[error("the agent gave up half way; send the file again")]
    Lost,
}

/// A whole file that is not in the slot yet; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Received {
    path: PathBuf,
    sha256: String,
    _turn: OwnedMutexGuard<()>,
}

impl Drop for Received {
    fn drop(&mut self) {
        // After it was placed there is nothing of this name.
        let _gone = fs::remove_file(&self.path);
    }
}

impl Slot {
    /// The slot of the agent's state directory.
    pub(crate) fn of(state: &Path) -> Self {
        Self { directory: state.join("isp"), turn: Arc::default() }
    }

    /// Removes what an import that was cut off left. For the start, when nobody else is here.
    pub(crate) fn tidy(&self) {
        let _none = fs::remove_file(self.directory.join(INCOMING));
        self.remove_but(self.target().as_deref());
    }

    /// What is in it. Asks the disk.
    pub(crate) fn found(&self) -> Option<Root> {
        let target = self.target()?;
        let metadata = fs::metadata(self.directory.join(&target)).ok()?;
        let imported = Timestamp::try_from(metadata.modified().ok()?).ok()?;
        Some(Root {
            bytes: metadata.len(),
            sha256: target.strip_suffix(SUFFIX)?.to_owned(),
            imported: imported.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        })
    }

    /// Takes a file of `announced` bytes in; [`Self::place`] puts it into the slot.
    ///
    /// # Errors
    /// [`SlotError`].
    pub(crate) async fn receive<E>(
        &self,
        announced: Option<u64>,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Received, SlotError> {
        let announced = announced.ok_or(SlotError::NoLength)?;
        if announced > MOST {
            return Err(SlotError::TooLarge(announced));
        }
        let turn = Arc::clone(&self.turn).try_lock_owned().map_err(|_taken| SlotError::Busy)?;
        let mut received = Received { path: self.directory.join(INCOMING), sha256: String::new(), _turn: turn };
        let (sender, waiting) = mpsc::channel(WAITING);
        let path = received.path.clone();
        let writing = tokio::task::spawn_blocking(move || write(&path, announced, waiting));
        let sent = forward(pieces, sender, SILENCE).await;
        // The sender is gone, so this ends, whatever was sent. Its fault comes first: it is why nobody took more.
        let written = writing.await.map_err(|_panicked| SlotError::Lost)?;
        received.sha256 = match (written, sent) {
            (Err(SlotError::Cut { .. }), Err(silent)) => return Err(silent),
            (written, _) => written?,
        };
        Ok(received)
    }

    /// Puts a received file into the slot, and what was there away.
    ///
    /// # Errors
    /// [`SlotError::Disk`].
    pub(crate) fn place(&self, received: Received) -> Result<Root, SlotError> {
        let name = format!("{}{SUFFIX}", received.sha256);
        let link = self.directory.join(LINK);
        let next = self.directory.join("root.part");
        let placed = (|| {
            fs::rename(&received.path, self.directory.join(&name))?;
            match fs::remove_file(&next) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            symlink(&name, &next)?;
            fs::rename(&next, &link)?;
            File::open(&self.directory)?.sync_all()
        })();
        placed.map_err(|source| SlotError::Disk { path: link, source })?;
        self.remove_but(Some(&name));
        self.found().ok_or(SlotError::Lost)
    }

    /// Empties the slot.
    ///
    /// # Errors
    /// [`SlotError::Disk`].
    pub(crate) fn remove(&self) -> Result<(), SlotError> {
        let link = self.directory.join(LINK);
        match fs::remove_file(&link) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(SlotError::Disk { path: link, source }),
        }
        self.remove_but(None);
        Ok(())
    }

    /// Name of the file that the link leads to.
    fn target(&self) -> Option<String> {
        let target = fs::read_link(self.directory.join(LINK)).ok()?.into_os_string().into_string().ok()?;
        let digest = target.strip_suffix(SUFFIX)?;
        (digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(target)
    }

    /// Removes every file of a root file system but one.
    fn remove_but(&self, kept: Option<&str>) {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.ends_with(SUFFIX) && *name != LINK) else { continue };
            if kept != Some(name)
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::warn!(%error, name, "an old root file system stays");
            }
        }
    }
}

/// Hands pieces to the writer until there are no more or it takes no more.
async fn forward<E>(
    pieces: impl Stream<Item = Result<Bytes, E>>,
    sender: mpsc::Sender<Bytes>,
    silence: Duration,
) -> Result<(), SlotError> {
    let mut pieces = pin!(pieces);
    // A connection that ends early is seen by the writer, which counts.
    while let Some(Ok(piece)) = timeout(silence, pieces.next()).await.map_err(|_elapsed| SlotError::Silent)? {
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Writes and hashes what comes. On a thread of its own.
fn write(path: &Path, announced: u64, mut waiting: mpsc::Receiver<Bytes>) -> Result<String, SlotError> {
    let disk = |source| SlotError::Disk { path: path.to_owned(), source };
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(disk)?;
    let _none = fs::remove_file(path);
    let room = statvfs(directory).map_err(|errno| disk(errno.into()))?;
    let free = room.fragment_size().saturating_mul(room.blocks_available());
    if free < announced.saturating_add(SPARE) {
        return Err(SlotError::NoRoom { bytes: announced, free });
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path).map_err(disk)?;
    let mut hash = Sha256::new();
    let mut head = Vec::with_capacity(superblock::LENGTH);
    let (mut came, mut synced, mut checked) = (0_u64, 0_u64, false);
    while let Some(piece) = waiting.blocking_recv() {
        if !checked {
            head.extend(piece.iter().take(superblock::LENGTH - head.len()));
            if let Ok(head) = <&[u8; superblock::LENGTH]>::try_from(head.as_slice()) {
                superblock::check(head, announced)?;
                checked = true;
            }
        }
        came += piece.len() as u64;
        if came > announced {
            break;
        }
        hash.update(&piece);
        file.write_all(&piece).map_err(disk)?;
        if came - synced >= SYNC_EVERY {
            file.sync_data().map_err(disk)?;
            synced = came;
        }
    }
    if came != announced {
        return Err(SlotError::Cut { announced, came });
    }
    if !checked {
        return Err(SuperblockError::Magic.into());
    }
    file.sync_all().map_err(disk)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use futures_util::stream;

    use super::*;

    fn pieces(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, ()>> + use<> {
        let pieces: Vec<_> = bytes.chunks(50).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        stream::iter(pieces)
    }

    async fn import(slot: &Slot, bytes: &[u8], announced: u64) -> Result<Root, SlotError> {
        slot.place(slot.receive(Some(announced), pieces(bytes)).await?)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir.join("isp"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    #[tokio::test]
    async fn one_file_replaces_the_other_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Slot::of(dir.path());
        assert_eq!(slot.found(), None);
        let mut digests = Vec::new();
        for length in [4096, 8192, 8192] {
            let file = squashfs(length);
            let root = import(&slot, &file, length as u64).await.unwrap();
            let digest: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((root.bytes, &root.sha256), (length as u64, &digest));
            assert_eq!(fs::read(dir.path().join("isp/root.squashfs")).unwrap(), file);
            assert_eq!(slot.found(), Some(root));
            assert_eq!(names(dir.path()), [format!("{digest}.squashfs"), "root.squashfs".to_owned()]);
            digests.push(digest);
        }
        assert_eq!(digests[1], digests[2]);
        slot.remove().unwrap();
        slot.remove().unwrap();
        assert_eq!((slot.found(), names(dir.path()).len()), (None, 0));
    }

    #[tokio::test]
    async fn what_is_refused_leaves_the_old_one_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Slot::of(dir.path());
        let good = squashfs(4096);
        let root = import(&slot, &good, 4096).await.unwrap();
        let before = names(dir.path());
        let mut zip = good.clone();
        zip[..2].copy_from_slice(b"PK");
        let magic = SuperblockError::Magic.to_string();
        let cases = [
            (import(&slot, &zip, 4096).await, magic.as_str()),
            (import(&slot, &good[..60], 60).await, &magic),
            (import(&slot, &[], 0).await, &magic),
            (import(&slot, &good[..2000], 2000).await, "it was cut off, copy the whole file"),
            (import(&slot, &good[..2000], 4096).await, "2000 of 4096 bytes came"),
            (import(&slot, &squashfs(9000)[..], 8999).await, "it was cut off"),
            (import(&slot, &good, MOST + 1).await, "at most 2048 MB"),
            (slot.receive(None, pieces(&good)).await.map(|_| root.clone()), "Content-Length"),
        ];
        for (result, words) in cases {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert_eq!((slot.found().as_ref(), names(dir.path())), (Some(&root), before.clone()), "{words}");
        }
        let silent = stream::pending::<Result<Bytes, ()>>();
        let (sender, _waiting) = mpsc::channel(1);
        let error = forward(silent, sender, Duration::from_millis(1)).await.unwrap_err();
        assert!(matches!(error, SlotError::Silent), "{error}");
    }

    #[tokio::test]
    async fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Slot::of(dir.path());
        let first = slot.receive(Some(4096), pieces(&squashfs(4096))).await.unwrap();
        assert!(matches!(import(&slot, &squashfs(4096), 4096).await, Err(SlotError::Busy)));
        drop(first);
        assert_eq!(names(dir.path()).len(), 0);
        import(&slot, &squashfs(4096), 4096).await.unwrap();
    }

    #[tokio::test]
    async fn what_a_power_cut_leaves_goes_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Slot::of(dir.path());
        let root = import(&slot, &squashfs(4096), 4096).await.unwrap();
        let whole = names(dir.path());
        for left in ["incoming.part", &format!("{}.squashfs", "0".repeat(64))] {
            fs::write(dir.path().join("isp").join(left), "half").unwrap();
        }
        Slot::of(dir.path()).tidy();
        assert_eq!((slot.found(), names(dir.path())), (Some(root), whole));
    }
}
