//! Recovery of a log whose files were harmed.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| everack_fuzz_checks::segments::check(bytes));
