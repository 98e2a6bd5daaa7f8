//! The ordinary seeds: a thousand histories in which nothing is broken and everything happens; and the same seed twice is the same history.

use everack_simulator::campaign;
use everack_simulator::flaw::Flaw;

const SEEDS: u64 = 1000;

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
