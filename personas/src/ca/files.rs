//! Small files, read up to a bound.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::CaError;

/// Largest file that is read, bytes; a PEM of an RSA 4096 key has 3.3 KB.
const FILE_LIMIT: u64 = 64 << 10;

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
