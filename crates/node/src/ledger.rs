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
}

/// Exchanges that are remembered one by one; what is published to more is in the sum only.
const EXCHANGES_MAX: usize = 16_384;

impl Ledger {
    /// A channel is gone that had published so much.
    pub fn channel_ends(&self, vhost: &Name, published: Published, exchanges: Vec<(Name, Published)>) {
        if published == Published::default() {
            return;
        }
        self.0.lock().published.add(published);
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
    pub fn connection_ends(&self, confirmed: u64) {
        self.0.lock().confirmed += confirmed;
    }

    /// The sums as they are now. Exchanges that `exists` does not know any more are forgotten.
    pub fn sums(&self, exists: impl Fn(&Name, &Name) -> bool) -> Sums {
        let mut sums = self.0.lock();
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
        ledger.connection_ends(4);
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
}
