//! See `tbi_fuzz::bench::server_timing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::bench::server_timing(data));
