//! See `tbi_fuzz::bench::statistics`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::bench::statistics(data));
