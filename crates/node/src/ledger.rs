//! What channels that are gone have published, so that sums do not fall when a channel closes.
//!
//! Touched when a channel or a connection ends, never for a message.

use everack_broker::name::Name;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::report::Published;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Sums>);

/// Sums over channels that are gone.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    /// Publishes that were confirmed.
    pub confirmed: u64,
    /// All publishes.
    pub published: Published,
    /// Publishes by virtual host and exchange.
    pub exchanges: FxHashMap<(Name, Name), Published>,
    /// The same by virtual host.
    pub vhosts: FxHashMap<Name, Tally>,
}

/// What was published in one virtual host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All publishes.
    pub published: Published,
    /// Those that were confirmed.
    pub confirmed: u64,
}

/// Exchanges that are remembered one by one; what is published to more is in the sum only.
const EXCHANGES_MAX: usize = 16_384;

impl Ledger {
    /// A channel is gone that had published so much.
    pub fn channel_ends(&self, vhost: &Name, published: Published, exchanges: Vec<(Name, Published)>) {
        if published == Published::default() {
            return;
        }
        let mut sums = self.0.lock();
        sums.published.add(published);
        sums.vhosts
            .entry(vhost.clone())
            .or_default()
            .published
            .add(published);
        drop(sums);
        self.exchanges(vhost, exchanges);
    }

    /// Takes over what a channel that goes on has published to some exchanges.
    pub fn exchanges(&self, vhost: &Name, exchanges: Vec<(Name, Published)>) {
        let mut sums = self.0.lock();
        for (exchange, published) in exchanges {
            let key = (vhost.clone(), exchange);
            let room = sums.exchanges.len() < EXCHANGES_MAX;
            match sums.exchanges.get_mut(&key) {
                Some(sum) => sum.add(published),
                None if room => drop(sums.exchanges.insert(key, published)),
                None => {}
            }
        }
    }

    /// A connection is gone whose channels had so many publishes confirmed.
    pub fn connection_ends(&self, vhost: &Name, confirmed: u64) {
        if confirmed > 0 {
            let mut sums = self.0.lock();
            sums.confirmed += confirmed;
            sums.vhosts.entry(vhost.clone()).or_default().confirmed += confirmed;
        }
    }

    /// The sums as they are now. Exchanges that `exists` does not know any more are forgotten, and virtual hosts without the
    /// default exchange, which has no name.
    pub fn sums(&self, exists: impl Fn(&Name, &Name) -> bool) -> Sums {
        let mut sums = self.0.lock();
        let default_exchange = Name::default();
        sums.vhosts.retain(|vhost, _| exists(vhost, &default_exchange));
        sums.exchanges
            .retain(|(vhost, exchange), _| exists(vhost, exchange));
        sums.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(messages: u64) -> Published {
        Published {
            messages,
            ..Published::default()
        }
    }

    #[test]
    fn sums_stay_and_exchanges_that_are_gone_do_not() {
        let ledger = Ledger::default();
        let vhost = Name::from("/");
        ledger.channel_ends(
            &vhost,
            published(5),
            vec![("a".into(), published(2)), ("b".into(), published(3))],
        );
        ledger.channel_ends(&vhost, published(1), vec![("a".into(), published(1))]);
        ledger.connection_ends(&vhost, 4);
        let sums = ledger.sums(|_, exchange| *exchange == Name::from("a"));
        assert_eq!(sums.published, published(6));
        assert_eq!(sums.confirmed, 4);
        let expected = [(("/".into(), "a".into()), published(3))];
        assert_eq!(sums.exchanges.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn only_so_many_exchanges_are_remembered() {
        let ledger = Ledger::default();
        let many = (0..EXCHANGES_MAX + 10).map(|number| (Name::from(number.to_string()), published(1)));
        ledger.exchanges(&"/".into(), many.collect());
        assert_eq!(ledger.sums(|_, _| true).exchanges.len(), EXCHANGES_MAX);
    }

    #[test]
    fn what_is_gone_counts_by_virtual_host_as_long_as_that_is_there() {
        let ledger = Ledger::default();
        let (here, there) = (Name::from("here"), Name::from("there"));
        ledger.channel_ends(&here, published(2), vec![(Name::from("orders"), published(2))]);
        ledger.channel_ends(&there, published(3), Vec::new());
        ledger.connection_ends(&here, 1);
        ledger.connection_ends(&there, 0);
        let sums = ledger.sums(|_, _| true);
        assert_eq!((sums.published.messages, sums.confirmed), (5, 1));
        let tally = |sums: &Sums, vhost: &Name| {
            let tally = sums.vhosts.get(vhost);
            tally.map(|tally| (tally.published.messages, tally.confirmed))
        };
        assert_eq!(tally(&sums, &here), Some((2, 1)));
        assert_eq!(tally(&sums, &there), Some((3, 0)));
        let sums = ledger.sums(|vhost, exchange| *vhost == here && exchange.as_bytes().is_empty());
        assert_eq!(tally(&sums, &here), Some((2, 1)));
        assert_eq!(tally(&sums, &there), None);
        assert!(sums.exchanges.is_empty());
        assert_eq!(sums.published.messages, 5);
    }
}
