//! The file system as a program sees it, through the kernel: what survives a cut, every way of being bad, and that it is
//! an ordinary file system while nothing is wrong. Needs root and /dev/fuse: without them these tests fail.

use everack_powerfail::disk::Settings;
use everack_powerfail::{Mode, Mounted, Outcome, Status};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A mounted file system of a test's own.
struct Lab {
    mounted: Mounted,
    _folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::new(folder.path().join("backing"));
        let mounted =
            Mounted::new(settings, &folder.path().join("disk")).unwrap_or_else(|error| panic!("{error:#}"));
        Self {
            mounted,
            _folder: folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mounted.at().join(name)
    }

    fn create(&self, name: &str) -> File {
        let mut options = File::options();
        let options = options.read(true).write(true).create_new(true);
        options.open(self.path(name)).unwrap()
    }

    /// A file that no cut takes.
    fn durable(&self, name: &str, bytes: &[u8]) -> File {
        let file = self.create(name);
        file.write_all_at(bytes, 0).unwrap();
        file.sync_all().unwrap();
        self.sync_folder();
        file
    }

    fn sync_folder(&self) {
        File::open(self.mounted.at()).unwrap().sync_all().unwrap();
    }

    fn set(&self, mode: &str) {
        self.mounted.set(mode.parse::<Mode>().unwrap());
    }

    fn cut(&self, outcome: Outcome) {
        self.mounted.cut(outcome, 1).unwrap();
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(name)).ok()
    }
}

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[test]
fn a_cut_takes_what_was_not_synced_and_nothing_stale_is_seen() {
    let lab = Lab::new();
    let old = vec![b'o'; 300_000];
    let file = lab.durable("file", &old);
    file.write_all_at(&vec![b'n'; 400_000], 0).unwrap();
    lab.create("unsynced").write_all(b"gone").unwrap();
    fs::rename(lab.path("file"), lab.path("renamed")).unwrap();
    assert_eq!(lab.read("renamed"), Some(vec![b'n'; 400_000]));
    assert!(lab.path("unsynced").exists());
    lab.cut(Outcome::Nothing);
    assert_eq!(lab.read("file"), Some(old));
    assert_eq!(fs::metadata(lab.path("file")).unwrap().len(), 300_000);
    assert!(!lab.path("unsynced").exists());
    assert!(!lab.path("renamed").exists());
    assert_eq!(fs::read_dir(lab.mounted.at()).unwrap().count(), 1);
}

#[test]
fn a_handle_from_before_a_cut_answers_eio() {
    let lab = Lab::new();
    let file = lab.durable("file", b"kept");
    let folder = File::open(lab.mounted.at()).unwrap();
    lab.cut(Outcome::Everything);
    assert_eq!(errno(file.write_at(b"late", 0)), EIO);
    assert_eq!(errno(file.read_at(&mut [0; 4], 0)), EIO);
    assert_eq!(errno(file.sync_data()), EIO);
    drop(folder);
    assert_eq!(lab.read("file"), Some(b"kept".to_vec()));
    // By path there is a way to the new disk, but not while the power is off.
    lab.mounted.switch_off();
    assert_eq!(errno(fs::rename(lab.path("file"), lab.path("other"))), EIO);
    assert_eq!(errno(File::create(lab.path("new"))), EIO);
    assert_eq!(errno(fs::read_dir(lab.mounted.at()).map(Iterator::count)), EIO);
    lab.cut(Outcome::Nothing);
    assert_eq!(lab.read("file"), Some(b"kept".to_vec()));
    // Life goes on with new handles.
    lab.durable("new", b"new");
    lab.cut(Outcome::Nothing);
    assert_eq!(lab.read("new"), Some(b"new".to_vec()));
}

#[test]
fn everything_survives_if_the_cut_says_so() {
    let lab = Lab::new();
    lab.create("file").write_all(&vec![7; 5 << 20]).unwrap();
    lab.cut(Outcome::Everything);
    assert_eq!(lab.read("file"), Some(vec![7; 5 << 20]));
}

#[test]
fn a_liar_loses() {
    let lab = Lab::new();
    lab.set("lying");
    lab.durable("file", b"trust me");
    assert_eq!(lab.read("file"), Some(b"trust me".to_vec()));
    lab.cut(Outcome::Nothing);
    assert_eq!(lab.read("file"), None);
}

#[test]
fn errors_come_when_they_are_due() {
    let lab = Lab::new();
    let file = lab.durable("file", b"0123");
    lab.set("eio:write:2");
    file.write_all_at(b"a", 0).unwrap();
    assert_eq!(errno(file.write_at(b"b", 0)), EIO);
    lab.set("eio:read:1");
    assert_eq!(errno(file.read_at(&mut [0; 4], 0)), EIO);
    lab.set("eio:fsync:1");
    assert_eq!(errno(file.sync_data()), EIO);
    file.sync_data().unwrap();
    lab.set("fsync-once");
    file.write_all_at(b"z", 0).unwrap();
    assert_eq!(errno(file.sync_all()), EIO);
    file.sync_all().unwrap();
    assert_eq!(lab.read("file"), Some(b"z123".to_vec()), "shown while it is open");
    drop(file);
    wait_until(|| lab.read("file") == Some(b"a123".to_vec()));
    assert_eq!(lab.mounted.status().faults_fired, 4);
}

