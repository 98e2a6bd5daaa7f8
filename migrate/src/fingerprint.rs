//! Which message is which: 16 bytes that two different messages do not share.

use std::fmt::Write as _;

use lapin::BasicProperties;
use ring::digest::{Context, SHA256};

/// Bytes of a fingerprint.
pub(crate) const BYTES: usize = 16;

/// The front of a SHA-256 over all that a consumer sees of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) [u8; BYTES]);

impl Fingerprint {
    /// Of what was published to `exchange` with `routing_key`.
    pub(crate) fn of(exchange: &str, routing_key: &str, properties: &BasicProperties, body: &[u8]) -> Self {
        let mut text = Hashing(Context::new(&SHA256));
        // Names are framed by their lengths, and the properties by the quotes of `Debug`: no two messages run into one text.
        let lengths = (exchange.len(), routing_key.len(), body.len());
        let written = write!(text, "{lengths:?}{exchange}{routing_key}{properties:?}");
        written.expect("hashing does not fail");
        text.0.update(body);
        let digest = text.0.finish();
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(&digest.as_ref()[..BYTES]);
        Self(bytes)
    }
}

struct Hashing(Context);

impl std::fmt::Write for Hashing {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_counts() {
        let plain = BasicProperties::default();
        let named = plain.clone().with_message_id("a".into());
        let base = Fingerprint::of("x", "k", &plain, b"body");
        assert_eq!(base, Fingerprint::of("x", "k", &plain, b"body"));
        for other in [
            Fingerprint::of("xk", "", &plain, b"body"),
            Fingerprint::of("x", "l", &plain, b"body"),
            Fingerprint::of("x", "k", &named, b"body"),
            Fingerprint::of("x", "k", &plain, b"bodz"),
        ] {
            assert_ne!(base, other);
        }
    }
}
