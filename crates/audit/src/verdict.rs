//! The verdict over a journal: what the broker did with what it had confirmed.

use crate::{Entry, Id};
use std::collections::HashMap;
use std::fmt;

/// An ack may be forgotten by a crash only while it is this young: it need not be durable at once, but soon. Generous,
/// because the ack may also have waited in a client on a busy machine.
const SETTLEMENT_MS_MAX: u64 = 2_000;

/// What a journal shows. Everything behind `redelivered` is a broken promise.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Messages that were about to be published.
    pub intended: u64,
    /// Messages that were confirmed.
    pub confirmed: u64,
    /// Messages without an answer: they may come or not.
    pub unknown: u64,
    /// Deliveries, redeliveries included.
    pub delivered: u64,
    /// Deliveries that were flagged as redelivered.
    pub redelivered: u64,
    /// How often the broker was killed.
    pub kills: u64,
    /// Confirmed, and never settled by anybody although everything was drained.
    pub lost: Vec<Id>,
    /// Delivered, though nobody published it.
    pub phantom: Vec<Id>,
    /// Deliveries with bytes that nobody sent.
    pub damaged: u64,
    /// Delivered again although its ack had ample time to become durable, or without a crash in between.
    pub resurrected: Vec<Id>,
    /// Delivered to a second consumer while the first still held it.
    pub doubled: Vec<Id>,
    /// Delivered again without the flag that says so.
    pub unflagged: Vec<Id>,
    /// Overtaken by a later message of its publisher at the same consumer.
    pub reordered: Vec<Id>,
}

/// What is known of one message so far.
#[derive(Default)]
struct Story {
    intended: bool,
    confirmed: bool,
    deliveries: u64,
    /// The broker's life in which it was delivered last.
    life: u64,
    /// Delivered in this life and neither acked nor given back.
    held: bool,
    /// Given back in this life: its order is not looked at any more.
    returned: bool,
    /// When an ack for it was sent last, and in which life.
    acked: Option<(u64, u64)>,
}

impl Verdict {
    /// Judges a journal that ended with a full drain.
    pub fn of(journal: &[(u64, Entry)]) -> Self {
        let mut judge = Judge::default();
        journal.iter().for_each(|(ms, entry)| judge.see(*ms, *entry));
        judge.sum_up()
    }

    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        let lists = [
            &self.lost,
            &self.phantom,
            &self.resurrected,
            &self.doubled,
            &self.unflagged,
            &self.reordered,
        ];
        self.damaged == 0 && lists.iter().all(|list| list.is_empty())
    }
}

#[derive(Default)]
struct Judge {
    verdict: Verdict,
    stories: HashMap<Id, Story>,
    /// The broker's lives, counted from 0; and when each of them ended.
    life: u64,
    ends: Vec<u64>,
    /// The latest number of a publisher that a consumer has seen.
    latest: HashMap<(u64, u32), u64>,
}

impl Judge {
    fn see(&mut self, ms: u64, entry: Entry) {
        match entry {
            Entry::Intended(id) => self.story(id).intended = true,
            Entry::Confirmed(id) => self.story(id).confirmed = true,
            Entry::Delivered {
                consumer,
                id,
                redelivered,
            } => self.delivered(consumer, id, redelivered),
            Entry::Damaged { .. } => self.verdict.damaged += 1,
            Entry::Acked(id) => {
                let life = self.life;
                let story = self.story(id);
                story.acked = Some((ms, life));
                story.held = false;
            }
            Entry::Returned(id) => {
                let story = self.story(id);
                story.held = false;
                story.returned = true;
            }
            Entry::Killed => {
                self.verdict.kills += 1;
                self.ends.push(ms);
                self.life += 1;
            }
        }
    }

    fn story(&mut self, id: Id) -> &mut Story {
        self.stories.entry(id).or_default()
    }

