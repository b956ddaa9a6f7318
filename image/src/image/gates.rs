//! Gates: how full slots may be. Their sizes are for ever (a device in the field cannot change them), so the room that is left is the room
//! for all versions to come; and what people download must stay small. Pure.

use serde::{Deserialize, Serialize};

/// Root file system in its slot.
const ROOT_PERCENT: u64 = 70;
/// Kernel image in the ESP, which holds two, one being written, and the loader.
const UKI_PERCENT: u64 = 30;
/// What is downloaded.
const DOWNLOAD_BYTES: u64 = 300_000_000;

/// How full something is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fill {
    /// Bytes used.
    pub(crate) used_bytes: u64,
    /// Bytes there are.
    pub(crate) size_bytes: u64,
    /// The same for people.
    pub(crate) percent: f64,
}

impl Fill {
    /// `used` of `size`.
    pub(crate) fn new(used: u64, size: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a percentage with one decimal")]
        let percent = if size == 0 { 100.0 } else { (used as f64 * 1000.0 / size as f64).round() / 10.0 };
        Self { used_bytes: used, size_bytes: size, percent }
    }

    fn above(self, percent: u64) -> bool {
        u128::from(self.used_bytes) * 100 > u128::from(self.size_bytes) * u128::from(percent)
    }
}

/// Sentences for gates that are broken; none when the image may leave the house.
pub(crate) fn broken(root: Fill, uki: Fill, download: Option<u64>) -> Vec<String> {
    let mut sentences = Vec::new();
    if root.above(ROOT_PERCENT) {
        sentences.push(format!(
            "the root file system fills {} % of its slot, more than {ROOT_PERCENT} %; take packages or files out of mkosi/ (slots can never grow in the field)",
            root.percent
        ));
    }
    if uki.above(UKI_PERCENT) {
        sentences.push(format!(
            "the kernel image takes {} % of the ESP, more than {UKI_PERCENT} %; make the initrd smaller (mkosi/mkosi.images/initrd)",
            uki.percent
        ));
    }
    if let Some(bytes) = download.filter(|bytes| *bytes > DOWNLOAD_BYTES) {
        sentences.push(format!(
            "the download is {} MB, more than {} MB; take packages or files out of mkosi/",
            bytes.div_ceil(1_000_000),
            DOWNLOAD_BYTES / 1_000_000
        ));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_full_enough_passes_and_one_byte_more_does_not() {
        let (root, uki) = (Fill::new(70, 100), Fill::new(30, 100));
        assert!(broken(root, uki, Some(DOWNLOAD_BYTES)).is_empty());
        assert!(broken(root, uki, None).is_empty());
        let all = broken(Fill::new(7001, 10_000), Fill::new(3001, 10_000), Some(DOWNLOAD_BYTES + 1));
        assert_eq!(all.len(), 3);
        assert!(all[0].contains("70 %") && all[1].contains("30 %") && all[2].contains("301 MB"), "{all:?}");
    }

    #[test]
    fn a_slot_without_size_is_full() {
        assert_eq!(broken(Fill::new(1, 0), Fill::new(0, 1), None).len(), 1);
    }
}
