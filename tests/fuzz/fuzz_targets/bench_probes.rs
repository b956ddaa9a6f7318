//! See `tbi_fuzz::bench::probes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::bench::probes(data));
