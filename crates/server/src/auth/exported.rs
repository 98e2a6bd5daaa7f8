//! Password hashes as the management API and definitions show and take them: RabbitMQ's form, always base64 and an algorithm's name
//! beside it.
//!
//! Our own hashes are text; its base64 stands in for RabbitMQ's digest. RabbitMQ takes that over with the name, and lets nobody
//! log in with it: better than to refuse a whole file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::password::check_hash;
use super::rabbitmq::Imported;

/// The name of the hashes that we make, where RabbitMQ names its own.
const OURS: &str = "argon2id";
/// What RabbitMQ says of a user without a password.
const USUAL: &str = "rabbit_password_hashing_sha256";
/// How our own hashes begin.
const OURS_BEGIN: &str = "$argon2";

/// A hash that goes out.
#[derive(Debug, PartialEq, Eq)]
pub struct Exported {
    /// Base64; empty for no password.
    pub hash: String,
    /// Its name.
    pub algorithm: &'static str,
}

impl Exported {
    /// What a stored hash looks like outside.
    pub fn of(stored: &str) -> Self {
        if let Some(imported) = Imported::parse(stored) {
            return Self {
                hash: imported.encoded(),
                algorithm: imported.algorithm(),
            };
        }
        let algorithm = if stored.is_empty() { USUAL } else { OURS };
        Self {
            hash: STANDARD.encode(stored),
            algorithm,
        }
    }
}

/// Why a hash is not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not base64.
    NotBase64,
    /// It is no hash; why.
    NoHash(String),
}

/// What to store of a hash that came in, with the name of its algorithm if one was given.
///
/// # Errors
/// It is no hash of that algorithm.
pub fn import(hash: &str, algorithm: Option<&str>) -> Result<String, Refused> {
    if hash.is_empty() {
        return Ok(String::new());
    }
    if hash.starts_with(OURS_BEGIN) {
        return check_hash(hash)
            .map(|()| hash.to_owned())
            .map_err(Refused::NoHash);
    }
    let bytes = STANDARD.decode(hash).map_err(|_| Refused::NotBase64)?;
    let ours = String::from_utf8(bytes).ok();
    if let Some(ours) = ours.filter(|text| text.starts_with(OURS_BEGIN)) {
        return check_hash(&ours).map(|()| ours).map_err(Refused::NoHash);
    }
    let Some(imported) = Imported::parse(hash) else {
        let text = "it has the length of none of RabbitMQ's: 4 bytes of salt and the digest of SHA-256, SHA-512 or MD5";
        return Err(Refused::NoHash(text.to_owned()));
    };
    match algorithm {
        Some(named) if named != imported.algorithm() => {
            let found = imported.algorithm();
            Err(Refused::NoHash(format!("it is one of {found}, not of {named}")))
        }
        _ => Ok(imported.encoded()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password::GUEST_HASH;

    /// From RabbitMQ's documentation of its password hashing.
    const DOCUMENTED: &str = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";

    #[test]
    fn what_goes_out_comes_in() {
        for (stored, algorithm) in [(GUEST_HASH, OURS), (DOCUMENTED, USUAL), ("", USUAL)] {
            let exported = Exported::of(stored);
            assert_eq!(exported.algorithm, algorithm, "{stored}");
            assert!(STANDARD.decode(&exported.hash).is_ok(), "{stored}");
            let again = import(&exported.hash, Some(exported.algorithm));
            assert_eq!(again.as_deref(), Ok(stored), "{stored}");
            assert_eq!(import(&exported.hash, None).as_deref(), Ok(stored), "{stored}");
        }
        let named = format!("{USUAL}:{DOCUMENTED}");
        assert_eq!(Exported::of(&named).hash, DOCUMENTED);
        assert_eq!(import(GUEST_HASH, None).as_deref(), Ok(GUEST_HASH));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let check = |hash: &str, algorithm: Option<&str>, expected: &str| {
            let refused = import(hash, algorithm).expect_err(hash);
            let text = format!("{refused:?}");
            assert!(text.contains(expected), "{hash}: {text}");
        };
        check("???", None, "NotBase64");
        check("c2VjcmV0", None, "length of none");
        check(DOCUMENTED, Some("rabbit_password_hashing_sha512"), "it is one of");
        check("$argon2id$nonsense", None, "argon2 hash");
        check(&STANDARD.encode("$argon2id$nonsense"), None, "argon2 hash");
    }
}
