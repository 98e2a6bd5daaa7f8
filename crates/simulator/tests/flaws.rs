//! The simulator can fail: known bugs that are put back are found, each within so many seeds. Rarer ones need more than an ordinary test has
//! time for; `simulator flaws` looks for all of them (docs/internals/simulator.md has the table).

use everack_simulator::campaign;
use everack_simulator::flaw::Flaw;

/// Bugs that take more seeds than these.
const RARE: [Flaw; 5] = [
    Flaw::ReusesTransactionNumbers,
    Flaw::IgnoresSyncErrors,
    Flaw::WaitsForLongSyncs,
    Flaw::ForgetsFailures,
    Flaw::RefusesTooSoon,
];
const SEEDS: u64 = 250;

#[test]
fn known_bugs_are_found() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut missed = Vec::new();
    for flaw in Flaw::ALL.into_iter().filter(|flaw| !RARE.contains(flaw)) {
        let first = campaign::first(flaw, 1, SEEDS, threads);
        println!("{}: first in {first:?}", flaw.name());
        if first.is_none() {
            missed.push(flaw);
        }
    }
    assert_eq!(missed, []);
}
