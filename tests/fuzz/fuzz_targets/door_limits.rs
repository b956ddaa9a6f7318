//! See `tbi_fuzz::dashboard::limits`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::dashboard::limits(data));