    fn delivered(&mut self, consumer: u64, id: Id, redelivered: bool) {
        self.verdict.delivered += 1;
        self.verdict.redelivered += u64::from(redelivered);
        let life = self.life;
        let story = self.stories.entry(id).or_default();
        if !story.intended {
            self.verdict.phantom.push(id);
        }
        if story.life != life {
            // A kill gives everything back that was held, in its old order.
            story.life = life;
            story.held = false;
            story.returned = false;
        }
        if story.held {
            self.verdict.doubled.push(id);
        }
        if story.deliveries > 0 && !redelivered {
            self.verdict.unflagged.push(id);
        }
        if let Some((sent, in_life)) = story.acked {
            let end = self.ends.get(in_life as usize);
            if end.is_none_or(|end| end.saturating_sub(sent) > SETTLEMENT_MS_MAX) {
                self.verdict.resurrected.push(id);
            }
        }
        story.held = true;
        story.deliveries += 1;
        if !story.returned {
            let latest = self.latest.entry((consumer, id.publisher)).or_default();
            if id.number < *latest {
                self.verdict.reordered.push(id);
            }
            *latest = id.number.max(*latest);
        }
    }

    fn sum_up(mut self) -> Verdict {
        for (id, story) in &self.stories {
            self.verdict.intended += u64::from(story.intended);
            self.verdict.confirmed += u64::from(story.confirmed);
            self.verdict.unknown += u64::from(story.intended && !story.confirmed);
            if story.confirmed && story.acked.is_none() {
                self.verdict.lost.push(*id);
            }
        }
        self.verdict.lost.sort_unstable();
        self.verdict
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            intended,
            confirmed,
            unknown,
            delivered,
            redelivered,
            kills,
            damaged,
            ..
        } = self;
        writeln!(
            f,
            "{kills} kills; {intended} published: {confirmed} confirmed, {unknown} unknown"
        )?;
        writeln!(
            f,
            "{delivered} deliveries, {redelivered} of them flagged as redelivered"
        )?;
        write!(f, "damaged {damaged}")?;
        let lists = [
            ("lost", &self.lost),
            ("phantom", &self.phantom),
            ("resurrected", &self.resurrected),
            ("doubled", &self.doubled),
            ("unflagged", &self.unflagged),
            ("reordered", &self.reordered),
        ];
        for (name, ids) in lists {
            write!(f, ", {name} {}", ids.len())?;
            let some: Vec<String> = ids.iter().take(5).map(ToString::to_string).collect();
            if !some.is_empty() {
                write!(f, " ({}, ...)", some.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(number: u64) -> Id {
        Id { publisher: 1, number }
    }

    const fn got(consumer: u64, number: u64, redelivered: bool) -> Entry {
        Entry::Delivered {
            consumer,
            id: id(number),
            redelivered,
        }
    }

    const PUBLISHED: [Entry; 6] = [
        Entry::Intended(id(1)),
        Entry::Intended(id(2)),
        Entry::Intended(id(3)),
        Entry::Confirmed(id(1)),
        Entry::Confirmed(id(2)),
        Entry::Confirmed(id(3)),
    ];

    /// Judges the three published messages and what follows, one entry a second.
    fn judge(rest: &[Entry]) -> Verdict {
        let entries = PUBLISHED.iter().chain(rest);
        let journal: Vec<_> = entries
            .enumerate()
            .map(|(second, entry)| (second as u64 * 1000, *entry))
            .collect();
        Verdict::of(&journal)
    }

    /// Each case names the one list that it puts one message in; `""` is a clean verdict.
    fn check(broken: &str, rest: &[Entry]) {
        let verdict = judge(rest);
        let lists = [
            ("lost", verdict.lost.len()),
            ("phantom", verdict.phantom.len()),
            ("damaged", verdict.damaged as usize),
            ("resurrected", verdict.resurrected.len()),
            ("doubled", verdict.doubled.len()),
            ("unflagged", verdict.unflagged.len()),
            ("reordered", verdict.reordered.len()),
        ];
        for (name, count) in lists {
            assert_eq!(count, usize::from(name == broken), "{name} in {rest:?}");
        }
        assert_eq!(verdict.is_clean(), broken.is_empty(), "{verdict}");
    }

    use Entry::{Acked, Damaged, Intended, Killed, Returned};

    #[test]
    fn a_clean_run() {
        check(
            "",
            &[
                got(1, 1, false),
                Acked(id(1)),
                got(1, 2, false),
                got(1, 3, false),
                Acked(id(3)),
                Acked(id(2)),
            ],
        );
    }

    #[test]
    fn an_unknown_publish_may_come_or_not() {
        let all = [
            got(1, 1, false),
            got(1, 2, false),
            got(1, 3, false),
            Acked(id(1)),
            Acked(id(2)),
            Acked(id(3)),
        ];
        check("", &[&all[..], &[Intended(id(4))]].concat());
        check(
            "",
            &[&all[..], &[Intended(id(4)), got(1, 4, false), Acked(id(4))]].concat(),
        );
    }

    #[test]
    fn a_confirmed_message_that_never_comes_is_lost() {
        check(
            "lost",
            &[got(1, 1, false), Acked(id(1)), got(1, 3, false), Acked(id(3))],
        );
    }

    #[test]
    fn a_message_that_was_held_at_a_kill_and_never_comes_again_is_lost() {
        let before = [
            got(1, 1, false),
            got(1, 2, false),
            got(1, 3, false),
            Acked(id(1)),
            Acked(id(2)),
            Killed,
        ];
        check("lost", &before);
        check("", &[&before[..], &[got(2, 3, true), Acked(id(3))]].concat());
    }

    #[test]
    fn a_message_that_nobody_sent_is_a_phantom() {
        let all = [
            got(1, 1, false),
            got(1, 2, false),
            got(1, 3, false),
            Acked(id(1)),
            Acked(id(2)),
            Acked(id(3)),
        ];
        check("phantom", &[&all[..], &[got(1, 9, false)]].concat());
        check("damaged", &[&all[..], &[Damaged { consumer: 1 }]].concat());
    }

    #[test]
    fn an_ack_may_be_forgotten_only_by_a_crash_and_only_while_it_is_young() {
        let all = [
            got(1, 1, false),
            got(1, 2, false),
            Acked(id(1)),
            Acked(id(2)),
            got(1, 3, false),
            Acked(id(3)),
        ];
        check("", &[&all[..], &[Killed, got(2, 3, true)]].concat());
        check("resurrected", &[&all[..], &[Killed, got(2, 1, true)]].concat());
        check("resurrected", &[&all[..], &[got(2, 3, true)]].concat());
    }

    #[test]
    fn two_must_not_hold_the_same_message() {
        let rest = [got(1, 2, false), Acked(id(2)), got(1, 3, false), Acked(id(3))];
        check(
            "doubled",
            &[&[got(1, 1, false), got(2, 1, true), Acked(id(1))], &rest[..]].concat(),
        );
        check(
            "",
            &[
                &[got(1, 1, false), Returned(id(1)), got(2, 1, true), Acked(id(1))],
                &rest[..],
            ]
            .concat(),
        );
    }

    #[test]
    fn what_comes_again_is_flagged() {
        let rest = [got(1, 2, false), Acked(id(2)), got(1, 3, false), Acked(id(3))];
        check(
            "unflagged",
            &[
                &[got(1, 1, false), Returned(id(1)), got(2, 1, false), Acked(id(1))],
                &rest[..],
            ]
            .concat(),
        );
    }

    #[test]
    fn later_messages_do_not_overtake() {
        let acks = [Acked(id(1)), Acked(id(2)), Acked(id(3))];
        check(
            "reordered",
            &[&[got(1, 1, false), got(1, 3, false), got(1, 2, false)], &acks[..]].concat(),
        );
        check(
            "",
            &[&[got(1, 1, false), got(1, 3, false), got(2, 2, false)], &acks[..]].concat(),
        );
        let again = [
            got(1, 1, false),
            got(1, 2, false),
            Returned(id(1)),
            got(1, 1, true),
            got(1, 3, false),
        ];
        check("", &[&again[..], &acks].concat());
    }
}
