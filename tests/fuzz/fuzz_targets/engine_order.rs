//! See `tbi_fuzz::engine::order`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::engine::order(data));