/// The kernel tells of a closed handle a moment later.
fn wait_until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "it never happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_full_disk_says_so() {
    let lab = Lab::new();
    let mut file = lab.create("file");
    lab.set("enospc:1000000");
    let mut written = 0;
    let error = loop {
        match file.write(&[1; 50_000]) {
            Ok(bytes) => written += bytes,
            Err(error) => break error,
        }
    };
    assert_eq!(error.raw_os_error(), Some(ENOSPC));
    assert!((900_000..=1_000_000).contains(&written), "{written}");
    assert_eq!(fs::metadata(lab.path("file")).unwrap().len(), written as u64);
    fs::remove_file(lab.path("file")).unwrap();
    drop(file);
    let other = lab.create("other");
    wait_until(|| other.write_at(&[1; 50_000], 0).is_ok());
}

#[test]
fn short_writes_are_short_and_slow_calls_slow() {
    let lab = Lab::new();
    let file = lab.create("file");
    lab.set("short:1");
    let taken = file.write_at(&[1; 10_000], 0).unwrap();
    assert!((1..10_000).contains(&taken), "{taken}");
    file.write_all_at(&[2; 100], 0).unwrap();
    lab.set("normal");
    lab.set("slow:30");
    let start = Instant::now();
    file.write_all_at(b"x", 0).unwrap();
    file.sync_data().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(60));
    assert!(lab.mounted.status().figures.sync_longest_ms >= 30.0);
}

#[test]
fn bits_turn_over() {
    let lab = Lab::new();
    let _file = lab.durable("file", &[0xFF; 5000]);
    let ones = |lab: &Lab| -> u32 {
        lab.read("file")
            .unwrap()
            .iter()
            .map(|byte| byte.count_ones())
            .sum()
    };
    assert_eq!(ones(&lab), 40_000);
    lab.set("flip-read:1");
    assert!(ones(&lab) < 40_000);
    lab.set("normal");
    lab.mounted.flip(1, "file", 9).unwrap();
    assert_eq!(ones(&lab), 39_999);
}

#[test]
fn a_synced_write_needs_no_sync() {
    let lab = Lab::new();
    let _file = lab.durable("file", b"old");
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, nix::fcntl::OFlag::O_DSYNC.bits());
    let synced = options.write(true).open(lab.path("file")).unwrap();
    synced.write_all_at(b"new", 0).unwrap();
    lab.cut(Outcome::Nothing);
    assert_eq!(lab.read("file"), Some(b"new".to_vec()));
}

// ---- an ordinary file system ----

/// What a step answered: a text, or an error of the system.
type Answer = Result<String, i32>;

/// The same random steps on two folders.
struct Walk {
    folder: PathBuf,
    open: Vec<File>,
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "d/x", "d/y"];

