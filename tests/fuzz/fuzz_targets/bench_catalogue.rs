//! See `tbi_fuzz::bench::catalogue`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::bench::catalogue(data));
