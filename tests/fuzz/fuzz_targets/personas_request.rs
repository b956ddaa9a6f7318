//! See `tbi_fuzz::personas::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::personas::request(data));
