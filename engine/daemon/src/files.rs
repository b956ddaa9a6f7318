//! Files that survive a power cut: temporary file beside the target, fsync, rename, fsync of the directory. Whoever reads the path finds the
//! old text or the new one, whole. It does not lock; one writer per path is the caller's business.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Who may read a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Its owner only (0600): keys.
    Owner,
    /// Owner and group (0640).
    Group,
    /// Everybody (0644).
    Everybody,
}

impl Access {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Group => 0o640,
            Self::Everybody => 0o644,
        }
    }
}

/// A file could not be replaced; the old one, if any, is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// No room.
    #[error("cannot write {}: the disk is full; free some space and try again", .path.display())]
    Full {
        /// Which file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot write {}: {source}; check that its directory exists and is writable", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// Replaces `path` with `bytes`. Never open to more than `access`, not even for a moment.
///
/// # Errors
/// [`ReplaceError`].
pub fn replace_file(path: &Path, bytes: &[u8], access: Access) -> Result<(), ReplaceError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let temporary = path.with_file_name(name);
    let written = (|| {
        // What a killed writer left may have another mode.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(access.mode()).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(access.mode()))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()
    })();
    written.map_err(|source| {
        let _best_effort = fs::remove_file(&temporary);
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ReplaceError::Full { path },
            _ => ReplaceError::Io { path, source },
        }
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        fs::write(dir.path().join("a.key.part"), "of a writer that was killed").unwrap();
        for (bytes, access, mode) in [("one", Access::Everybody, 0o644), ("two", Access::Owner, 0o600)] {
            replace_file(&path, bytes.as_bytes(), access).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), bytes);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let refused =
            replace_file(&dir.path().join("file/settings.json"), b"x", Access::Group).unwrap_err().to_string();
        assert!(refused.contains("file/settings.json") && refused.contains("writable"), "{refused}");
    }
}
