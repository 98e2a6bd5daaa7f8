//! The same bytes mean the same, wherever the network cuts them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| everack_fuzz_checks::conversation::check_cuts(bytes));
