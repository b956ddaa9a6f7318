//! See `tbi_fuzz::bench::proof`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::bench::proof(data));
