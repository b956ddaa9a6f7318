//! Small files that survive a power cut: temporary file, fsync, rename, fsync of the directory. Reading is bounded.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::CaError;

/// Largest file that is read, bytes; a PEM of an RSA 4096 key has 3.3 KB.
const FILE_LIMIT: u64 = 64 << 10;

/// Who may read a file that is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Access {
    /// Mode 0600.
    OwnerOnly,
    /// Mode 0644.
    Everybody,
}

/// The text of `path`; `None` when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, CaError> {
    let failed = |reason| CaError::Read { path: path.to_owned(), reason };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(FILE_LIMIT).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Puts `bytes` at `path`, whole or not at all.
pub(super) fn replace(path: &Path, bytes: &[u8], access: Access) -> Result<(), CaError> {
    write(path, bytes, access).map_err(|reason| CaError::Write { path: path.to_owned(), reason })
}

fn write(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let temporary = path.with_extension("new");
    // Left over from a cut; `create_new` below makes sure that nobody else's file or link is written through.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = match access {
        Access::OwnerOnly => 0o600,
        Access::Everybody => 0o644,
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
