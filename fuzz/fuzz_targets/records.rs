//! Payloads of log records, decoded, replayed and opened as a node.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| everack_fuzz_checks::records::check(bytes));
