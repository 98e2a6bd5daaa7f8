//! Password hashes: argon2id in the PHC text form, `$argon2id$v=19$m=..,t=..,p=..$salt$hash`, and those of RabbitMQ.
//! Pure computation, some 20 ms of it; who calls this must not sit on an async thread.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordVerifier, Version};
use ring::rand::{SecureRandom, SystemRandom};

use super::rabbitmq::Imported;

/// What a new hash costs, OWASP's minimum for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = Params::DEFAULT_M_COST;
const PASSES: u32 = Params::DEFAULT_T_COST;
const LANES: u32 = Params::DEFAULT_P_COST;

/// The most memory that a hash may ask for, in KiB (1 GiB): a hash with a misprinted cost must not
/// take the broker's memory with it at each login.
const MEMORY_KIB_MAX: u32 = 1 << 20;

/// What everybody knows of RabbitMQ.
const GUEST_PASSWORD: &[u8] = b"guest";

/// The hash of `guest`. The password is public, so a hash that is the same everywhere gives nothing
/// away; computed at each start instead it would be most of the time that a start takes.
pub const GUEST_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$1ttMbdpkUFhi8hZiSLeigw$Fae6Gke7VLLPrOZs4Q5glDxtiInofN8wmHj2/+vdCoc";

/// Stands in where there is no such user, so that the answer takes as long as for a wrong password
/// and names of users cannot be found out by timing. The password was random and is forgotten.
pub const NOBODY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$jij/6vmnzoOFV7cuWa+8lQ$GJ0SvUuhCZjrsY7RLy0YSAw+35uY5zsUjm258eXt8HU";

/// Hashes a new password under a fresh random salt.
pub fn hash(password: &[u8]) -> anyhow::Result<String> {
    let mut salt = [0; 16];
    SystemRandom::new()
        .fill(&mut salt)
        .map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone()).hash_password_into(
        password,
        &salt,
        &mut output,
    )?;
    let hash = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params)?,
        salt: Some(Salt::new(&salt)?),
        hash: Some(Output::new(&output)?),
    };
    Ok(hash.to_string())
}

/// Whether the password is the one that was hashed. A text that is no hash matches nothing.
pub fn verify(password: &[u8], hash: &str) -> bool {
    // Everybody knows this one: a slow hash protects nothing, and would be most of the time of the first log-in and of the memory of
    // a broker that has done nothing else yet.
    if hash == GUEST_HASH && password == GUEST_PASSWORD {
        return true;
    }
    if let Some(imported) = Imported::parse(hash) {
        // Takes as long as for a name that nobody has, or the quick answer would tell who was taken over.
        let _ = verify(password, NOBODY_HASH);
        return imported.verify(password);
    }
    let Ok(parsed) = PasswordHash::new(hash) else {
        return false;
    };
    check_cost(&parsed).is_ok() && Argon2::default().verify_password(password, &parsed).is_ok()
}

/// Whether a text is a hash that `verify` can work with; the error completes "this key ...".
pub fn check_hash(text: &str) -> Result<(), String> {
    let unusable = || {
        "must be an argon2 hash as `everack hash-password` prints it ($argon2id$...), or one of RabbitMQ's"
            .to_owned()
    };
    if Imported::parse(text).is_some() {
        return Ok(());
    }
    let parsed = PasswordHash::new(text).map_err(|_| unusable())?;
    Algorithm::try_from(parsed.algorithm.as_str()).map_err(|_| unusable())?;
    if parsed.salt.is_none() || parsed.hash.is_none() {
        return Err(unusable());
    }
    check_cost(&parsed)
}

fn check_cost(parsed: &PasswordHash) -> Result<(), String> {
    let params = Params::try_from(parsed).map_err(|error| format!("has unusable costs: {error}"))?;
    if params.m_cost() > MEMORY_KIB_MAX {
        return Err(format!(
            "asks for {} KiB of memory at each login; {MEMORY_KIB_MAX} at most",
            params.m_cost()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifies_what_it_hashed() {
        let hashed = hash("Grüße".as_bytes()).unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert_eq!(check_hash(&hashed), Ok(()));
        assert!(verify("Grüße".as_bytes(), &hashed));
        assert!(!verify(b"Gruesse", &hashed));
        assert_ne!(hashed, hash("Grüße".as_bytes()).unwrap(), "salts must differ");
    }

    #[test]
    fn the_built_in_hashes_cost_what_a_new_one_costs() {
        let guest = PasswordHash::new(GUEST_HASH).unwrap();
        assert!(Argon2::default().verify_password(GUEST_PASSWORD, &guest).is_ok());
        assert!(verify(b"guest", GUEST_HASH));
        assert!(!verify(b"Guest", GUEST_HASH));
        assert!(!verify(b"", NOBODY_HASH));
        for hash in [GUEST_HASH, NOBODY_HASH] {
            assert_eq!(check_hash(hash), Ok(()));
            assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        }
    }

    #[test]
    fn verifies_what_rabbitmq_hashed() {
        let hashed = crate::auth::rabbitmq::hash(b"secret").unwrap();
        assert_eq!(check_hash(&hashed), Ok(()));
        assert!(verify(b"secret", &hashed));
        assert!(!verify(b"other", &hashed));
    }

    #[test]
    fn refuses_what_is_no_hash() {
        let bad = [
            "",
            "secret",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$argon2id$v=19$m=19456,t=2,p=1",
            "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=4294967295,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
        ];
        for text in bad {
            assert!(check_hash(text).is_err(), "{text:?} was accepted");
            assert!(!verify(b"", text), "{text:?} verified");
        }
    }
}
