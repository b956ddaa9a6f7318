//! See `tbi_fuzz::bench::mac_address`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::bench::mac_address(data));
