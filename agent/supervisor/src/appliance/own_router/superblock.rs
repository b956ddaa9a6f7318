//! The first bytes of a squashfs file, as far as they tell whether the whole of it came and whether our kernel reads it. Pure. Whether what is
//! inside is a root file system shows when it is started.
//!
//! Layout: Documentation/filesystems/squashfs.rst and `struct squashfs_super_block` of fs/squashfs/squashfs_fs.h in the kernel.

/// Length of the superblock.
pub(super) const LENGTH: usize = 96;
/// `hsqs`; squashfs 4 is always little-endian.
const MAGIC: [u8; 4] = *b"hsqs";
/// Compressions by number. LZMA, number 2, is of old patches and in no kernel.
const COMPRESSIONS: [u16; 5] = [1, 3, 4, 5, 6];
/// `SQUASHFS_FILE_MAX_LOG`: 1 MiB.
const LARGEST_BLOCK_LOG: u16 = 20;
/// A page; the kernel refuses less.
const SMALLEST_BLOCK_LOG: u16 = 12;

/// What is wrong with the beginning of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SuperblockError {
    #[error(
        "the file is no squashfs; send the router's root file system as it is inside its installation image, for VyOS live/filesystem.squashfs"
    )]
    Magic,
    #[error("the file is squashfs {major}.{minor}, and only 4.0 can be mounted; make it again with mksquashfs 4")]
    Version { major: u16, minor: u16 },
    #[error(
        "the squashfs is compressed in a way (number {0}) that the kernel does not know; make it again with gzip, lzo, xz, lz4 or zstd"
    )]
    Compression(u16),
    #[error("the squashfs says impossible things about itself (block size {0}); copy the file again")]
    Block(u32),
    #[error("the squashfs has {wanted} bytes and the file only {found}; it was cut off, copy the whole file")]
    Cut { wanted: u64, found: u64 },
}

/// Checks the first [`LENGTH`] bytes of a file of `length` bytes.
///
/// # Errors
/// The first fault.
pub(super) fn check(head: &[u8; LENGTH], length: u64) -> Result<(), SuperblockError> {
    if head[..4] != MAGIC {
        return Err(SuperblockError::Magic);
    }
    let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
    let (major, minor) = (u16_at(28), u16_at(30));
    if (major, minor) != (4, 0) {
        return Err(SuperblockError::Version { major, minor });
    }
    let compression = u16_at(20);
    if !COMPRESSIONS.contains(&compression) {
        return Err(SuperblockError::Compression(compression));
    }
    let (block, log) = (u32_at(12), u16_at(22));
    if !(SMALLEST_BLOCK_LOG..=LARGEST_BLOCK_LOG).contains(&log) || block != 1 << log {
        return Err(SuperblockError::Block(block));
    }
    let wanted = u64::from(u32_at(40)) | u64::from(u32_at(44)) << 32;
    if wanted > length || wanted < LENGTH as u64 {
        return Err(SuperblockError::Cut { wanted, found: length });
    }
    Ok(())
}

#[cfg(test)]
pub(in crate::appliance) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// A file of `length` bytes whose beginning says that it is a squashfs of as many.
    pub(in crate::appliance) fn squashfs(length: usize) -> Vec<u8> {
        let mut file = vec![7; length];
        file[..4].copy_from_slice(&MAGIC);
        file[12..16].copy_from_slice(&(1_u32 << 17).to_le_bytes());
        file[20..22].copy_from_slice(&4_u16.to_le_bytes());
        file[22..24].copy_from_slice(&17_u16.to_le_bytes());
        file[28..32].copy_from_slice(&[4, 0, 0, 0]);
        file[40..48].copy_from_slice(&(length as u64).to_le_bytes());
        file
    }

    fn changed(at: usize, bytes: &[u8]) -> Result<(), SuperblockError> {
        let mut head: [u8; LENGTH] = squashfs(LENGTH).try_into().unwrap();
        head[at..at + bytes.len()].copy_from_slice(bytes);
        check(&head, 4096)
    }

    #[test]
    fn a_squashfs_and_what_pads_it_to_whole_pages() {
        assert_eq!(changed(40, &96_u64.to_le_bytes()), Ok(()));
        assert_eq!(changed(40, &4096_u64.to_le_bytes()), Ok(()));
    }

    #[test]
    fn each_fault_has_its_words() {
        let faults = [
            (changed(0, b"PK"), SuperblockError::Magic),
            // Big-endian, as version 3 could be.
            (changed(0, b"sqsh"), SuperblockError::Magic),
            (changed(28, &[3, 0, 1, 0]), SuperblockError::Version { major: 3, minor: 1 }),
            (changed(20, &[2, 0]), SuperblockError::Compression(2)),
            (changed(22, &[18, 0]), SuperblockError::Block(1 << 17)),
            (changed(22, &[40, 0]), SuperblockError::Block(1 << 17)),
            (changed(40, &4097_u64.to_le_bytes()), SuperblockError::Cut { wanted: 4097, found: 4096 }),
            (changed(40, &u64::MAX.to_le_bytes()), SuperblockError::Cut { wanted: u64::MAX, found: 4096 }),
            (changed(40, &0_u64.to_le_bytes()), SuperblockError::Cut { wanted: 0, found: 4096 }),
        ];
        for (found, expected) in faults {
            assert_eq!(found, Err(expected));
        }
    }
}
