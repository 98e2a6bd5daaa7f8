//! The same bytes mean the same, wherever the network cuts them. Two bytes in front say where.

#![no_main]

mod driver;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first_chunk::<2>() else {
        return;
    };
    let cut = usize::from(u16::from_le_bytes(*cut)) % (bytes.len() + 1);
    let parts = driver::play(&[&bytes[..cut], &bytes[cut..]]);
    assert_eq!(driver::play(&[bytes]), parts);
});
