//! What one channel has published, in all and by exchange.
//!
//! Counted once for each group of neighbours with the same address. The exchange is looked up only when the address changes,
//! as its route is.

use everack_broker::name::Name;

use crate::report::Published;

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    pub(super) total: Published,
    pub(super) exchanges: Vec<(Name, Published)>,
    /// The exchange of the last address, among `exchanges`.
    current: usize,
}

/// Exchanges that are counted one by one before the counts are handed on.
const EXCHANGES_MAX: usize = 64;

impl Publishing {
    /// What comes next goes to this exchange. Gives back the counts of the others when there are too many of them.
    pub(super) fn turn_to(&mut self, exchange: &[u8]) -> Option<Vec<(Name, Published)>> {
        let known = self
            .exchanges
            .iter()
            .position(|(name, _)| name.as_bytes() == exchange);
        if let Some(known) = known {
            self.current = known;
            return None;
        }
        let full = self.exchanges.len() == EXCHANGES_MAX;
        let given_back = full.then(|| std::mem::take(&mut self.exchanges));
        self.current = self.exchanges.len();
        self.exchanges.push((Name::new(exchange), Published::default()));
        given_back
    }

    /// So much went to the exchange that was turned to last.
    pub(super) fn add(&mut self, published: Published) {
        self.total.add(published);
        if let Some((_, sum)) = self.exchanges.get_mut(self.current) {
            sum.add(published);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_exchange_and_in_all() {
        let one = Published {
            messages: 1,
            ..Published::default()
        };
        let mut publishing = Publishing::default();
        for exchange in ["a", "b", "a"] {
            assert_eq!(publishing.turn_to(exchange.as_bytes()), None);
            publishing.add(one);
        }
        let counts: Vec<_> = publishing
            .exchanges
            .iter()
            .map(|(name, sum)| (name.to_string(), sum.messages))
            .collect();
        assert_eq!(counts, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert_eq!(publishing.total.messages, 3);
    }

    #[test]
    fn hands_on_what_gets_too_much() {
        let mut publishing = Publishing::default();
        for number in 0..EXCHANGES_MAX {
            assert_eq!(publishing.turn_to(number.to_string().as_bytes()), None);
        }
        let given_back = publishing.turn_to(b"one more").expect("it is full");
        assert_eq!(given_back.len(), EXCHANGES_MAX);
        assert_eq!(publishing.exchanges.len(), 1);
    }
}
