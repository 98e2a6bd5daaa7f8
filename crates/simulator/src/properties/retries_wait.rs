//! Where retries are delayed, what was put back is not handed out before its time.

use super::Property;
use crate::book::family;
use crate::book::{Book, Event};

pub(super) const PROPERTY: Property = Property {
    name: "retries_wait",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    let Event::Delivered(delivered) = event else {
        return None;
    };
    let wait_us = family::place(&delivered.place)?.retry_ms? * 1000;
    let number = delivered.number?;
    let back_us = book.copy(&delivered.queue, number)?.back_us?;
    // The broker's clock has milliseconds.
    let early = book.now_us + 1000 < back_us + wait_us;
    (early && !delivered.void && !book.is_unsteady(delivered.channel)).then(|| {
        format!(
            "{} handed message {number} out again {} µs after it was put back",
            delivered.place,
            book.now_us - back_us
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::book::{Delivered, Event, Verdict};
    use crate::properties::tests::{Family, READER};

    /// Seed 1206 of the first runs: whoever is no longer connected may have returned it long before.
    #[test]
    fn what_comes_back_waits() {
        for (later_us, received, broken) in [
            (10_000, true, &["retries_wait"][..]),
            (10_000, false, &[]),
            (40_000, true, &[]),
        ] {
            let mut tale = Family::begin("z0");
            tale.kept(1).seen("z0", 1, 1);
            tale.then(Event::SettleSent(READER, vec![1], Verdict::Back, None));
            if received {
                tale.then(Event::SettleReceived(READER, vec![1]));
            }
            tale.later(later_us);
            let again = Delivered {
                redelivered: true,
                ..tale.delivery("z0", 1, 2)
            };
            tale.then(Event::Delivered(again));
            assert_eq!(tale.broken(), broken, "{later_us} µs later");
        }
    }
}
