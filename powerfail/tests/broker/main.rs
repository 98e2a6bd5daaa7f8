//! The real binary on a disk that loses power, runs full, fails, rots, dawdles and lies. Each test wants the machine for
//! itself. Needs root and /dev/fuse: without them the tests fail.

mod client;

use anyhow::{Context, ensure};
use client::{Holder, Publisher, drain, take, take_what_comes};
use everack_compat::binary;
use everack_compat::broker::{Broker, Settings};
use everack_compat::raw::{self, Raw};
use everack_powerfail::{Mode, Mounted, Outcome, disk};
use libtest_mimic::Arguments;
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Segments that are full soon; no alarm before the disk is full.
const CONFIG: &str = "[data]\nsegment = \"1 MiB\"\nfree_min = \"0 B\"\n";
/// Behind `CONFIG`: the log is written past the page cache, although our file system does not say that it can.
const PAST_CACHE: &str = "direct_writes = \"always\"\n";
const SIGABRT: i32 = 6;
/// A settlement is durable this long after it was received, plus the syncs that it has to wait for.
const SETTLEMENT: Duration = Duration::from_millis(10);
/// What a busy machine may add between two threads' turns.
const SCHEDULING: Duration = Duration::from_millis(100);

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trial = |name: &str, act: fn(&mut Lab) -> anyhow::Result<()>| {
        everack_compat::trial(name, move || in_lab("", act))
    };
    let past_cache = |name: &str, act: fn(&mut Lab) -> anyhow::Result<()>| {
        let name = format!("past the page cache, {name}");
        everack_compat::trial(&name, move || in_lab(PAST_CACHE, act))
    };
    let trials = vec![
        past_cache(
            "power cuts of all kinds take nothing that was confirmed",
            power_cuts,
        ),
        past_cache("a write that fails stops the broker", |lab| {
            stops(lab, "eio:write:20")
        }),
        past_cache("a sync that fails stops the broker", |lab| {
            stops(lab, "eio:fsync:10")
        }),
        past_cache(
            "a full disk blocks publishers until consumers have made room",
            full_disk,
        ),
        past_cache("short writes are written to their end", short_writes),
        past_cache(
            "settlements are durable in time where syncs are slow",
            settlements,
        ),
        trial(
            "power cuts of all kinds take nothing that was confirmed",
            power_cuts,
        ),
        trial("a write that fails stops the broker", |lab| {
            stops(lab, "eio:write:20")
        }),
        trial("a sync that fails stops the broker", |lab| {
            stops(lab, "eio:fsync:10")
        }),
        trial("a sync that fails once is never tried again", |lab| {
            stops(lab, "fsync-once")
        }),
        trial(
            "a full disk blocks publishers until consumers have made room",
            full_disk,
        ),
        trial("bits that turn over are found and never delivered", rotten_bits),
        trial("a bit that turns over on its way is not believed", flipped_reads),
        trial("short writes are written to their end", short_writes),
        trial("a slow disk keeps its promises", slow_disk),
        trial(
            "what a consumer has seen is on disk, whether it was confirmed yet or not",
            seen_is_durable,
        ),
        trial(
            "a slow sync is felt by the publisher's socket, and nothing is said",
            back_pressure,
        ),
        trial(
            "settlements are durable in time where syncs are slow",
            settlements,
        ),
        trial("a disk that lies loses in every run", lying_disk),
        everack_compat::trial(
            "a short campaign under the audit is clean, and finds the liar",
            campaign,
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// A broker on a disk of ours.
struct Lab {
    broker: Broker,
    disk: Mounted,
    _folder: TempDir,
}

/// A test with a lab of its own. Where it fails, the broker's own account belongs to it.
fn in_lab(config: &str, act: fn(&mut Lab) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut lab = Lab::new(config)?;
    act(&mut lab).map_err(|error| {
        error.context(format!(
            "failed; the broker's log ends with\n{}\n",
            lab.broker.log()
        ))
    })
}

impl Lab {
    fn new(more_config: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let settings = disk::Settings::new(folder.path().join("backing"));
        let disk = Mounted::new(settings, &folder.path().join("disk"))?;
        let broker = Broker::with(Settings {
            data: Some(disk.at().join("data")),
            config: format!("{CONFIG}{more_config}"),
            ..Settings::default()
        });
        Ok(Self {
            broker,
            disk,
            _folder: folder,
        })
    }

    fn publisher(&self, first: u64, length: usize) -> Publisher {
        Publisher::start(&self.broker.url(), first..u64::MAX, length)
    }

    fn set(&self, mode: &str) -> anyhow::Result<()> {
        self.disk.set(mode.parse::<Mode>()?);
        Ok(())
    }

    /// The power goes while the broker runs, and comes back.
    fn cut(&mut self, outcome: Outcome, seed: u64) -> anyhow::Result<disk::Cut> {
        self.disk.switch_off();
        self.broker.kill();
        let cut = self.disk.cut(outcome, seed)?;
        self.restart()?;
        Ok(cut)
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        let restarted = self.broker.restart();
        restarted.context("it does not start again")?;
        Ok(())
    }

    /// Drains it: everything confirmed comes, once and whole.
    fn expect(&self, confirmed: &BTreeSet<u64>) -> anyhow::Result<()> {
        let received = drain(&self.broker.url())?;
        let lost: Vec<&u64> = confirmed.difference(&received.numbers).collect();
        ensure!(
            lost.is_empty(),
            "{} of {} confirmed are lost, the first {:?}",
            lost.len(),
            confirmed.len(),
            lost[0]
        );
        ensure!(received.damaged == 0, "{} are damaged", received.damaged);
        ensure!(received.twice.is_empty(), "twice: {:?}", received.twice);
        Ok(())
    }
}

fn power_cuts(lab: &mut Lab) -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut confirmed = BTreeSet::new();
    let mut taken = BTreeSet::new();
    let mut at_risk = 0;
    for life in 0..12u64 {
        let publisher = lab.publisher(life * 1_000_000, random.usize(20..3000));
        publisher.wait_for(random.usize(100..800))?;
        if life % 3 == 2 {
            // A part of the backlog goes, so that segments die and files are used again.
            taken.extend(take(&lab.broker.url(), confirmed.len() / 2)?.numbers);
        }
        let cut = lab.cut(Outcome::ALL[life as usize % 4], life)?;
        at_risk += cut.unsynced_bytes;
        confirmed.extend(publisher.finish());
    }
    ensure!(at_risk > 0, "no power cut hit a write: they proved nothing");
    ensure!(confirmed.len() > 1200, "only {} were confirmed", confirmed.len());
    let left: BTreeSet<u64> = confirmed.difference(&taken).copied().collect();
    lab.expect(&left)
}

/// The disk fails once, in this way: the broker ends by itself and says why, and what it confirmed is there after
/// a power cut that takes everything unsynced.
fn stops(lab: &mut Lab, mode: &str) -> anyhow::Result<()> {
    let publisher = lab.publisher(0, 500);
    publisher.wait_for(300)?;
    lab.set(mode)?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while publisher.runs() {
        ensure!(Instant::now() < deadline, "{mode}: the broker goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
    let confirmed = publisher.finish();
    let status = lab.broker.stop()?;
    ensure!(status.signal() == Some(SIGABRT), "{mode}: it ended with {status}");
    let log = lab.broker.log();
    ensure!(
        log.contains("of the log failed") && log.contains("Everack stops now"),
        "{mode}: it does not say why:\n{log}"
    );
    ensure!(
        lab.disk.status().faults_fired == 1,
        "{mode}: {:?}",
        lab.disk.status()
    );
    lab.set("normal")?;
    lab.cut(Outcome::Nothing, 0)?;
    lab.expect(&confirmed).with_context(|| mode.to_owned())
}

fn full_disk(lab: &mut Lab) -> anyhow::Result<()> {
    const BYTES: u64 = 24 << 20;
    lab.disk.set(Mode::Enospc(BYTES));
    let publisher = lab.publisher(0, 20_000);
    let stopped_at = stands_still(&publisher)?;
    ensure!(publisher.runs(), "the publisher was thrown out");
    let used = lab.disk.status().used_bytes;
    ensure!(used > BYTES / 2, "it stopped when only {used} bytes were used");
    // Consumers go on, and make room.
    let taken = take(&lab.broker.url(), stopped_at * 3 / 4)?;
    ensure!(taken.damaged == 0, "{} are damaged", taken.damaged);
    publisher.wait_for(stopped_at + 100)?;
    lab.cut(Outcome::Nothing, 0)?;
    let confirmed = publisher.finish();
    let left: BTreeSet<u64> = confirmed.difference(&taken.numbers).copied().collect();
    lab.expect(&left)
}

/// Waits until nothing is confirmed any more; how many were.
fn stands_still(publisher: &Publisher) -> anyhow::Result<usize> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let before = publisher.count();
        std::thread::sleep(Duration::from_millis(1500));
        if publisher.count() == before && before > 0 {
            return Ok(before);
        }
        ensure!(Instant::now() < deadline, "the disk never ran full");
    }
}

fn rotten_bits(lab: &mut Lab) -> anyhow::Result<()> {
    const BITS: u64 = 12;
    /// What one damaged place may take: the messages that were published together.
    const MESSAGES_A_BIT_MAX: usize = 200;
    let publisher = lab.publisher(0, 4000);
    publisher.wait_for(2500)?;
    let confirmed = publisher.finish();
    lab.broker.stop()?;
    let flipped = lab.disk.flip(BITS, "segment-", 4)?;
    ensure!(flipped.len() as u64 == BITS, "only {flipped:?}");
    lab.restart()?;
    let received = drain(&lab.broker.url())?;
    // The start reads what the checkpoint does not cover, deliveries read the rest.
    let log = lab.broker.log();
    let damage = [
        "a part of the log is damaged",
        "messages are damaged and set aside",
    ];
    let reported: usize = damage.iter().map(|text| log.matches(text).count()).sum();
    ensure!(reported > 0, "{flipped:?} were not reported");
    ensure!(
        received.damaged == 0,
        "{} damaged messages were delivered",
        received.damaged
    );
    let missing = confirmed.difference(&received.numbers).count();
    ensure!(
        missing > 0 && missing <= MESSAGES_A_BIT_MAX * reported,
        "{missing} of {} are missing, with {reported} damaged places reported",
        confirmed.len()
    );
    Ok(())
}

/// A read that comes with a bit turned over must not become a damaged delivery. That the message is held back or
/// the broker stops is its own choice; with honest reads everything is there.
fn flipped_reads(lab: &mut Lab) -> anyhow::Result<()> {
    let publisher = lab.publisher(0, 4000);
    publisher.wait_for(1500)?;
    let confirmed = publisher.finish();
    lab.broker.stop()?;
    lab.set("flip-read:5")?;
    // It may refuse to start on what it reads, or end when a client wants it.
    let mut taken = BTreeSet::new();
    if lab.broker.restart().is_ok() {
        let (received, _) = take_what_comes(&lab.broker.url(), confirmed.len() / 2);
        ensure!(
            received.damaged == 0,
            "{} damaged messages were delivered",
            received.damaged
        );
        taken = received.numbers;
    }
    ensure!(lab.disk.status().faults_fired > 0, "no read was touched");
    lab.broker.kill();
    lab.set("normal")?;
    lab.restart()?;
    let left: BTreeSet<u64> = confirmed.difference(&taken).copied().collect();
    lab.expect(&left)
}

fn short_writes(lab: &mut Lab) -> anyhow::Result<()> {
    lab.set("short:2")?;
    let publisher = lab.publisher(0, 3000);
    publisher.wait_for(1500)?;
    lab.cut(Outcome::Nothing, 0)?;
    let confirmed = publisher.finish();
    ensure!(lab.disk.status().faults_fired > 10, "no write was cut short");
    lab.expect(&confirmed)
}

fn slow_disk(lab: &mut Lab) -> anyhow::Result<()> {
    lab.set("slow:10")?;
    let publisher = lab.publisher(0, 2000);
    publisher.wait_for(600)?;
    lab.cut(Outcome::Nothing, 0)?;
    let confirmed = publisher.finish();
    lab.set("normal")?;
    lab.expect(&confirmed)
}

/// A message is delivered after its sync: power that goes while others wait for theirs takes nothing that anybody has seen.
fn seen_is_durable(lab: &mut Lab) -> anyhow::Result<()> {
    for run in 0..4 {
        *lab = Lab::new("")?;
        lab.set("slow-sync:20")?;
        let publisher = lab.publisher(0, 500);
        let holder = Holder::start(&lab.broker.url());
        holder.wait_for(200)?;
        lab.cut(Outcome::Nothing, run)?;
        publisher.finish();
        let seen = holder.finish();
        lab.set("normal")?;
        lab.expect(&seen)?;
    }
    Ok(())
}

/// The first answer to a publisher that is too fast is that its socket is not read, without an alarm and without a word.
fn back_pressure(lab: &mut Lab) -> anyhow::Result<()> {
    let capability = raw::capability("connection.blocked");
    let mut raw = Raw::connect(lab.broker.address())?.logged_in(b"\0guest\0guest", &capability)?;
    let declare = raw::declare("pressed", 2, &[]).on(1);
    raw.send(&declare)?;
    raw.expect(50, 11)?;
    lab.set("slow-sync:3000")?;
    let message = raw::message(1, &raw::publish("pressed"), &[7; 10_000]);
    let taken = raw.send_until_stuck(&message, 64 << 20)?;
    // The window of a publisher is 1 MiB; the rest is what the kernel takes for both sockets.
    ensure!(
        taken < 24 << 20,
        "{taken} bytes were taken while nothing was durable"
    );
    ensure!(
        raw.is_silent(Duration::from_millis(200))?,
        "it was told something"
    );
    lab.set("normal")?;
    let rest = (message.len() - taken % message.len()) % message.len();
    raw.send(&message[message.len() - rest..])?;
    let sent = taken.div_ceil(message.len());
    let deadline = Instant::now() + Duration::from_secs(20);
    while ready(&mut raw, &declare)? < sent {
        ensure!(Instant::now() < deadline, "some of {sent} messages never came in");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// How many ready messages the answer to this declaration of the queue `pressed` tells of.
fn ready(raw: &mut Raw, declare: &[u8]) -> anyhow::Result<usize> {
    raw.send(declare)?;
    let answer = raw.expect(50, 11)?;
    let counts = &answer[5 + "pressed".len()..];
    Ok(u32::from_be_bytes(counts[..4].try_into()?) as usize)
}

/// What a settlement waits for at most: the sync that is running when it comes, and then its own.
fn settlements(lab: &mut Lab) -> anyhow::Result<()> {
    let publisher = lab.publisher(0, 500);
    publisher.wait_for(400)?;
    lab.set("slow-sync:30")?;
    publisher.wait_for(publisher.count() + 200)?;
    let taken = take(&lab.broker.url(), 200)?;
    let longest = lab.disk.status().figures.sync_longest_ms;
    std::thread::sleep(SETTLEMENT + 2 * Duration::from_secs_f64(longest / 1000.0) + SCHEDULING);
    lab.cut(Outcome::Nothing, 0)?;
    let confirmed = publisher.finish();
    lab.set("normal")?;
    let received = drain(&lab.broker.url())?;
    let back: Vec<&u64> = received.numbers.intersection(&taken.numbers).collect();
    ensure!(
        back.is_empty(),
        "{} settled messages came back: {back:?}",
        back.len()
    );
    let lost = confirmed
        .difference(&taken.numbers)
        .find(|number| !received.numbers.contains(number));
    ensure!(lost.is_none() && received.damaged == 0, "lost: {lost:?}");
    Ok(())
}

/// The same check on a disk that lies: it has to find a loss, every time.
fn lying_disk(lab: &mut Lab) -> anyhow::Result<()> {
    for run in 0..4 {
        *lab = Lab::new("")?;
        let publisher = lab.publisher(0, 500);
        publisher.wait_for(200)?;
        lab.set("lying")?;
        publisher.wait_for(publisher.count() + 400)?;
        lab.cut(Outcome::Nothing, run)?;
        let confirmed = publisher.finish();
        let Err(found) = lab.expect(&confirmed) else {
            anyhow::bail!(
                "run {run}: the disk lied, and no loss was found among {}",
                confirmed.len()
            );
        };
        ensure!(format!("{found:#}").contains("are lost"), "run {run}: {found:#}");
    }
    Ok(())
}

fn campaign() -> anyhow::Result<()> {
    let everack = std::env::var_os("EVERACK_BIN").map_or_else(|| binary("everack"), PathBuf::from);
    let mut command = Command::new(env!("CARGO_BIN_EXE_powerfail"));
    command
        .args([
            "campaign",
            "--cuts",
            "8",
            "--lying-runs",
            "1",
            "--backlog",
            "500",
            "--settlement-slack-ms",
            "200",
            "--json",
            "--everack",
        ])
        .arg(everack);
    if let Some(audit) = std::env::var_os("EVERACK_AUDIT_BIN") {
        command.arg("--audit").arg(audit);
    }
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let said = || format!("{last}\n{}", String::from_utf8_lossy(&output.stderr));
    let figures: serde_json::Value = serde_json::from_str(last).with_context(said)?;
    ensure!(output.status.success() && figures["verdict"] == "clean", said());
    ensure!(
        figures["cuts"] == 9 && figures["lying_runs_found_out"] == 1,
        said()
    );
    ensure!(figures["confirmed"].as_u64() > Some(1000), said());
    Ok(())
}
