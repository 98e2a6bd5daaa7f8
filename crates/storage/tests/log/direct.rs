//! The log past the page cache: when it goes there, when it comes back, and what can be read meanwhile.

use super::{append, open, replay, try_append};
use everack_storage::{
    AppendError, Log, Options, ReadError,
    disk::{DirectWrites, Disk, Fault, Memory, Os, Outcome},
};

/// A disk on which the log is written past the page cache.
fn direct_disk() -> Memory {
    let disk = Memory::new(1);
    disk.set_direct(true);
    disk
}

/// Whether what is appended now goes past the page cache: then it is not written before its sync.
fn goes_past_cache<D: Disk>(log: &mut Log<D>) -> bool {
    let position = append(log, b"probe");
    matches!(log.reader().read(position, 100), Err(ReadError::Missing(_)))
}

/// Appends until another segment has begun.
fn fill_segment<D: Disk>(log: &mut Log<D>) {
    let segment = log.end().segment();
    while log.end().segment() == segment {
        append(log, &[1; 3000]);
    }
}

#[test]
fn groups_that_go_past_the_page_cache_are_one_write() {
    let disk = direct_disk();
    let (mut log, _) = open(disk.clone());
    let before = disk.calls();
    let written = [100, 0, 2000, 511, 4096].map(|bytes| (append(&mut log, &vec![7; bytes]), vec![7; bytes]));
    assert_eq!(disk.calls(), before, "nothing is written yet");
    log.sync().expect("the disk syncs");
    assert_eq!(disk.calls(), before + 2, "one write and one sync");
    disk.crash();
    let (log, _) = open(disk.restart(Outcome::Nothing, 1));
    assert_eq!(replay(&log.reader()), written);
}

#[test]
fn many_groups_do_not_wait_for_their_sync() {
    let disk = direct_disk();
    let (mut log, _) = open(disk.clone());
    let before = disk.calls();
    for _ in 0..9 {
        append(&mut log, b"small");
    }
    assert_eq!(disk.calls(), before + 1);
    let mut large = Log::open(direct_disk(), Options::default())
        .expect("the log opens")
        .0;
    let position = append(&mut large, &vec![1; 1 << 20]);
    assert_eq!(
        large.reader().read(position, 0).expect("it is written").len(),
        1 << 20
    );
}

#[test]
fn who_reads_from_a_segment_turns_the_rest_of_it_to_the_page_cache() {
    let (mut log, _) = open(direct_disk());
    let first = append(&mut log, b"first");
    log.sync().expect("the disk syncs");
    assert!(goes_past_cache(&mut log));
    let waits = append(&mut log, b"waits");
    assert_eq!(
        log.reader().read(first, 100).expect("it is there"),
        b"first".as_slice()
    );
    assert!(matches!(
        log.reader().read(waits, 100),
        Err(ReadError::Missing(_))
    ));
    assert!(!goes_past_cache(&mut log));
    assert_eq!(
        log.reader().read(waits, 100).expect("it is written"),
        b"waits".as_slice()
    );
}

#[test]
fn a_segment_is_begun_past_the_page_cache_when_nobody_has_read_during_the_one_before() {
    let (mut log, _) = open(direct_disk());
    let first = append(&mut log, b"first");
    fill_segment(&mut log);
    assert!(goes_past_cache(&mut log));
    log.reader().read(first, 100).expect("it is there");
    assert!(
        goes_past_cache(&mut log),
        "the segment that is read is another one"
    );
    fill_segment(&mut log);
    assert!(!goes_past_cache(&mut log));
    // Probing has read.
    fill_segment(&mut log);
    fill_segment(&mut log);
    assert!(goes_past_cache(&mut log));
}

#[test]
fn a_slow_disk_is_written_through_the_page_cache_from_the_next_segment_on() {
    let (mut log, _) = open(direct_disk());
    log.disk_is_quick(false);
    assert!(goes_past_cache(&mut log));
    fill_segment(&mut log);
    assert!(!goes_past_cache(&mut log));
    log.disk_is_quick(true);
    fill_segment(&mut log);
    fill_segment(&mut log);
    assert!(goes_past_cache(&mut log));
}

#[test]
fn a_write_past_the_page_cache_that_fails_is_told_by_the_sync() {
    for fault in [Fault::Io, Fault::Full] {
        let disk = direct_disk();
        let (mut log, _) = open(disk.clone());
        append(&mut log, b"lost");
        disk.fail_at(disk.calls() + 1, fault);
        assert!(log.sync().is_err());
        assert!(matches!(
            try_append(&mut log, b"one more"),
            Err(AppendError::Fatal(_))
        ));
        assert!(log.sync().is_err());
    }
}

#[test]
fn the_real_disk_keeps_what_goes_past_the_page_cache() {
    // Not the scratch directory, which may be memory.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    for direct_writes in [
        DirectWrites::Never,
        DirectWrites::WhereKnown,
        DirectWrites::Always,
    ] {
        let place = directory.path().join(format!("{direct_writes:?}"));
        let disk = || {
            let disk = Os::open(&place).expect("the directory opens");
            disk.with_direct_writes(direct_writes)
        };
        let (mut log, _) = open(disk());
        let mut written = Vec::new();
        for number in 0..300usize {
            let payload = vec![number as u8; number * 37 % 5000];
            written.push((append(&mut log, &payload), payload));
            if number % 5 == 0 {
                log.sync().expect("the disk syncs");
            }
            if number % 83 == 0 {
                let (position, payload) = &written[number / 2];
                assert_eq!(log.reader().read(*position, 5000).expect("it is there"), payload);
            }
        }
        log.sync().expect("the disk syncs");
        let past_cache = goes_past_cache(&mut log);
        println!("{direct_writes:?}: past the cache {past_cache}");
        assert!(direct_writes != DirectWrites::Never || !past_cache);
        drop(log);
        let (log, report) = open(disk());
        assert!(!report.clean);
        assert_eq!(replay(&log.reader())[..written.len()], written);
    }
}
