//! See `tbi_fuzz::ledger::audit_export`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::ledger::audit_export(data));
