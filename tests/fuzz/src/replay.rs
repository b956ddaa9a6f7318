//! Replays the committed corpus on stable Rust, so that a crash once found stays fixed. New inputs found by the fuzzer are committed
//! to `tests/fuzz/corpus/<target>/`. Included by the tests of each crate that is fuzzed.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// Name and body of a target.
pub type Target = (&'static str, fn(&[u8]));

/// Every committed input of these targets keeps the promises in the targets' bodies.
///
/// # Panics
/// When one does not, or a target has fewer than three inputs.
pub fn committed(targets: &[Target]) {
    for (name, body) in targets {
        let inputs = inputs(name);
        assert!(inputs.len() >= 3, "{name} has {} inputs", inputs.len());
        for path in inputs {
            let input = std::fs::read(&path).unwrap();
            // The name of the input that fails is the only thing the panic itself would not say.
            catch_unwind(|| body(&input)).unwrap_or_else(|_| panic!("{} broke a promise", path.display()));
        }
    }
}

/// So do inputs that are cut short or have one bit flipped.
///
/// # Panics
/// When one does not.
pub fn cut_and_flipped(targets: &[Target]) {
    for (name, body) in targets {
        for path in inputs(name) {
            let input = std::fs::read(path).unwrap();
            // A few dozen positions of each input, spread evenly: every one of a large input would take minutes.
            for at in (0..input.len()).step_by(input.len() / 40 + 1) {
                body(&input[..at]);
                let mut flipped = input.clone();
                flipped[at] ^= 1 << (at % 8);
                body(&flipped);
            }
        }
    }
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("tests/fuzz/corpus"))
        .find(|corpus| corpus.exists())
        .expect("the crate lies in the repository");
    let folder =
        std::fs::read_dir(corpus.join(target)).unwrap_or_else(|error| panic!("{target} has no corpus: {error}"));
    let mut inputs: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    inputs
}
