//! See `tbi_fuzz::practice_dut::ca_files`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::practice_dut::ca_files(data));
