//! Fuzz target bodies by the crate they fuzz. Each is an ordinary function; the corpus is replayed on stable Rust by that crate's tests.

pub mod bench;
