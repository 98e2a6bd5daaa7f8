//! From the journal and the counts of both queues to where a move goes on. Pure: it counts, others look.
//!
//! Whatever was killed, three numbers are known when everything is quiet again: how many messages had been *published* and
//! *confirmed* (the journal's), how many the source still has and how many the target has got. Nobody else takes part, both queues are
//! first in, first out, and confirms and acknowledgements go in that order, so what was moved and what was removed are both fronts of
//! the same list:
//!
//! ```text
//!   the list of the source, as it was when the move began
//!   |--- removed at the source ---|--- moved, still there ---|--- to be moved -----|
//!   0                          removed                     moved              source_before
//!                                 ^ the source begins here   ^ publishing goes on here
//!
//!   removed = source_before - source now         removed <= moved: nothing is acknowledged that is not confirmed
//!   moved   = target now - target_before         confirmed <= moved <= published
//! ```
//!
//! The messages between are consumed and acknowledged without being published again, each after its fingerprint was compared with
//! the journal's. Where a relation does not hold somebody else had a hand in it, and what is there twice cannot be told any more.

use crate::fingerprint::Fingerprint;
use crate::journal::{Journal, Leg};

/// Where a move goes on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Resumption {
    /// Messages that the source no longer has.
    pub(crate) removed: u64,
    /// Messages that the target has.
    pub(crate) moved: u64,
}

/// What the journal says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) source_before: u64,
    pub(crate) target_before: u64,
    pub(crate) published: u64,
    pub(crate) confirmed: u64,
}

/// Why it cannot be told which messages were moved already.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Disagreement {
    #[error(
        "the target has confirmed {confirmed} messages and has only {found} of them: somebody consumes there, or a limit, an expiry or \
         a crash took transient messages away"
    )]
    GoneFromTarget { confirmed: u64, found: u64 },
    #[error(
        "the target has {found} messages more than before, and only {published} were published: somebody else publishes there"
    )]
    StrangersInTarget { published: u64, found: u64 },
    #[error(
        "the source has {now} messages, more than the {before} that it had before: somebody publishes there"
    )]
    StrangersInSource { before: u64, now: u64 },
    #[error(
        "{removed} messages are gone from the source and {moved} of them were moved: somebody else consumes there, or an expiry or a \
         crash took transient messages away"
    )]
    GoneFromSource { removed: u64, moved: u64 },
}

/// Where to go on, with `source` and `target` messages in the quiet queues.
pub(crate) fn reconcile(known: Known, source: u64, target: u64) -> Result<Resumption, Disagreement> {
    let Known {
        source_before,
        target_before,
        published,
        confirmed,
    } = known;
    let moved = target.saturating_sub(target_before);
    if target < target_before || moved < confirmed {
        let found = moved;
        return Err(Disagreement::GoneFromTarget { confirmed, found });
    }
    if moved > published {
        let found = moved;
        return Err(Disagreement::StrangersInTarget { published, found });
    }
    let Some(removed) = source_before.checked_sub(source) else {
        let (before, now) = (source_before, source);
        return Err(Disagreement::StrangersInSource { before, now });
    };
    if removed > moved {
        return Err(Disagreement::GoneFromSource { removed, moved });
    }
    Ok(Resumption { removed, moved })
}

/// The first message of a source whose move was finished, and which has messages again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Front {
    pub(crate) print: Fingerprint,
    /// Whether somebody got it before, as the source says.
    pub(crate) redelivered: bool,
}

/// Whether what the source has since its move was finished is what was `moved`, brought back because a crash of the source took
/// acknowledgements away: a message that nobody got before is new, and so is one that was not moved.
///
/// In doubt it was moved: what is wrongly taken for new comes twice, what is wrongly taken for moved is compared with the counts and with
/// the journal, one by one, before it is acknowledged.
pub(crate) fn came_back(front: Front, moved: &[Fingerprint]) -> bool {
    front.redelivered && moved.contains(&front.print)
}

impl Known {
    pub(crate) fn from(journal: &Journal) -> Self {
        let Leg {
            source_before,
            target_before,
            ..
        } = journal.leg;
        Self {
            source_before,
            target_before,
            published: journal.published(),
            confirmed: journal.confirmed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Disagreement::*;

    /// 100 messages before, 5 in the target; 50 published, 40 confirmed.
    fn check(source: u64, target: u64, expected: Result<(u64, u64), Disagreement>) {
        let known = Known {
            source_before: 100,
            target_before: 5,
            published: 50,
            confirmed: 40,
        };
        let expected = expected.map(|(removed, moved)| Resumption { removed, moved });
        assert_eq!(reconcile(known, source, target), expected, "{source} {target}");
    }

    #[test]
    fn what_fits_goes_on() {
        check(60, 45, Ok((40, 40)));
        // Confirms were on their way.
        check(60, 48, Ok((40, 43)));
        // All arrived, and no acknowledgement did.
        check(100, 55, Ok((0, 50)));
        // Acknowledged beyond what the journal has seen confirmed: it was written by someone who was killed in between.
        check(52, 53, Ok((48, 48)));
    }

    #[test]
    fn what_comes_back_was_moved_and_delivered() {
        let print = |number: u8| Fingerprint([number; crate::fingerprint::BYTES]);
        let check = |number, redelivered, expected| {
            let front = Front {
                print: print(number),
                redelivered,
            };
            assert_eq!(
                came_back(front, &[print(1), print(2)]),
                expected,
                "{number} {redelivered}"
            );
        };
        check(2, true, true);
        check(1, true, true);
        check(2, false, false);
        check(3, true, false);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        check(
            60,
            44,
            Err(GoneFromTarget {
                confirmed: 40,
                found: 39,
            }),
        );
        check(
            60,
            0,
            Err(GoneFromTarget {
                confirmed: 40,
                found: 0,
            }),
        );
        check(
            60,
            56,
            Err(StrangersInTarget {
                published: 50,
                found: 51,
            }),
        );
        check(
            101,
            45,
            Err(StrangersInSource {
                before: 100,
                now: 101,
            }),
        );
        check(
            59,
            45,
            Err(GoneFromSource {
                removed: 41,
                moved: 40,
            }),
        );
    }
}
