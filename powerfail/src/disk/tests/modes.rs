//! Each way of being bad, and the bounds.

use super::*;

const BLOCK: usize = BLOCK_BYTES as usize;

/// A disk with a durable file `a` and its node.
fn with_a(letters: &str) -> (Bench, Node) {
    let bench = Bench::after(
        Model::Posix,
        &format!("create a; write a 0 {letters}; sync a; syncdir"),
    );
    let node = bench.node("a").unwrap();
    (bench, node)
}

fn after_cut(mut bench: Bench) -> String {
    bench.disk.cut(Outcome::Nothing, 0).unwrap();
    bench.found()
}

#[test]
fn a_liar_says_ok_and_keeps_nothing() {
    let (mut bench, _) = with_a("A");
    bench.tell("set lying; write a 0 B; sync a; create c; syncdir");
    assert_eq!(bench.found(), "a=B c=");
    assert_eq!(after_cut(bench), "a=A");
}

#[test]
fn a_sync_that_fails_once_drops_what_it_should_have_written() {
    let (mut bench, node) = with_a("AA");
    bench.disk.open(node).unwrap();
    bench.tell("set fsync-once; sync a; write a 0 B");
    assert_eq!(bench.step("sync a"), Err(Errno::EIO));
    // The second says that all is well, and readers still see it.
    bench.tell("sync a; write a 1 C; sync a");
    assert_eq!(bench.found(), "a=BC");
    bench.disk.close(node);
    assert_eq!(bench.found(), "a=AC", "nobody has it open: the cache is gone");
    assert_eq!(after_cut(bench), "a=AC");
}

#[test]
fn the_length_too_is_dropped_by_a_failed_sync() {
    let (mut bench, node) = with_a("A");
    bench.disk.open(node).unwrap();
    bench.tell("set fsync-once; write a 1 BC");
    assert_eq!(bench.step("sync a"), Err(Errno::EIO));
    bench.tell("sync a; write a 3 D; sync a");
    assert_eq!(bench.found(), "a=ABCD");
    assert_eq!(after_cut(bench), "a=A..D");
}

#[test]
fn the_nth_call_fails_and_changes_nothing() {
    let (mut bench, node) = with_a("A");
    bench.tell("set eio:write:2; write a 0 B");
    assert_eq!(bench.step("write a 0 C"), Err(Errno::EIO));
    bench.tell("set eio:fsync:1");
    assert_eq!(bench.step("sync a"), Err(Errno::EIO));
    bench.tell("set eio:read:1");
    assert_eq!(bench.disk.read(node, 0, 1), Err(Errno::EIO));
    bench.tell("set eio:fsync:1; create c");
    assert_eq!(bench.step("syncdir"), Err(Errno::EIO));
    assert_eq!(bench.found(), "a=B c=");
    // Nothing was dropped: a second try does it.
    bench.tell("sync a; syncdir");
    assert_eq!(after_cut(bench), "a=B c=");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (mut bench, node) = with_a("A");
    bench.disk.set(Mode::Enospc(4 * BLOCK_BYTES));
    // The root and one block of `a`: two are left.
    assert_eq!(bench.disk.space().free, 2 * BLOCK_BYTES);
    assert_eq!(
        bench.disk.allocate(node, 4 * BLOCK_BYTES, true),
        Err(Errno::ENOSPC)
    );
    assert_eq!(bench.disk.write(node, 0, &[1; 4 * BLOCK], false), Ok(3 * BLOCK));
    assert_eq!(
        bench.disk.write(node, 3 * BLOCK_BYTES, &[1], false),
        Err(Errno::ENOSPC)
    );
    assert_eq!(
        bench.disk.write(node, 0, &[2; BLOCK], false),
        Ok(BLOCK),
        "no growth"
    );
    bench.tell("truncate a 1");
    assert_eq!(bench.disk.space().free, 2 * BLOCK_BYTES);
    bench.tell("remove a");
    assert_eq!(bench.disk.space().free, 3 * BLOCK_BYTES);
}

