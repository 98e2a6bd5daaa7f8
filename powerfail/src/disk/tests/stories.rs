//! Stories, and for each outcome exactly what may be left of them.

use super::*;

/// What may be left, by outcome. For the two that are left to chance every possibility has to be seen, too.
struct Left {
    nothing: &'static str,
    /// Beyond `nothing` and `everything`, which are always possible.
    prefix: &'static [&'static str],
    sectors: &'static [&'static str],
    everything: &'static str,
}

fn check(model: Model, story: &str, left: &Left) {
    let both = [left.nothing, left.everything];
    let expected = |more: &[&'static str]| -> BTreeSet<String> {
        both.iter().chain(more).map(|found| (*found).to_owned()).collect()
    };
    let one = |found: &str| BTreeSet::from([found.to_owned()]);
    for (outcome, expected) in [
        (Outcome::Nothing, one(left.nothing)),
        (Outcome::Everything, one(left.everything)),
        (Outcome::Prefix, expected(left.prefix)),
        (Outcome::Sectors, expected(left.sectors)),
    ] {
        assert_eq!(
            left_by(model, story, outcome),
            expected,
            "{model:?} {outcome:?}: {story}"
        );
    }
}

/// A story whose last change is the only one that a cut may take, and takes whole.
fn all_or_nothing(story: &str, nothing: &'static str, everything: &'static str) {
    let left = Left {
        nothing,
        prefix: &[],
        sectors: &[],
        everything,
    };
    check(Model::Posix, story, &left);
    check(Model::Ext4, story, &left);
}

/// A story of which a cut takes nothing.
fn safe(story: &str, found: &'static str) {
    all_or_nothing(story, found, found);
}

const DURABLE: &str = "create a; write a 0 AB; sync a; create b; write b 0 XY; sync b; syncdir;";

#[test]
fn what_is_synced_stays() {
    safe(DURABLE, "a=AB b=XY");
    safe(&format!("{DURABLE} write a 1 CD; sync a"), "a=ACD b=XY");
    safe(&format!("{DURABLE} write a 5 C; sync a"), "a=AB...C b=XY");
    safe(&format!("{DURABLE} truncate a 1; sync a"), "a=A b=XY");
    safe(
        &format!("{DURABLE} truncate a 0; truncate a 3; sync a"),
        "a=... b=XY",
    );
    safe(
        &format!("{DURABLE} truncate a 0; write a 1 C; sync a"),
        "a=.C b=XY",
    );
    safe(&format!("{DURABLE} allocate a 4; sync a"), "a=AB.. b=XY");
    safe(&format!("{DURABLE} rename a b; syncdir"), "b=AB");
    safe(&format!("{DURABLE} remove a; syncdir"), "b=XY");
    safe(
        &format!("{DURABLE} link a c; syncdir; remove a; syncdir"),
        "b=XY c=AB",
    );
    safe(
        "mkdir d; create d/x; write d/x 0 A; sync d/x; syncdir d; syncdir",
        "d/ d/x=A",
    );
}

#[test]
fn names_are_as_durable_as_their_folder() {
    all_or_nothing(&format!("{DURABLE} rename a c"), "a=AB b=XY", "b=XY c=AB");
    all_or_nothing(&format!("{DURABLE} rename a b"), "a=AB b=XY", "b=AB");
    all_or_nothing(&format!("{DURABLE} remove a"), "a=AB b=XY", "b=XY");
    all_or_nothing(&format!("{DURABLE} link a c"), "a=AB b=XY", "a=AB b=XY c=AB");
    all_or_nothing(&format!("{DURABLE} create c"), "a=AB b=XY", "a=AB b=XY c=");
    all_or_nothing(
        &format!("{DURABLE} mkdir d; syncdir; rename a d/a"),
        "a=AB b=XY d/",
        "b=XY d/ d/a=AB",
    );
    // Of a rename between two folders one sync is enough: it happens whole.
    safe(
        &format!("{DURABLE} mkdir d; syncdir; rename a d/a; syncdir d"),
        "b=XY d/ d/a=AB",
    );
    safe(
        &format!("{DURABLE} mkdir d; syncdir; rename a d/a; syncdir"),
        "b=XY d/ d/a=AB",
    );
}

#[test]
fn a_file_without_a_durable_name_is_gone() {
    let story = "create a; write a 0 A; sync a";
    let nameless = Left {
        nothing: "",
        prefix: &[],
        sectors: &[],
        everything: "a=A",
    };
    check(Model::Posix, story, &nameless);
    // ext4 is kinder: the same journal holds the name.
    for outcome in Outcome::ALL {
        assert_eq!(
            left_by(Model::Ext4, story, outcome),
            BTreeSet::from(["a=A".to_owned()])
        );
    }
    let in_a_folder = Left {
        nothing: "",
        prefix: &[],
        sectors: &[],
        everything: "d/ d/x=A",
    };
    check(
        Model::Posix,
        "mkdir d; create d/x; write d/x 0 A; sync d/x; syncdir d",
        &in_a_folder,
    );
}

