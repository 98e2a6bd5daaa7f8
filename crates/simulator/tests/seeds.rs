//! The ordinary seeds: a thousand histories in which nothing is broken and everything happens; those that have ever found something; and the
//! same seed twice is the same history.

use everack_simulator::campaign;
use everack_simulator::flaw::Flaw;

const SEEDS: u64 = 1000;

/// Seeds in which something was broken once, and is not any more. Histories change, so each has a small test of its own beside what was mended
/// (docs/internals/simulator.md, "What it has found"); this list costs little.
const KEPT: [u64; 25] = [
    1537, 10367, 17136, 19268, 22917, 24427, 24738, 25203, 27013, 29865, 29983, 32688, 33400, 34818, 34903,
    36814, 37330, 39573, 40316, 41236, 41315, 47098, 48700, 49086, 49776,
];

#[test]
fn a_thousand_histories_break_nothing() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let summary = campaign::seeds(1, threads, Flaw::None, |index| index < SEEDS);
    for (seed, violations) in &summary.failures {
        println!("cargo run -p everack-simulator --release -- --seed {seed} --trace\n    {violations:?}");
    }
    assert_eq!(summary.failures.len(), 0, "of {} histories", summary.seeds);
    assert_eq!(summary.seeds, SEEDS);
    assert_eq!(summary.coverage.missing(), [""; 0], "these never happened");
}

#[test]
fn seeds_that_have_found_something_find_nothing_any_more() {
    let broken = KEPT.into_iter().filter(|seed| {
        let told = campaign::play(*seed, Flaw::None, false);
        !told.violations.is_empty()
    });
    assert_eq!(broken.collect::<Vec<_>>(), [0; 0]);
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 2_000..2_030 {
        let [first, second] = [(); 2].map(|()| campaign::play(seed, Flaw::None, true));
        let differs = first
            .lines
            .iter()
            .zip(&second.lines)
            .position(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed} differs in line {differs:?}");
        assert_eq!(
            first.hash, second.hash,
            "seed {seed} makes other calls or sends other bytes"
        );
        assert_eq!(first.coverage, second.coverage);
    }
}

#[test]
fn another_seed_is_another_history() {
    let hashes: std::collections::BTreeSet<u64> = (1..50)
        .map(|seed| campaign::play(seed, Flaw::None, false).hash)
        .collect();
    assert_eq!(hashes.len(), 49);
}
