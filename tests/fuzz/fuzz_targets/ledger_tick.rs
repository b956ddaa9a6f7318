//! See `tbi_fuzz::ledger::tick`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::ledger::tick(data));
