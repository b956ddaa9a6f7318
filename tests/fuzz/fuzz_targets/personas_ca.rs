//! See `tbi_fuzz::personas::ca`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::personas::ca(data));
