//! Helpers of the whole-system tests: the built programs, children with deadlines, runs in the lab and what they wrote.
//!
//! Everything here panics with a sentence when it cannot go on; that is a failed test. Nothing waits longer than its deadline, and no
//! child outlives the test that started it.
#![expect(clippy::panic, reason = "helpers of tests: a panic is a failed test")]

pub mod awake;
pub mod browser;
pub mod child;
pub mod door;
pub mod lab;
pub mod peers;
pub mod pki;
pub mod processes;
pub mod python;
pub mod repository;
pub mod stand;
pub mod vm;

use std::path::PathBuf;

/// A program of ours. `cargo tbi test` builds all of them and names their directory in `TBI_BIN_DIR`; without it, the directory above
/// the test's own.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let directory = std::env::var_os("TBI_BIN_DIR").map(PathBuf::from).or_else(|| {
        let test = std::env::current_exe().ok()?;
        Some(test.parent()?.parent()?.to_owned())
    });
    let path = directory.unwrap_or_default().join(name);
    assert!(path.is_file(), "{} is not built; type: cargo build --workspace --bins", path.display());
    path
}
