//! See `tbi_fuzz::dashboard::guard`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::dashboard::guard(data));
