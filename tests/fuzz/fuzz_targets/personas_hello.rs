//! See `tbi_fuzz::personas::hello`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::personas::hello(data));
