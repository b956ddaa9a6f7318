//! See `tbi_fuzz::report::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::report::record(data));
