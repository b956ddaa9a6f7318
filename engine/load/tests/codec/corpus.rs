//! Replay of the committed fuzz corpus, `engine/load/corpus/<parser>/`; add here whatever a fuzzer finds.

use std::fs;
use std::path::Path;

use tbi_engine::codec::fuzz_entry as fuzz;

pub(crate) type Fuzz = fn(&[u8]);

/// Folder of the corpus and what eats it.
pub(crate) const PARSERS: [(&str, Fuzz); 8] = [
    ("http1", fuzz::fuzz_http1),
    ("h3_response", fuzz::fuzz_h3_response),
    ("h3_control", fuzz::fuzz_h3_control),
    ("h2_client", fuzz::fuzz_h2_client),
    ("hpack", fuzz::fuzz_hpack),
    ("qpack", fuzz::fuzz_qpack),
    ("huffman", fuzz::fuzz_huffman),
    ("varint", fuzz::fuzz_varint),
];

/// Every committed input with its parser.
pub(crate) fn load() -> Vec<(Fuzz, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut inputs = Vec::new();
    for (name, fuzz) in PARSERS {
        let folder = root.join(name);
        let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty(), "{} holds no input", folder.display());
        files.sort();
        inputs.extend(files.into_iter().map(|file| (fuzz, fs::read(file).unwrap())));
    }
    inputs
}

#[test]
fn replay() {
    for (fuzz, mut data) in load() {
        // For the incremental parsers the first byte is the size of the pieces: try every one.
        for first in 0..=255 {
            if let Some(byte) = data.first_mut() {
                *byte = first;
            }
            fuzz(&data);
        }
    }
}
