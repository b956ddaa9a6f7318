//! See `tbi_fuzz::bench::vyos`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::bench::vyos(data));
