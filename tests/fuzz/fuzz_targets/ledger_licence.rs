//! See `tbi_fuzz::ledger::licence`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::ledger::licence(data));
