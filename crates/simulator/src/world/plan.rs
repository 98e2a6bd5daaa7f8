//! What a history is going to be like, drawn from its seed before it begins.

use everack_storage::disk::Outcome;

use super::desk::Taste;
use super::families;
use crate::disk::Pace;
use crate::random::Random;

/// See the module documentation.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) agents: usize,
    pub(super) lives: Vec<Life>,
    pub(super) taste: Taste,
    /// Queues with rules that there are besides the plain ones.
    pub(super) families: Vec<&'static str>,
    pub(super) pace: Pace,
    /// Bytes of durable messages kept in memory.
    pub(super) resident_bytes_max: u64,
    pub(super) partitions: u16,
    /// How often the upkeep looks, in microseconds; a process does every 100 ms, and has more to do in between.
    pub(super) upkeep_us: u64,
    /// The last reading of all queues is done in the last life, without a restart before it.
    pub(super) ends_alive: bool,
}

/// From one start to the end of the process.
#[derive(Clone, Debug)]
pub(super) struct Life {
    /// After so many steps it ends, if nothing ends it before.
    pub(super) steps: u64,
    pub(super) end: End,
    /// The power goes during this call to the disk, counted from the start of the life.
    pub(super) crash_call: Option<u64>,
    /// The power goes during this call of the first round of the upkeep that begins after half of the steps.
    pub(super) crash_in_upkeep: Option<u64>,
    /// The power goes during these calls of recovery, one after the other.
    pub(super) crash_in_recovery: Vec<u64>,
    /// This call to the disk is answered with EIO.
    pub(super) broken_call: Option<u64>,
    /// After so many steps there is room for so many bytes more, until as many steps later.
    pub(super) full: Option<(u64, u64, u64)>,
    /// Nobody does anything for a while, after so many steps.
    pub(super) siesta: Option<u64>,
    /// Rot in a record, after so many steps, or before the start.
    pub(super) rot_alive: Option<u64>,
    pub(super) rot_record: bool,
    pub(super) rot_checkpoint: bool,
    /// All queues are read before anybody else may touch them.
    pub(super) audited: bool,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The power goes.
    Power(Outcome),
    /// kill -9: what was written stays in the page cache.
    Kill,
    /// The process is asked to stop.
    Stop,
}

impl End {
    pub(super) fn draw(random: &mut Random) -> Self {
        match random.below(10) {
            0 => End::Stop,
            1 | 2 => End::Kill,
            _ => End::Power(*random.pick(&Outcome::ALL)),
        }
    }

    /// What it is called in the coverage.
    pub(super) fn kind(self) -> &'static str {
        match self {
            End::Power(Outcome::Nothing) => "power lost: nothing survives",
            End::Power(Outcome::Prefix) => "power lost: a prefix survives",
            End::Power(Outcome::Sectors) => "power lost: some sectors survive",
            End::Power(Outcome::Everything) => "power lost: everything survives",
            End::Kill => "processes killed",
            End::Stop => "processes stopped in order",
        }
    }
}

impl Plan {
    pub(super) fn draw(random: &mut Random) -> Self {
        let pace = match random.below(6) {
            0 => Pace {
                least_us: 5,
                most_us: 60,
                hiccup_in: 0,
            },
            1 => Pace {
                least_us: 4_000,
                most_us: 20_000,
                hiccup_in: 9,
            },
            // Syncs much longer than what a settlement may lie, and hardly one longer than the others.
            2 => Pace {
                least_us: 40_000,
                most_us: 48_000,
                hiccup_in: 0,
            },
            _ => Pace {
                least_us: 150,
                most_us: 1_500,
                hiccup_in: 25,
            },
        };
        // One kind of trouble with the disk at most, so that what it may cost is known.
        let trouble = random.below(14);
        let lives = if trouble == STORM { 4 } else { random.between(1, 4) };
        Self {
            agents: random.between(2, 4) as usize,
            lives: (0..lives)
                .map(|index| match trouble {
                    STORM => Life::in_storm(random),
                    _ => Life::draw(random, trouble, index),
                })
                .collect(),
            taste: if trouble == STORM { STORMY } else { taste(random) },
            families: if trouble == STORM {
                Vec::new()
            } else {
                families::draw(random)
            },
            upkeep_us: if trouble == STORM {
                400_000
            } else {
                *random.pick(&[3_000, 12_000, 12_000, 150_000])
            },
            pace,
            resident_bytes_max: *random.pick(&[0, 4 << 10, 1 << 20]),
            partitions: *random.pick(&[1, 2, 2, 3]),
            ends_alive: random.once_in(3),
        }
    }
}

