//! See `tbi_fuzz::dashboard::path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::dashboard::path(data));
