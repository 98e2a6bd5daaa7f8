//! Slows down who guesses passwords: by address and by user, in a table with a bound. Knows no clock.
//!
//! A few failures are free. Each one more bars the address, or the user, for twice as long as the one before, up to a bound; a user, whom
//! anybody can name, for a short while only, so that nobody can be locked out by others. While somebody is barred nothing is verified.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Most addresses and users together that are remembered. The one that failed longest ago makes room.
const REMEMBERED_MAX: usize = 4_096;
/// After this long without a failure all is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15 * 60);

/// Whom a failure is charged to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Address(IpAddr),
    User(String),
}

impl Who {
    fn free(&self) -> u32 {
        match self {
            Who::Address(_) => 5,
            Who::User(_) => 10,
        }
    }

    fn bar_max(&self) -> Duration {
        match self {
            Who::Address(_) => Duration::from_secs(5 * 60),
            Who::User(_) => Duration::from_secs(10),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Record {
    failures: u32,
    last: Instant,
    barred_until: Instant,
}

/// All that failed lately.
#[derive(Debug)]
pub(crate) struct Throttle {
    records: HashMap<Who, Record>,
    swept: Instant,
}

impl Throttle {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            records: HashMap::new(),
            swept: now,
        }
    }

    /// How long to wait before a log-in is looked at; `None` is not at all. An attempt that is looked at counts as a failure until
    /// [`Throttle::succeeded`], so that many at the same moment are no way around.
    pub(crate) fn attempt(&mut self, address: IpAddr, user: &str, now: Instant) -> Option<Duration> {
        self.sweep(now);
        let barred = |who: &Who| {
            let record = self.records.get(who)?;
            let left = record.barred_until.saturating_duration_since(now);
            (!left.is_zero()).then_some(left)
        };
        let both = both(address, user);
        if let Some(left) = both.iter().filter_map(barred).max() {
            return Some(left);
        }
        for who in both {
            self.failed(who, now);
        }
        None
    }

    /// The attempt was right: nothing is held against the address and the user any more.
    pub(crate) fn succeeded(&mut self, address: IpAddr, user: &str) {
        for who in both(address, user) {
            self.records.remove(&who);
        }
    }

    /// The attempt was neither right nor wrong: the broker was busy.
    pub(crate) fn undecided(&mut self, address: IpAddr, user: &str) {
        for who in both(address, user) {
            if let Some(record) = self.records.get_mut(&who) {
                record.failures = record.failures.saturating_sub(1);
                record.barred_until = record.last;
            }
        }
    }

    fn failed(&mut self, who: Who, now: Instant) {
        if self.records.len() >= REMEMBERED_MAX && !self.records.contains_key(&who) {
            let oldest = self.records.iter().min_by_key(|(_, record)| record.last);
            if let Some(oldest) = oldest.map(|(who, _)| who.clone()) {
                self.records.remove(&oldest);
            }
        }
        let (free, bar_max) = (who.free(), who.bar_max());
        let record = self.records.entry(who).or_insert(Record {
            failures: 0,
            last: now,
            barred_until: now,
        });
        record.failures = record.failures.saturating_add(1);
        record.last = now;
        if record.failures >= free {
            let doublings = (record.failures - free).min(16);
            let bar = Duration::from_secs(1 << doublings).min(bar_max);
            record.barred_until = now + bar;
        }
    }

    /// Forgets, now and then.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) > FORGOTTEN_AFTER / 15 {
            self.records
                .retain(|_, record| now.saturating_duration_since(record.last) < FORGOTTEN_AFTER);
            self.swept = now;
        }
    }
}

fn both(address: IpAddr, user: &str) -> [Who; 2] {
    // A network is given whole to whoever has one address of version 6.
    let address = match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    };
    [Who::Address(address), Who::User(user.to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    /// Attempts until the first that has to wait, all at one moment.
    fn until_barred(throttle: &mut Throttle, from: impl Fn(u32) -> (IpAddr, String), now: Instant) -> u32 {
        let barred = (0..1000).find(|&number| {
            let (address, user) = from(number);
            throttle.attempt(address, &user, now).is_some()
        });
        barred.expect("somebody is barred in the end")
    }

    #[test]
    fn a_few_failures_are_free_then_an_address_waits_longer_and_longer() {
        let start = Instant::now();
        let mut throttle = Throttle::new(start);
        let free = until_barred(&mut throttle, |number| (address(1), number.to_string()), start);
        assert_eq!(free, 5);
        let mut now = start;
        let mut waits = Vec::new();
        for number in 0..12 {
            let wait = throttle.attempt(address(1), &format!("again {number}"), now);
            let wait = wait.expect("barred since the attempt before");
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(throttle.attempt(address(1), &format!("user {number}"), now), None);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(throttle.attempt(address(2), "somebody", now), None);
        assert_eq!(throttle.attempt(address(1), "x", now + FORGOTTEN_AFTER), None);
    }

    #[test]
    fn a_user_who_is_guessed_from_everywhere_waits_a_little_only() {
        let now = Instant::now();
        let mut throttle = Throttle::new(now);
        let free = until_barred(&mut throttle, |number| (address(number), "root".to_owned()), now);
        assert_eq!(free, 10);
        let mut later = now;
        for number in 0..20 {
            let wait = throttle.attempt(address(5000 + number), "root", later);
            let wait = wait.expect("barred since the attempt before");
            assert!(wait <= Duration::from_secs(10), "{wait:?}");
            later += wait;
            throttle.attempt(address(9000 + number), "root", later);
        }
    }

    #[test]
    fn who_gets_in_starts_anew_and_a_busy_broker_is_nobodys_fault() {
        let now = Instant::now();
        let mut throttle = Throttle::new(now);
        for _ in 0..100 {
            assert_eq!(throttle.attempt(address(1), "a", now), None);
            throttle.succeeded(address(1), "a");
            assert_eq!(throttle.attempt(address(1), "a", now), None);
            throttle.undecided(address(1), "a");
        }
    }

    #[test]
    fn one_network_of_version_6_is_one_address() {
        let now = Instant::now();
        let mut throttle = Throttle::new(now);
        let from = |number: u32| {
            let address: IpAddr = format!("2001:db8::{number:x}").parse().expect("an address");
            (address, number.to_string())
        };
        assert_eq!(until_barred(&mut throttle, from, now), 5);
    }

    #[test]
    fn the_table_is_bounded() {
        let now = Instant::now();
        let mut throttle = Throttle::new(now);
        for number in 0..REMEMBERED_MAX as u32 {
            throttle.attempt(address(number), &number.to_string(), now);
        }
        assert_eq!(throttle.records.len(), REMEMBERED_MAX);
    }
}
