//! See `tbi_fuzz::practice_dut::behaviour`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::practice_dut::behaviour(data));
