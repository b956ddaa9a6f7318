//! See `tbi_fuzz::ledger::audit_line`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::ledger::audit_line(data));
