//! See `tbi_fuzz::engine::certificate_names`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::engine::certificate_names(data));
