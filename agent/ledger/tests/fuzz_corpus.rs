//! Replays the committed fuzz corpus of this crate's parsers; see `tests/fuzz/src/replay.rs`.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../../../tests/fuzz/src/ledger.rs"]
pub mod bodies;
#[path = "../../../tests/fuzz/src/replay.rs"]
pub mod replay;

#[test]
fn every_committed_input_keeps_the_promises() {
    replay::committed(bodies::TARGETS);
}

#[test]
fn cut_and_flipped_inputs_keep_them_too() {
    replay::cut_and_flipped(bodies::TARGETS);
}
