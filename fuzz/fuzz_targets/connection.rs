//! Whatever a client sends once it is in, nothing panics and nothing grows without bound.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| everack_fuzz_checks::conversation::check(bytes));
