//! Checkpoint files that were harmed, and what a node makes of their contents.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| everack_fuzz_checks::checkpoints::check(bytes));
