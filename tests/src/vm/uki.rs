//! The parts of a unified kernel image: a PE file whose sections are kernel, initrd and command line (UAPI.5 Unified Kernel Image). Only what
//! starting it without firmware needs.

/// Contents of a section; `None` when there is none of that name.
pub(super) fn section<'a>(pe: &'a [u8], name: &str) -> Option<&'a [u8]> {
    // PE/COFF: the offset of "PE\0\0" is at 0x3c; the COFF header follows, then the optional header, then 40 bytes for each section.
    let header = usize::try_from(u32_at(pe, 0x3c)?).ok()?;
    if pe.get(header..header + 4)? != b"PE\0\0" {
        return None;
    }
    let sections = usize::from(u16_at(pe, header + 6)?);
    let optional = usize::from(u16_at(pe, header + 20)?);
    let table = header + 24 + optional;
    (0..sections).find_map(|index| {
        let entry = pe.get(table + index * 40..table + (index + 1) * 40)?;
        let label = entry.get(..8)?.split(|byte| *byte == 0).next()?;
        if label != name.as_bytes() {
            return None;
        }
        let size = usize::try_from(u32_at(entry, 8)?.min(u32_at(entry, 16)?)).ok()?;
        let start = usize::try_from(u32_at(entry, 20)?).ok()?;
        pe.get(start..start + size)
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_section_and_survives_what_is_no_pe() {
        let mut pe = vec![0; 0x40];
        pe[0x3c] = 0x40;
        pe.extend_from_slice(b"PE\0\0");
        pe.extend_from_slice(&[0x64, 0x86, 1, 0]);
        pe.resize(0x40 + 20, 0);
        pe.extend_from_slice(&[0, 0, 0, 0]);
        let mut entry = b".cmdline".to_vec();
        for number in [5_u32, 0, 512, 200] {
            entry.extend_from_slice(&number.to_le_bytes());
        }
        entry.resize(40, 0);
        pe.extend_from_slice(&entry);
        pe.resize(200, 0);
        pe.extend_from_slice(b"quiet");
        pe.resize(712, 0);
        assert_eq!(section(&pe, ".cmdline"), Some(b"quiet".as_slice()));
        assert_eq!(section(&pe, ".linux"), None);
        for length in 0..pe.len() {
            let _no_panic = section(&pe[..length], ".cmdline");
        }
    }
}
