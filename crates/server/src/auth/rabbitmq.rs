//! Password hashes as RabbitMQ keeps and exports them, so that users can be taken over with their passwords.
//!
//! ```text
//! | salt, 4 bytes | digest of salt and password |     base64
//! ```
//!
//! The digest's length says which one it is: SHA-256 (RabbitMQ's default), SHA-512, or MD5 (RabbitMQ before 3.6). In front
//! there may be RabbitMQ's name of it, such as `rabbit_password_hashing_sha512:`. One pass of a fast digest protects a
//! password far less than our own hashes do, so new ones should not be made for this broker.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};

const SALT_BYTES: usize = 4;

/// A hash that was taken over.
#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha512,
    Md5,
}

const ALGORITHMS: [(Algorithm, &str, usize); 3] = [
    (Algorithm::Sha256, "rabbit_password_hashing_sha256", 32),
    (Algorithm::Sha512, "rabbit_password_hashing_sha512", 64),
    (Algorithm::Md5, "rabbit_password_hashing_md5", 16),
];

impl Imported {
    /// Reads one; `None` if the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (named, encoded) = match text.split_once(':') {
            Some((name, encoded)) => (Some(name), encoded),
            None => (None, text),
        };
        let bytes = STANDARD.decode(encoded).ok()?;
        let (algorithm, ..) = *ALGORITHMS.iter().find(|(_, name, length)| {
            bytes.len() == SALT_BYTES + length && named.is_none_or(|named| named == *name)
        })?;
        Some(Self { algorithm, bytes })
    }

    /// RabbitMQ's name of the algorithm.
    pub fn algorithm(&self) -> &'static str {
        let known = ALGORITHMS.iter().find(|(known, ..)| *known == self.algorithm);
        known.map_or("", |(_, name, _)| name)
    }

    /// As RabbitMQ writes it, without the name of the algorithm.
    pub fn encoded(&self) -> String {
        STANDARD.encode(&self.bytes)
    }

    /// Whether the password is the one that was hashed.
    pub fn verify(&self, password: &[u8]) -> bool {
        let (salt, expected) = self.bytes.split_at(SALT_BYTES);
        let found = self.algorithm.digest(salt, password);
        // Looks at every byte, wherever they differ.
        let differing = expected
            .iter()
            .zip(&found)
            .fold(0, |sum, (left, right)| sum | (left ^ right));
        differing == 0 && expected.len() == found.len()
    }
}

/// Hashes a password as RabbitMQ does by default, under a fresh random salt.
pub fn hash(password: &[u8]) -> anyhow::Result<String> {
    let mut bytes = vec![0; SALT_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    let digest = Algorithm::Sha256.digest(&bytes, password);
    bytes.extend_from_slice(&digest);
    Ok(STANDARD.encode(bytes))
}

impl Algorithm {
    fn digest(self, salt: &[u8], password: &[u8]) -> Vec<u8> {
        let salted = [salt, password].concat();
        match self {
            Algorithm::Sha256 => digest::digest(&digest::SHA256, &salted).as_ref().to_vec(),
            Algorithm::Sha512 => digest::digest(&digest::SHA512, &salted).as_ref().to_vec(),
            Algorithm::Md5 => Md5::digest(&salted).to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From RabbitMQ's documentation of its password hashing: salt 908DC60A, password `test12`.
    const DOCUMENTED: &str = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";

    #[test]
    fn verifies_what_rabbitmq_hashed() {
        let check = |text: &str, password: &str, expected: bool| {
            let imported = Imported::parse(text).expect(text);
            assert_eq!(
                imported.verify(password.as_bytes()),
                expected,
                "{text} {password}"
            );
        };
        check(DOCUMENTED, "test12", true);
        check(DOCUMENTED, "test13", false);
        check(
            &format!("rabbit_password_hashing_sha256:{DOCUMENTED}"),
            "test12",
            true,
        );
        let made = |algorithm: Algorithm| {
            let salt = [1, 2, 3, 4];
            STANDARD.encode([&salt[..], &algorithm.digest(&salt, b"secret")].concat())
        };
        for (algorithm, name, _) in ALGORITHMS {
            check(&made(algorithm), "secret", true);
            check(&format!("{name}:{}", made(algorithm)), "secret", true);
            check(&made(algorithm), "", false);
        }
        check(&hash(b"new").expect("random bytes"), "new", true);
    }

    #[test]
    fn digests_are_the_well_known_ones() {
        let check = |algorithm: Algorithm, expected: &str| {
            let digest = algorithm.digest(b"a", b"bc");
            let shown: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(shown, expected, "{algorithm:?} of abc");
        };
        check(Algorithm::Sha256, "ba7816bf8f01cfea");
        check(Algorithm::Sha512, "ddaf35a193617aba");
        check(Algorithm::Md5, "900150983cd24fb0");
    }

    #[test]
    fn other_texts_are_none() {
        for text in [
            "",
            "secret",
            "AAAA",
            "rabbit_password_hashing_md5:kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
            "rabbit_password_hashing_crc:kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
            "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(Imported::parse(text), None, "{text}");
        }
    }
}
