//! Frames, right and wrong, from the first byte of a connection on.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| everack_fuzz_checks::frames::check(bytes));
