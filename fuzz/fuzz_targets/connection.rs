//! Whatever a client sends once it is in, nothing panics and nothing grows without bound.

#![no_main]

mod driver;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    driver::play(&[bytes]);
});
