//! The memory of verified logins: a bounded set of keyed digests.
//!
//! A digest covers the user, the stored hash and the password, under a key that is random for each
//! process and never leaves it. So nothing here can be turned back into a password without the
//! key, and a changed password or hash simply has a digest that is not here.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;

/// A keyed digest of one successful login.
pub(super) type Digest = [u8; 32];

/// Two generations of digests. A full or old current generation becomes the previous one, and the
/// previous one is forgotten; a hit in the previous one is carried over. So the bound and the age
/// hold at constant cost, without an order to maintain.
pub(super) struct Remembered {
    key: hmac::Key,
    generation_max: usize,
    age_max: Duration,
    generations: Mutex<Generations>,
}

struct Generations {
    current: HashSet<Digest>,
    previous: HashSet<Digest>,
    turned: Instant,
}

impl Remembered {
    /// Remembers at most `max` logins (0: none), each for at most `age_max` unless used again.
    pub(super) fn new(max: usize, age_max: Duration, now: Instant) -> anyhow::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let key = key.map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
        let empty = Generations {
            current: HashSet::new(),
            previous: HashSet::new(),
            turned: now,
        };
        // Halves, as both generations count against the bound and the age.
        Ok(Self {
            key,
            generation_max: max / 2,
            age_max: age_max / 2,
            generations: Mutex::new(empty),
        })
    }

    /// The digest of a login. Lengths go in first, so that no two logins share an input.
    pub(super) fn digest(&self, user: &[u8], stored: &str, password: &[u8]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [user, stored.as_bytes(), password] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut digest = Digest::default();
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    /// Whether this login was verified before.
    pub(super) fn contains(&self, digest: &Digest, now: Instant) -> bool {
        let mut generations = self.generations.lock();
        self.turn_if_due(&mut generations, now);
        if generations.current.contains(digest) {
            return true;
        }
        let known = generations.previous.contains(digest);
        if known {
            self.keep(&mut generations, *digest, now);
        }
        known
    }

    /// Remembers a login that was verified.
    pub(super) fn insert(&self, digest: Digest, now: Instant) {
        let mut generations = self.generations.lock();
        self.turn_if_due(&mut generations, now);
        self.keep(&mut generations, digest, now);
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        let mut generations = self.generations.lock();
        generations.current.clear();
        generations.previous.clear();
    }

    fn turn_if_due(&self, generations: &mut Generations, now: Instant) {
        let age = now.saturating_duration_since(generations.turned);
        if age >= self.age_max {
            // After twice the time without a turn, the current generation is too old as well.
            if age >= self.age_max * 2 {
                generations.current.clear();
            }
            turn(generations, now);
        }
    }

    fn keep(&self, generations: &mut Generations, digest: Digest, now: Instant) {
        if self.generation_max == 0 {
            return;
        }
        if generations.current.len() >= self.generation_max {
            turn(generations, now);
        }
        generations.current.insert(digest);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let generations = self.generations.lock();
        generations.current.len() + generations.previous.len()
    }
}

fn turn(generations: &mut Generations, now: Instant) {
    generations.previous = std::mem::take(&mut generations.current);
    generations.turned = now;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(max: usize) -> (Remembered, Instant) {
        let now = Instant::now();
        (Remembered::new(max, Duration::from_secs(60), now).unwrap(), now)
    }

    #[test]
    fn a_login_is_its_user_its_hash_and_its_password() {
        let (memory, now) = remembered(10);
        memory.insert(memory.digest(b"ann", "hash", b"secret"), now);
        let knows = |user: &[u8], stored, password: &[u8]| {
            memory.contains(&memory.digest(user, stored, password), now)
        };
        assert!(knows(b"ann", "hash", b"secret"));
        assert!(!knows(b"ann", "hash", b"wrong"));
        assert!(!knows(b"bob", "hash", b"secret"));
        assert!(!knows(b"ann", "changed", b"secret"));
        assert!(
            !knows(b"annh", "ash", b"secret"),
            "parts must not run into each other"
        );
    }

    #[test]
    fn never_holds_more_than_its_bound_and_keeps_what_is_used() {
        let (memory, now) = remembered(10);
        let used = memory.digest(b"used", "", b"");
        memory.insert(used, now);
        for number in 0..1000_u32 {
            memory.insert(memory.digest(&number.to_le_bytes(), "", b""), now);
            assert!(memory.contains(&used, now), "forgot at {number}");
            assert!(memory.len() <= 10, "{} at {number}", memory.len());
        }
    }

    #[test]
    fn forgets_what_is_not_used() {
        let (memory, now) = remembered(10);
        let digest = memory.digest(b"ann", "", b"");
        memory.insert(digest, now);
        assert!(memory.contains(&digest, now + Duration::from_secs(25)));
        assert!(!memory.contains(&digest, now + Duration::from_secs(100)));
    }

    #[test]
    fn a_bound_of_zero_remembers_nothing() {
        let (memory, now) = remembered(0);
        let digest = memory.digest(b"ann", "", b"");
        memory.insert(digest, now);
        assert!(!memory.contains(&digest, now));
    }
}
