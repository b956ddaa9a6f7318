//! See `tbi_fuzz::bench::object`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::bench::object(data));
