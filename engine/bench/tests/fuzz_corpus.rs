//! Replays the committed fuzz corpus on stable Rust, so that a crash once found stays fixed. New inputs found by the fuzzer are
//! committed to `tests/fuzz/corpus/<target>/`.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../../../tests/fuzz/src/bench.rs"]
pub mod bench;

use std::path::Path;

#[test]
fn every_committed_input_keeps_the_promises() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    for (name, body) in bench::TARGETS {
        let mut inputs = 0;
        for entry in
            std::fs::read_dir(corpus.join(name)).unwrap_or_else(|error| panic!("{name} has no corpus: {error}"))
        {
            let path = entry.unwrap().path();
            let input = std::fs::read(&path).unwrap();
            // The name of the input that fails is the only thing the panic itself would not say.
            std::panic::catch_unwind(|| body(&input)).unwrap_or_else(|_| panic!("{} broke a promise", path.display()));
            inputs += 1;
        }
        assert!(inputs >= 3, "{name} has {inputs} inputs");
    }
}

#[test]
fn cut_and_flipped_inputs_keep_them_too() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    for (name, body) in bench::TARGETS {
        for entry in std::fs::read_dir(corpus.join(name)).unwrap() {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
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
