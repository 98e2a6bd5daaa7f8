//! Methods: reading and writing agree with each other and with another implementation.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| everack_fuzz_checks::methods::check(bytes));