#[test]
fn short_writes_take_a_part() {
    let (mut bench, node) = with_a("A");
    bench.tell("set short:2");
    assert_eq!(bench.disk.write(node, 0, &[1; 100], false), Ok(100));
    let taken = bench.disk.write(node, 0, &[1; 100], false).unwrap();
    assert!((1..100).contains(&taken), "{taken}");
    assert_eq!(bench.disk.write(node, 0, &[1; 100], false), Ok(100));
    assert_eq!(bench.disk.status().faults_fired, 1);
}

fn bits_that_differ(left: &[u8], right: &[u8]) -> u32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(a, b)| (a ^ b).count_ones()).sum()
}

#[test]
fn bits_turn_over_on_their_way_or_at_rest() {
    let (mut bench, node) = with_a("ABC");
    let whole = bytes_of("ABC");
    bench.tell("set flip-read:2");
    let mut read = || bench.disk.read(node, 0, u64::MAX).unwrap();
    let reads = [read(), read(), read(), read()];
    assert_eq!(reads.map(|bytes| bits_that_differ(&bytes, &whole)), [0, 1, 0, 1]);
    bench.tell("set normal");
    let flipped = bench.disk.flip(1, "a", 3).unwrap();
    let rotten = bench.disk.read(node, 0, u64::MAX).unwrap();
    assert_eq!(bits_that_differ(&rotten, &whole), 1);
    let place = &flipped[0];
    assert_eq!(
        rotten[place.offset as usize] ^ whole[place.offset as usize],
        1 << place.bit
    );
    assert_eq!(bench.disk.flip(5, "nowhere", 0).unwrap(), []);
}

#[test]
fn handles_from_before_a_cut_are_dead() {
    let (mut bench, node) = with_a("A");
    bench.disk.open(node).unwrap();
    bench.disk.cut(Outcome::Everything, 0).unwrap();
    assert_eq!(bench.disk.read(node, 0, 1), Err(Errno::EIO));
    assert_eq!(bench.disk.write(node, 0, &[1], false), Err(Errno::EIO));
    assert_eq!(bench.disk.sync(node), Err(Errno::EIO));
    bench.disk.close(node);
    assert_eq!(bench.found(), "a=A");
}

#[test]
fn a_write_with_o_dsync_is_durable() {
    let (mut bench, node) = with_a("A");
    bench.disk.write(node, 0, &bytes_of("B"), true).unwrap();
    assert_eq!(after_cut(bench), "a=B");
}

#[test]
fn what_is_pending_is_bounded() {
    let mut bench = Bench::new(Model::Posix);
    bench.disk.settings.unsynced_bytes_max = 10 * SECTOR;
    bench.tell("create a; create b; syncdir; write a 0 ABCDEF; write b 0 ABCDEF");
    let status = bench.disk.status();
    assert_eq!(
        (status.unsynced_bytes, status.figures.written_back),
        (6 * SECTOR, 1)
    );
    assert_eq!(after_cut(bench), "a=ABCDEF b=");
}

#[test]
fn names_that_wait_are_bounded() {
    let mut bench = Bench::new(Model::Posix);
    for _ in 0..RENAMINGS_MAX {
        bench.tell("create a; remove a");
    }
    let status = bench.disk.status();
    assert!(status.unsynced_names <= RENAMINGS_MAX as u64, "{status:?}");
    assert!(
        bench.disk.inodes.len() <= RENAMINGS_MAX,
        "what nobody can reach is forgotten"
    );
}

#[test]
fn what_nobody_needs_is_freed() {
    let stories = [
        "create a; write a 0 A; sync a; remove a; syncdir",
        "mkdir d; create d/x; write d/x 0 A; sync d/x; syncdir d; syncdir; remove d/x; rmdir d; syncdir",
        "create a; write a 0 A; sync a; create b; rename b a; remove a; syncdir",
    ];
    for story in stories {
        let bench = Bench::after(Model::Posix, story);
        assert_eq!(bench.disk.inodes.len(), 1, "{story}");
        let files = std::fs::read_dir(bench.backing.path()).unwrap().count();
        assert_eq!(files, 0, "{story}");
        assert_eq!(bench.disk.status().unsynced_bytes, 0, "{story}");
    }
}
