//! Sections of a PE file: a unified kernel image keeps kernel, initrd and command line in them (UAPI group, UKI specification).
//! Read-only; every offset is checked against the bytes there are.

use std::ops::Range;

use anyhow::{Context, Result, bail};

use crate::image::disk::u32_at;

/// More sections than any UKI has.
const MOST_SECTIONS: u16 = 96;

/// Names and places of the sections.
pub(crate) fn sections(file: &[u8]) -> Result<Vec<(String, Range<usize>)>> {
    let header = u32_at(file, 0x3c).ok().and_then(|place| usize::try_from(place).ok()).context("it is too short")?;
    let at = |place: usize| header.checked_add(place).context("its header lies nowhere");
    if file.get(header..at(4)?) != Some(b"PE\0\0") {
        bail!("it is no PE file");
    }
    let half = |place: usize| -> Result<u16> {
        let word = file.get(at(place)?..).and_then(|rest| rest.first_chunk()).context("it is cut off")?;
        Ok(u16::from_le_bytes(*word))
    };
    let (count, optional) = (half(6)?, usize::from(half(20)?));
    if count > MOST_SECTIONS {
        bail!("it has {count} sections");
    }
    (0..usize::from(count))
        .map(|number| {
            let place = at(24 + optional + number * 40)?;
            let entry = file.get(place..).and_then(|rest| rest.get(..40)).context("its section table is cut off")?;
            let name = entry.get(..8).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
            // The size in memory is the size without padding.
            let (size, padded, start) = (u32_at(entry, 8)?, u32_at(entry, 16)?, u32_at(entry, 20)?);
            let start = usize::try_from(start)?;
            let end = start.checked_add(usize::try_from(size.min(padded))?).filter(|end| *end <= file.len());
            let end = end.context("a section lies outside it")?;
            Ok((String::from_utf8_lossy(name).into_owned(), start..end))
        })
        .collect()
}

/// One section's content.
pub(crate) fn section<'a>(file: &'a [u8], name: &str) -> Result<&'a [u8]> {
    let found = sections(file)?.into_iter().find(|(it, _)| it == name);
    let (_, range) = found.with_context(|| format!("it has no section {name}"))?;
    file.get(range).with_context(|| format!("section {name} is cut off"))
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// A PE file with the sections given.
    pub(crate) fn file(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; 0x40];
        bytes[0x3c] = 0x40;
        bytes.extend(b"PE\0\0");
        bytes.extend([0x64, 0x86]);
        bytes.extend(u16::try_from(sections.len()).unwrap().to_le_bytes());
        bytes.extend([0; 16]);
        let mut place = 0x40 + 24 + sections.len() * 40;
        for (name, content) in sections {
            let mut entry = [0; 40];
            entry[..name.len()].copy_from_slice(name.as_bytes());
            entry[8..12].copy_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
            entry[16..20].copy_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
            entry[20..24].copy_from_slice(&u32::try_from(place).unwrap().to_le_bytes());
            bytes.extend(entry);
            place += content.len();
        }
        for (_, content) in sections {
            bytes.extend(*content);
        }
        bytes
    }

    #[test]
    fn sections_are_found_by_name() {
        let uki = file(&[(".linux", b"kernel"), (".cmdline", b"quiet")]);
        assert_eq!(section(&uki, ".linux").unwrap(), b"kernel");
        assert_eq!(section(&uki, ".cmdline").unwrap(), b"quiet");
        assert!(section(&uki, ".initrd").unwrap_err().to_string().contains(".initrd"));
    }

    #[test]
    fn a_file_cut_off_anywhere_is_an_error_and_not_a_panic() {
        let uki = file(&[(".linux", b"kernel"), (".cmdline", b"quiet")]);
        for length in 0..uki.len() {
            assert!(section(&uki[..length], ".cmdline").is_err(), "cut at {length}");
        }
    }
}
