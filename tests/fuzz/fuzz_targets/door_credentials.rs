//! See `tbi_fuzz::dashboard::credentials`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::dashboard::credentials(data));
