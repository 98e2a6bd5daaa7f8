//! Every file of every corpus, through the same functions that the fuzzers call: what was found once stays mended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use everack_fuzz_checks::{Check, TARGETS};

/// No input may take longer, not even on a busy machine and without optimisation.
const LONGEST: Duration = Duration::from_secs(5);
/// A corpus is a part of the repository: it stays small, in bytes.
const CORPUS_BYTES_MAX: u64 = 1 << 20;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

fn files(target: &str) -> Vec<PathBuf> {
    let folder = corpus().join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    files.sort();
    files
}

fn replay(target: &str, check: Check) {
    let files = files(target);
    assert!(
        files.len() >= 5,
        "the corpus of `{target}` has {} files",
        files.len()
    );
    let mut total = 0;
    for file in files {
        let bytes = fs::read(&file).expect("the file can be read");
        total += bytes.len() as u64;
        let start = Instant::now();
        let result = std::panic::catch_unwind(|| check(&bytes));
        assert!(result.is_ok(), "{} fails in `{target}`", file.display());
        let took = start.elapsed();
        assert!(took < LONGEST, "{} takes {took:?} in `{target}`", file.display());
    }
    assert!(
        total < CORPUS_BYTES_MAX,
        "the corpus of `{target}` has {total} bytes"
    );
}

/// A folder without a target would be played by nobody.
#[test]
fn every_corpus_belongs_to_a_target() {
    for entry in fs::read_dir(corpus()).expect("there are corpora") {
        let name = entry.expect("the folder can be read").file_name();
        assert!(
            TARGETS.iter().any(|(target, _)| *target == name),
            "{name:?} is no target"
        );
    }
}

macro_rules! replayed {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            let name = stringify!($target);
            let (_, check) = TARGETS.iter().find(|(target, _)| *target == name).expect("the target exists");
            replay(name, *check);
        })*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($target)),*];
            assert!(TARGETS.iter().all(|(target, _)| replayed.contains(target)));
        }
    };
}

replayed! { checkpoints connection cuts frames methods records segments tables }