impl Life {
    fn in_storm(random: &mut Random) -> Self {
        Self {
            steps: 4_000,
            end: End::Power(*random.pick(&[Outcome::Prefix, Outcome::Sectors])),
            crash_call: Some(random.between(60, 300)),
            audited: random.once_in(2),
            ..Self::draw(random, STORM, 0)
        }
        .without_delay()
    }

    /// Recovery is left alone, and nobody rests.
    fn without_delay(mut self) -> Self {
        self.crash_in_recovery.clear();
        self.siesta = None;
        self
    }

    fn draw(random: &mut Random, trouble: u64, index: u64) -> Self {
        let steps = random.between(200, 3_000);
        let some = |random: &mut Random, one_in: u64, most: u64| {
            random.once_in(one_in).then(|| random.between(1, most))
        };
        let crash_in_recovery = match random.below(6) {
            0 => vec![random.between(1, 60)],
            1 if random.once_in(2) => vec![random.between(1, 60), random.between(1, 40)],
            _ => Vec::new(),
        };
        let full = (1..=3).contains(&trouble).then(|| {
            (
                random.below(steps / 3),
                random.below(30 << 10),
                random.between(steps / 8, steps / 2),
            )
        });
        Self {
            steps,
            end: End::draw(random),
            crash_call: some(random, 3, 900),
            crash_in_upkeep: some(random, 4, 50),
            crash_in_recovery,
            broken_call: (4..=6).contains(&trouble).then(|| random.between(1, 600)),
            full,
            siesta: random.once_in(4).then(|| random.below(steps)),
            rot_alive: (trouble == 7).then(|| random.below(steps)),
            rot_record: trouble == 8 || trouble == 9,
            // Twice would be both files of one checkpoint.
            rot_checkpoint: trouble == 10 && index == 1,
            audited: random.below(3) > 0,
        }
    }
}

/// The kind of trouble that is none: transactions of some sectors, one after the other; the power goes while they are written; and no
/// upkeep hides what they leave in the log.
const STORM: u64 = 11;

const STORMY: Taste = Taste {
    publish: 12,
    get: 6,
    consume: 1,
    cancel: 0,
    settle: 6,
    put_back: 1,
    recover: 0,
    declare: 1,
    delete: 0,
    bind: 2,
    purge: 0,
    commit: 30,
    close_channel: 0,
    close: 0,
    die: 0,
    dawdle: 1,
    huge_in: 4000,
    bytes_max: 900,
    transactions: 100,
};

fn taste(random: &mut Random) -> Taste {
    let mut some = |usual: u64| usual * [0, 1, 1, 3][random.below(4) as usize];
    Taste {
        publish: some(8) + 4,
        get: some(10),
        consume: some(5),
        cancel: some(2),
        settle: some(20) + 4,
        put_back: some(4),
        recover: some(2),
        declare: some(3) + 1,
        delete: some(1),
        bind: some(4),
        purge: some(1),
        commit: some(10) + 4,
        close_channel: some(1),
        close: some(1),
        die: some(1),
        dawdle: some(1),
        huge_in: *random.pick(&[40, 400, 4000]),
        bytes_max: *random.pick(&[30, 300, 3000]),
        transactions: *random.pick(&[0, 20, 60]),
    }
}
