//! See `tbi_engine::codec::fuzz_entry::fuzz_h3_response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_engine::codec::fuzz_entry::fuzz_h3_response(data));
