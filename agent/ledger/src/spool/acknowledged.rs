//! The file with the number through which the other side has confirmed, replaced whole.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::sync_dir;
use crate::bytes::{Encoding, to_hex};

fn line(through: u64) -> String {
    let sum = to_hex(&Encoding::of("tbi-tick-acknowledged-v1").number(through).hash().0[..8]);
    format!("v1 {through} {sum}\n")
}

pub(super) fn write(path: &Path, through: u64) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(line(through).as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// `None` when there is none that can be believed: what is sent again is rejected by its number on the other side.
pub(super) fn read(path: &Path) -> io::Result<Option<u64>> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(256).read_to_string(&mut text)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
        Ok(_) | Err(_) => {}
    }
    let through = text.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    if line(through) == text {
        return Ok(Some(through));
    }
    tracing::warn!(path = %path.display(), "the acknowledgement of the usage spool is damaged; ticks are sent again");
    Ok(None)
}
