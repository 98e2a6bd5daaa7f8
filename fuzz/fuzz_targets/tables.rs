//! Tables and properties: reading, checking and writing agree, with another implementation too.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| everack_fuzz_checks::tables::check(bytes));
