//! Compares what was ordered with what was shipped, and judges. Pure: lists of ids in, a verdict out.

use serde_json::{Value, json};

/// Orders against shipments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Accepted orders that have a shipment.
    pub(super) shipped: usize,
    /// Accepted orders that have none.
    pub(super) lost: usize,
    /// Orders with more than one shipment.
    pub(super) shipped_twice: usize,
    /// Shipments that no customer was told of having ordered.
    pub(super) phantom: usize,
}

/// Compares two sorted lists of order ids; in the second an id may come more than once.
pub(super) fn compare(accepted: &[String], shipments: &[String]) -> Comparison {
    let mut comparison = Comparison::default();
    for id in accepted {
        match shipments.binary_search(id) {
            Ok(_) => comparison.shipped += 1,
            Err(_) => comparison.lost += 1,
        }
    }
    for same in shipments.chunk_by(|left, right| left == right) {
        comparison.shipped_twice += usize::from(same.len() > 1);
        comparison.phantom += usize::from(accepted.binary_search(&same[0]).is_err());
    }
    comparison
}

/// What happened in one act.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// Orders that customers were told are accepted.
    pub(super) orders: usize,
    pub(super) comparison: Comparison,
    /// Deliveries that were flagged as redelivered, or not the first of their order.
    pub(super) redelivered: i64,
    pub(super) warehouse_kills: usize,
    /// Orders that the killed warehouses were working on, according to the books.
    pub(super) in_hands: i64,
    pub(super) order_service_kills: usize,
    pub(super) broker_kills: usize,
    /// Requests that customers had to send again.
    pub(super) retries: usize,
    pub(super) seconds: f64,
}

impl Tally {
    /// Nothing lost, and every order in the books exactly once.
    pub(super) fn holds(&self) -> bool {
        let Comparison {
            shipped,
            lost,
            shipped_twice,
            phantom,
        } = self.comparison;
        lost == 0 && shipped == self.orders && shipped_twice == 0 && phantom == 0
    }

    fn to_json(self) -> Value {
        json!({
            "orders": self.orders,
            "shipped": self.comparison.shipped,
            "lost": self.comparison.lost,
            "shipped_twice": self.comparison.shipped_twice,
            "redelivered": self.redelivered,
            "warehouse_kills": self.warehouse_kills,
            "broker_kills": self.broker_kills,
            "order_service_kills": self.order_service_kills,
            "in_hands_at_kills": self.in_hands,
            "customer_retries": self.retries,
            "seconds": (self.seconds * 10.0).round() / 10.0,
        })
    }
}

/// Both acts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) manual_ack: Tally,
    pub(super) auto_ack: Tally,
}

impl Verdict {
    /// Manual ack has kept everything, and auto-ack has lost something: if it had not, the mishaps were too gentle to
    /// show anything, and the first half of the sentence would mean nothing either.
    pub(super) fn holds(&self) -> bool {
        self.manual_ack.holds() && self.auto_ack.comparison.lost > 0
    }

    pub(super) fn to_json(self) -> Value {
        json!({ "manual_ack": self.manual_ack.to_json(), "auto_ack": self.auto_ack.to_json() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// `expected` is shipped, lost, shipped twice, phantom.
    fn check(accepted: &str, shipments: &str, expected: [usize; 4]) {
        let [shipped, lost, shipped_twice, phantom] = expected;
        let expected = Comparison {
            shipped,
            lost,
            shipped_twice,
            phantom,
        };
        assert_eq!(
            compare(&ids(accepted), &ids(shipments)),
            expected,
            "{accepted} / {shipments}"
        );
    }

    #[test]
    fn comparisons() {
        check("", "", [0, 0, 0, 0]);
        check("a b c", "a b c", [3, 0, 0, 0]);
        check("a b c", "a c", [2, 1, 0, 0]);
        check("a b c", "", [0, 3, 0, 0]);
        check("a b c", "a a b b b c", [3, 0, 2, 0]);
        check("a c", "a b c", [2, 0, 0, 1]);
    }

    #[test]
    fn verdicts() {
        let tally = |accepted: &str, shipments: &str| {
            let (accepted, shipments) = (ids(accepted), ids(shipments));
            Tally {
                orders: accepted.len(),
                comparison: compare(&accepted, &shipments),
                ..Tally::default()
            }
        };
        let check = |manual: &str, auto: &str, expected: bool| {
            let verdict = Verdict {
                manual_ack: tally("a b", manual),
                auto_ack: tally("a b", auto),
            };
            assert_eq!(verdict.holds(), expected, "manual {manual}, auto {auto}");
        };
        check("a b", "a", true);
        check("a b", "a b", false);
        check("a", "a", false);
        check("a a b", "a", false);
        check("a b c", "a", false);
    }
}