#[test]
fn renames_survive_in_any_combination_or_in_order() {
    let story = format!("{DURABLE} rename a c; rename c d");
    let any = Left {
        nothing: "a=AB b=XY",
        prefix: &["b=XY c=AB"],
        // The first was lost and the second survived: both names.
        sectors: &["b=XY c=AB", "a=AB b=XY d=AB"],
        everything: "b=XY d=AB",
    };
    check(Model::Posix, &story, &any);
    let in_order = Left {
        nothing: "a=AB b=XY",
        prefix: &["b=XY c=AB"],
        sectors: &["b=XY c=AB"],
        everything: "b=XY d=AB",
    };
    check(Model::Ext4, &story, &in_order);
    // A folder has one name, whatever is lost.
    let folder = Left {
        nothing: "d/",
        prefix: &["e/"],
        sectors: &["e/"],
        everything: "f/",
    };
    check(Model::Posix, "mkdir d; syncdir; rename d e; rename e f", &folder);
}

#[test]
fn each_sector_has_its_own_fate() {
    let story = format!("{DURABLE} write a 0 CD");
    let torn = Left {
        nothing: "a=AB b=XY",
        prefix: &["a=?B b=XY", "a=C? b=XY"],
        sectors: &[
            "a=CB b=XY",
            "a=AD b=XY",
            "a=?B b=XY",
            "a=A? b=XY",
            "a=?D b=XY",
            "a=C? b=XY",
            "a=?? b=XY",
        ],
        everything: "a=CD b=XY",
    };
    check(Model::Posix, &story, &torn);
    let old_or_new = Left {
        sectors: &["a=CB b=XY", "a=AD b=XY"],
        ..torn
    };
    check(Model::Ext4, &story, &old_or_new);
}

#[test]
fn a_length_may_come_before_its_bytes_or_not_at_all() {
    let story = "create a; sync a; syncdir; write a 0 A";
    let any = Left {
        nothing: "a=",
        prefix: &["a=a"],
        sectors: &["a=.", "a=?"],
        everything: "a=A",
    };
    check(Model::Posix, story, &any);
    let ordered = Left { sectors: &[], ..any };
    check(Model::Ext4, story, &ordered);
}

#[test]
fn a_prefix_goes_through_all_files_in_the_order_of_time() {
    let story = format!("{DURABLE} truncate a 1; truncate b 1; remove a");
    let left = left_by(Model::Posix, &story, Outcome::Prefix);
    let expected = ["a=AB b=XY", "a=A b=XY", "a=A b=X", "b=X"];
    assert_eq!(left, expected.map(str::to_owned).into());
}

#[test]
fn what_is_seen_does_not_wait_for_a_sync() {
    let cases = [
        ("create a; write a 0 AB; write a 1 C", "a=AC"),
        ("create a; write a 0 ABC; truncate a 1; write a 2 D", "a=A.D"),
        ("create a; write a 0 A; rename a b; create a", "a= b=A"),
        ("mkdir d; create d/x; rename d e", "e/ e/x="),
        ("create a; write a 0 A; link a b; remove a", "b=A"),
        ("mkdir d; rmdir d", ""),
    ];
    for (story, found) in cases {
        assert_eq!(Bench::after(Model::Posix, story).found(), found, "{story}");
    }
}

#[test]
fn what_must_not_be_done_is_refused() {
    let cases = [
        ("create a", "create a", Errno::EEXIST),
        ("create a", "mkdir a", Errno::EEXIST),
        ("", "remove a", Errno::ENOENT),
        ("", "rename a b", Errno::ENOENT),
        ("mkdir d", "remove d", Errno::EISDIR),
        ("create a", "rmdir a", Errno::ENOTDIR),
        ("mkdir d; create d/x", "rmdir d", Errno::ENOTEMPTY),
        ("mkdir d; create d/x; mkdir e", "rename e d", Errno::ENOTEMPTY),
        ("create a; mkdir d", "rename a d", Errno::EISDIR),
        ("create a; mkdir d", "rename d a", Errno::ENOTDIR),
        ("mkdir d", "link d e", Errno::EPERM),
        ("create a", "create a/b", Errno::ENOTDIR),
        ("mkdir d", "write d 0 A", Errno::EISDIR),
    ];
    for (story, step, refusal) in cases {
        let mut bench = Bench::after(Model::Posix, story);
        assert_eq!(bench.step(step), Err(refusal), "{story}; {step}");
    }
}
