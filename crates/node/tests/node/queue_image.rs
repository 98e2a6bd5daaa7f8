//! The image of a queue against a naive one: a map from number to where the message lies.

use std::collections::BTreeMap;

use everack_broker::ids::{Location, Seq};
use everack_node::recovery::queue_image::{ImageRun, QueueImage};

/// A small generator, so that a failing seed can be told.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// By number: location, entry, returns.
type Naive = BTreeMap<u64, (u64, u16, u32)>;

fn run(first: u64, count: u16, location: u64) -> ImageRun {
    let (location, bytes) = (Location(location), u32::from(count) * 10);
    ImageRun {
        first: Seq(first),
        location,
        bytes,
        from: 2,
        to: 2 + count,
    }
}

fn step(random: &mut Random, number: u64, image: &mut QueueImage, naive: &mut Naive, next: &mut u64) {
    let (first, count) = (1 + random.below(*next + 10), 1 + random.below(20) as u16);
    let numbers = first..first + u64::from(count);
    match random.below(10) {
        0..4 => {
            let first = *next + random.below(3) * 5;
            image.enqueue(run(first, count, number));
            naive.extend((0..count).map(|at| (first + u64::from(at), (number, 2 + at, 0))));
            *next = first + u64::from(count);
        }
        // Told again, by a checkpoint and by the log: what is there stays.
        4 => {
            image.enqueue(run(first, count, number));
            for at in 0..count {
                naive.entry(first + u64::from(at)).or_insert((number, 2 + at, 0));
            }
            *next = (*next).max(numbers.end);
        }
        5..7 => {
            image.settle(Seq(first), u32::from(count));
            naive.retain(|number, _| !numbers.contains(number));
        }
        7 => {
            image.relocate(run(first, count, number));
            for at in 0..count {
                if let Some(message) = naive.get_mut(&(first + u64::from(at))) {
                    (message.0, message.1) = (number, 2 + at);
                }
            }
        }
        _ => {
            let there: Vec<u64> = naive.keys().copied().collect();
            if let Some(&first) = there.get(random.below(there.len().max(1) as u64) as usize) {
                image.count_returns(Seq(first), 1, 3);
                naive.get_mut(&first).expect("just seen").2 += 3;
            }
        }
    }
}

#[test]
fn an_image_holds_what_the_naive_one_holds() {
    for seed in 1..400 {
        let mut random = Random(seed * 0x9e37_79b9);
        let (mut image, mut naive, mut next) = (QueueImage::default(), Naive::new(), 1);
        for number in 1..60 {
            step(&mut random, number, &mut image, &mut naive, &mut next);
        }
        assert_eq!(image.live(), naive.len() as u64, "seed {seed}");
        let mut seen = Vec::new();
        for run in image.into_live_runs() {
            for at in 0..run.to - run.from {
                let number = run.first.0 + u64::from(at);
                seen.push((number, (run.location.0, run.from + at, run.marks.deliveries)));
            }
        }
        assert_eq!(seen, naive.into_iter().collect::<Vec<_>>(), "seed {seed}");
    }
}
