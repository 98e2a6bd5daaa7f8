//! Random stories, and an oracle that keeps for every sector and every name what may be found there after a cut. It
//! shares nothing with the disk but the rules.

use super::*;
use std::collections::BTreeMap;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const SECTORS: u64 = 6;
const STEPS: usize = 40;

/// What may be found of one file.
#[derive(Clone, Default)]
struct File {
    /// Letters that each sector may hold; the last is what is seen.
    sectors: Vec<Vec<char>>,
    /// Lengths in sectors that it may have; the last is what is seen.
    lengths: Vec<u64>,
}

#[derive(Default)]
struct Oracle {
    files: Vec<File>,
    /// Files that a name may lead to, `None` for no file; the last is what is seen.
    names: BTreeMap<&'static str, Vec<Option<usize>>>,
}

impl Oracle {
    fn seen(&self, name: &str) -> Option<usize> {
        *self.names.get(name)?.last()?
    }

    fn name(&mut self, name: &'static str, file: Option<usize>) {
        self.names.entry(name).or_insert_with(|| vec![None]).push(file);
    }

    fn create(&mut self, name: &'static str) {
        self.files.push(File {
            sectors: vec![vec!['.']; 2 * SECTORS as usize],
            lengths: vec![0],
        });
        self.name(name, Some(self.files.len() - 1));
    }

    fn write(&mut self, file: usize, at: u64, letters: &str) {
        let file = &mut self.files[file];
        for (sector, letter) in (at as usize..).zip(letters.chars()) {
            file.sectors[sector].push(letter);
        }
        let length = file.lengths.last().unwrap();
        file.lengths.push(*length.max(&(at + letters.len() as u64)));
    }

    fn truncate(&mut self, file: usize, length: u64) {
        let file = &mut self.files[file];
        file.sectors[length as usize..]
            .iter_mut()
            .for_each(|sector| sector.push('.'));
        file.lengths.push(length);
    }

    fn sync(&mut self, file: usize) {
        let file = &mut self.files[file];
        file.sectors.iter_mut().for_each(forget_all_but_last);
        forget_all_but_last(&mut file.lengths);
    }

    fn sync_names(&mut self) {
        self.names.values_mut().for_each(forget_all_but_last);
    }

    /// Whether what was found under a name is one of the possibilities.
    fn allows(&self, name: &str, found: Option<&str>) -> bool {
        let possible = self.names.get(name).map_or(&[None][..], Vec::as_slice);
        possible.iter().any(|file| match (file, found) {
            (None, None) => true,
            (Some(file), Some(letters)) => self.files[*file].allows(letters),
            _ => false,
        })
    }
}

impl File {
    fn allows(&self, letters: &str) -> bool {
        let length = letters.len() as u64;
        let last_is_part = letters.ends_with(|letter: char| letter.is_ascii_lowercase());
        let torn = last_is_part || !self.lengths.contains(&length);
        // A torn write may end anywhere in what it would have added.
        let length_fits = !torn || self.lengths.iter().any(|possible| *possible >= length);
        length_fits
            && letters
                .chars()
                .zip(&self.sectors)
                .all(|(letter, possible)| match letter {
                    '?' => possible.len() > 1,
                    _ => possible.contains(&letter.to_ascii_uppercase()) || self.grown(letter),
                })
    }

    /// Zeros where a length came without its bytes, or where an extension came without the cut before it.
    fn grown(&self, letter: char) -> bool {
        letter == '.' && self.lengths.len() > 1
    }
}

fn forget_all_but_last<T: Clone>(possible: &mut Vec<T>) {
    let last = possible.last().cloned();
    possible.clear();
    possible.extend(last);
}

/// One random step, told to the disk and to the oracle.
fn step(bench: &mut Bench, oracle: &mut Oracle, random: &mut fastrand::Rng) {
    let name = NAMES[random.usize(..NAMES.len())];
    let Some(file) = oracle.seen(name) else {
        bench.tell(&format!("create {name}"));
        return oracle.create(name);
    };
    match random.u8(..12) {
        0..5 => {
            let at = random.u64(..SECTORS);
            let letters: String = (0..random.u64(1..=SECTORS))
                .map(|_| random.char('A'..='Z'))
                .collect();
            bench.tell(&format!("write {name} {at} {letters}"));
            oracle.write(file, at, &letters);
        }
        5..8 => {
            bench.tell(&format!("sync {name}"));
            oracle.sync(file);
            if bench.disk.settings.model == Model::Ext4 {
                oracle.sync_names();
            }
        }
        8 => {
            let length = random.u64(..SECTORS);
            bench.tell(&format!("truncate {name} {length}"));
            oracle.truncate(file, length);
        }
        9 => {
            bench.tell("syncdir");
            oracle.sync_names();
        }
        10 => {
            bench.tell(&format!("remove {name}"));
            oracle.name(name, None);
        }
        _ => {
            let other = NAMES[random.usize(..NAMES.len())];
            bench.tell(&format!("rename {name} {other}"));
            if name != other {
                oracle.name(name, None);
                oracle.name(other, Some(file));
            }
        }
    }
}

fn by_name(found: &str) -> BTreeMap<&str, &str> {
    let entries = found.split_whitespace().filter_map(|entry| entry.split_once('='));
    entries.collect()
}

#[test]
fn what_a_cut_leaves_is_always_one_of_the_possibilities() {
    for seed in 0..400 {
        let mut random = fastrand::Rng::with_seed(seed);
        let model = if seed % 2 == 0 { Model::Posix } else { Model::Ext4 };
        let mut bench = Bench::new(model);
        let mut oracle = Oracle::default();
        (0..STEPS).for_each(|_| step(&mut bench, &mut oracle, &mut random));
        let outcome = Outcome::ALL[random.usize(..4)];
        let before = bench.found();
        bench.disk.cut(outcome, seed).unwrap();
        let found = bench.found();
        let found_by_name = by_name(&found);
        for name in NAMES {
            let there = found_by_name.get(name).copied();
            assert!(
                oracle.allows(name, there),
                "seed {seed}, {model:?}, {outcome:?}: {name} is {there:?}; before: {before}; after: {found}"
            );
        }
        assert!(outcome != Outcome::Everything || before == found, "seed {seed}");
    }
}

#[test]
fn after_syncing_everything_a_cut_takes_nothing() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bench = Bench::new(Model::Posix);
        let mut oracle = Oracle::default();
        (0..STEPS).for_each(|_| step(&mut bench, &mut oracle, &mut random));
        for name in NAMES.iter().filter(|name| oracle.seen(name).is_some()) {
            bench.tell(&format!("sync {name}"));
        }
        bench.tell("syncdir");
        let before = bench.found();
        let status = bench.disk.status();
        assert_eq!(status.unsynced_names, 0);
        bench.disk.cut(Outcome::ALL[random.usize(..4)], seed).unwrap();
        assert_eq!(bench.found(), before, "seed {seed}");
    }
}
