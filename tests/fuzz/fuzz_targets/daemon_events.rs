//! See `tbi_fuzz::daemon::events`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tbi_fuzz::daemon::events(data));
