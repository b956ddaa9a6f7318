//! Fuzz target bodies by the crate they fuzz. Each is an ordinary function; the corpus is replayed on stable Rust by that crate's tests
//! with `replay.rs`. The codecs of `tbi-engine` have their bodies in that crate (`codec::fuzz_entry`).

pub mod bench;
pub mod daemon;
pub mod dashboard;
pub mod engine;
pub mod ledger;
pub mod personas;
pub mod practice_dut;
pub mod report;