impl Walk {
    fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            open: Vec::new(),
        }
    }

    fn step(&mut self, random: &mut fastrand::Rng) -> Answer {
        let path = self.folder.join(NAMES[random.usize(..NAMES.len())]);
        let other = self.folder.join(NAMES[random.usize(..NAMES.len())]);
        let handle = random.usize(..8);
        let (at, length) = (random.u64(..20_000), random.usize(..9_000));
        let step = random.u8(..16);
        let bytes: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        self.act(step, &path, &other, handle, at, &bytes)
            .map_err(|error| error.raw_os_error().unwrap_or(-1))
    }

    fn act(
        &mut self,
        step: u8,
        path: &Path,
        other: &Path,
        handle: usize,
        at: u64,
        bytes: &[u8],
    ) -> std::io::Result<String> {
        let mut options = File::options();
        match step {
            0 => self.keep(options.read(true).write(true).create_new(true).open(path)?),
            1 => self.keep(
                options
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .open(path)?,
            ),
            2 => options.append(true).open(path)?.write_all(bytes)?,
            3 => fs::create_dir(path)?,
            4 => fs::remove_dir(path)?,
            5 => fs::remove_file(path)?,
            6 => fs::rename(path, other)?,
            7 => fs::hard_link(path, other)?,
            8 => symlink("target", path)?,
            9 => return Ok(fs::read_link(path)?.display().to_string()),
            _ if self.open.is_empty() => {}
            _ => return self.act_on_open(step, handle, at, bytes),
        }
        Ok(String::new())
    }

    fn act_on_open(&mut self, step: u8, handle: usize, at: u64, bytes: &[u8]) -> std::io::Result<String> {
        let handle = handle % self.open.len();
        let file = &mut self.open[handle];
        match step {
            10 | 11 => file.write_all_at(bytes, at)?,
            12 => file.set_len(at)?,
            13 => {
                let mut read = vec![0; bytes.len()];
                let count = file.read_at(&mut read, at)?;
                return Ok(format!("{:?}", &read[..count]));
            }
            14 => {
                file.seek(SeekFrom::End(-(at.min(100) as i64)))?;
                let mut rest = Vec::new();
                file.read_to_end(&mut rest)?;
                return Ok(format!("{rest:?}"));
            }
            _ => {
                file.sync_data()?;
                let metadata = file.metadata()?;
                let (length, links) = (metadata.len(), metadata.nlink());
                self.open.swap_remove(handle);
                return Ok(format!("{length} bytes, {links} names"));
            }
        }
        Ok(String::new())
    }

    fn keep(&mut self, file: File) {
        if self.open.len() < 8 {
            self.open.push(file);
        }
    }

    /// Everything that can be found, as text.
    fn found(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut waiting = vec![self.folder.clone()];
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let name = path.strip_prefix(&self.folder).unwrap().display().to_string();
                let what = if metadata.is_dir() {
                    waiting.push(path.clone());
                    "folder".to_owned()
                } else if metadata.is_symlink() {
                    format!("to {}", fs::read_link(&path).unwrap().display())
                } else {
                    let bytes = fs::read(&path).unwrap();
                    assert_eq!(bytes.len() as u64, metadata.len());
                    format!("{} names {:o} {bytes:?}", metadata.nlink(), metadata.mode())
                };
                found.push(format!("{name}: {what}"));
            }
        }
        found.sort();
        found
    }
}

#[test]
fn it_is_an_ordinary_file_system_when_nothing_is_wrong() {
    for seed in 0..12 {
        let lab = Lab::new();
        let real = tempfile::tempdir().unwrap();
        let (mut ours, mut theirs) = (Walk::new(lab.mounted.at()), Walk::new(real.path()));
        let (mut random, mut again) = (fastrand::Rng::with_seed(seed), fastrand::Rng::with_seed(seed));
        for step in 0..400 {
            let (here, there) = (ours.step(&mut random), theirs.step(&mut again));
            assert_eq!(here, there, "seed {seed}, step {step}");
        }
        assert_eq!(ours.found(), theirs.found(), "seed {seed}");
    }
}

// ---- the command line ----

fn powerfail(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_powerfail"))
        .args(arguments)
        .output()
        .unwrap()
}

fn ask(control: &str, words: &[&str]) -> String {
    let output = powerfail(&[&["ctl", "--control", control], words].concat());
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_command_line_mounts_cuts_and_unmounts() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (backing, at, control) = (path("backing"), path("disk"), path("control"));
    let mounted = powerfail(&[
        "mount",
        "--backing",
        &backing,
        "--at",
        &at,
        "--control",
        &control,
        "--daemon",
    ]);
    assert!(mounted.status.success(), "{mounted:?}");
    fs::write(format!("{at}/file"), b"unsynced").unwrap();
    let status: Status = serde_json::from_str(&ask(&control, &["status"])).unwrap();
    assert_eq!((status.unsynced_bytes, status.modes.as_str()), (8, "normal"));
    let cut = ask(&control, &["cut", "--seed", "5", "--outcome", "nothing"]);
    assert!(cut.contains("\"unsynced_bytes\":8"), "{cut}");
    assert_eq!(fs::read_dir(&at).unwrap().count(), 0);
    let status: Status = serde_json::from_str(&ask(&control, &["set", "slow:1"])).unwrap();
    assert_eq!(status.modes, "slow:1");
    let refused = powerfail(&["ctl", "--control", &control, "set", "sulking"]);
    assert!(!refused.status.success());
    ask(&control, &["stop"]);
    assert!(powerfail(&["ctl", "--control", &control, "status"]).status.code() == Some(1));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&at), "it is still mounted");
}

#[test]
fn a_mount_point_that_a_killed_process_left_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (at, control) = (path("disk"), path("control"));
    let mut killed = Command::new(env!("CARGO_BIN_EXE_powerfail"))
        .args([
            "mount",
            "--backing",
            &path("first"),
            "--at",
            &at,
            "--control",
            &control,
        ])
        .spawn()
        .unwrap();
    wait_until(|| {
        powerfail(&["ctl", "--control", &control, "status"])
            .status
            .success()
    });
    fs::write(format!("{at}/file"), b"gone with it").unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(fs::read_dir(&at).is_err(), "nobody serves it");
    let mounted = Mounted::new(Settings::new(path("second")), Path::new(&at)).unwrap();
    assert_eq!(fs::read_dir(mounted.at()).unwrap().count(), 0);
}
