//! One shop from its opening to its end, with the broker's death in the middle.

use super::journal::{Crash, Entry, Fact};
use super::programme::Programme;
use super::{ORDERS, QUEUE, verdict};
use crate::broker::Broker;
use crate::raw::{Raw, declare};
use anyhow::{Context, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The broker dies when so many orders are confirmed, and so many acknowledged.
const KILL_AT: (usize, usize) = (ORDERS / 3, ORDERS / 4);
/// How long it stays away: long enough for everybody to notice, and to fail to connect.
const AWAY: Duration = Duration::from_millis(700);
/// How long the shop may take until the crash, and from the broker's return to its end.
const PATIENCE: Duration = Duration::from_secs(90);
/// When nobody says anything for so long, nothing more comes.
const QUIET: Duration = Duration::from_millis(500);
/// How long a process may take to end when it is asked politely.
const GOODBYE: Duration = Duration::from_secs(30);
/// How many complaints are printed: one cause has many.
const COMPLAINTS_MAX: usize = 20;
/// The most that is printed of what a process wrote to its error output.
const STDERR_LINES: usize = 60;

/// Plays it; an error tells all that is wrong, and what the processes said.
pub fn play(programme: &Programme) -> anyhow::Result<()> {
    let mut broker = Broker::start();
    let mut shop = Shop::new(programme)?;
    let told = shop
        .open(programme, &broker.url())
        .and_then(|()| play_with(&mut broker, &mut shop));
    told.map_err(|error| anyhow!("{error:#}\n{}\nthe broker:\n{}", shop.errors(), broker.log()))
}

fn play_with(broker: &mut Broker, shop: &mut Shop) -> anyhow::Result<()> {
    shop.listen_until("the middle of its work", is_in_the_middle)?;
    let killed = shop.now();
    broker.kill();
    shop.listen_for(AWAY)?;
    broker.restart()?;
    let crash = Crash {
        killed,
        back: shop.now(),
    };
    let ended = shop.listen_until("its end", |journal| verdict::is_complete(journal, ORDERS));
    // Whatever comes too much comes now.
    let deadline = Instant::now() + GOODBYE;
    while shop.listen_for(QUIET)? > 0 {
        ensure!(Instant::now() < deadline, "the shop does not come to rest");
    }
    let wrong = verdict::complaints(&shop.journal, ORDERS, crash);
    let told = wrong[..wrong.len().min(COMPLAINTS_MAX)].join("\n");
    ended.with_context(|| told.clone())?;
    ensure!(wrong.is_empty(), "{} complaints:\n{told}", wrong.len());
    shop.close()?;
    let left = queue_length(broker)?;
    ensure!(
        left == 0,
        "{left} messages are left in {QUEUE} although all were acknowledged"
    );
    println!("{}: {}", shop.name, recovery(&shop.journal, crash));
    Ok(())
}

fn is_in_the_middle(journal: &[Entry]) -> bool {
    let count = |wanted: fn(&Fact) -> bool| journal.iter().filter(|entry| wanted(&entry.fact)).count();
    count(|fact| matches!(fact, Fact::Confirmed(_))) >= KILL_AT.0
        && count(|fact| matches!(fact, Fact::Acked(_))) >= KILL_AT.1
}

/// How long each side took to be at work again.
fn recovery(journal: &[Entry], crash: Crash) -> String {
    let first = |wanted: fn(&Fact) -> bool| {
        let entry = journal
            .iter()
            .find(|entry| entry.at > crash.back && wanted(&entry.fact));
        entry.map_or(Duration::ZERO, |entry| entry.at - crash.back)
    };
    let confirmed = first(|fact| matches!(fact, Fact::Confirmed(_)));
    let got = first(|fact| matches!(fact, Fact::Got(..)));
    let end = journal.last().map_or(Duration::ZERO, |entry| entry.at);
    let times = format!(
        "killed at {:.1?}, back at {:.1?}, done at {end:.1?}",
        crash.killed, crash.back
    );
    format!("{times}; confirmed again after {confirmed:.1?}, delivered again after {got:.1?}")
}

/// What the broker has for nobody: all consumers are gone by now.
fn queue_length(broker: &Broker) -> anyhow::Result<u32> {
    const PASSIVE: u8 = 1;
    let mut raw = Raw::login(broker.address())?;
    let deadline = Instant::now() + GOODBYE;
    loop {
        raw.send(&declare(QUEUE, PASSIVE, &[]).on(1))?;
        let ok = raw.expect(50, 11)?;
        let numbers = ok.get(5 + QUEUE.len()..).and_then(|rest| rest.first_chunk::<8>());
        let [m0, m1, m2, m3, c0, c1, c2, c3] = *numbers.context("a declare-ok without numbers")?;
        let [messages, consumers] = [[m0, m1, m2, m3], [c0, c1, c2, c3]].map(u32::from_be_bytes);
        // Connections that were cut give back what they held once the broker has noticed.
        if consumers == 0 {
            return Ok(messages);
        }
        ensure!(
            Instant::now() < deadline,
            "{consumers} consumers are left in {QUEUE}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes of a shop, and what they have said so far.
struct Shop {
    name: &'static str,
    processes: Vec<Process>,
    sender: Sender<(Instant, String)>,
    lines: Receiver<(Instant, String)>,
    journal: Vec<Entry>,
    opened: Instant,
    folder: TempDir,
}

struct Process {
    role: &'static str,
    child: Child,
}

impl Shop {
    fn new(programme: &Programme) -> anyhow::Result<Self> {
        let (sender, lines) = channel();
        Ok(Self {
            name: programme.name,
            processes: Vec::new(),
            sender,
            lines,
            journal: Vec::new(),
            opened: Instant::now(),
            folder: TempDir::with_prefix("everack-shop-")?,
        })
    }

    fn open(&mut self, programme: &Programme, url: &str) -> anyhow::Result<()> {
        for (before, role) in programme.roles.iter().enumerate() {
            let mut command = (programme.command)();
            command
                .args([role, url, &ORDERS.to_string()])
                .current_dir(self.folder.path());
            let stderr = File::create(self.folder.path().join(role))?;
            self.processes
                .push(Process::start(role, &mut command, stderr, self.sender.clone())?);
            let ready = |journal: &[Entry]| journal.iter().filter(|entry| entry.fact == Fact::Ready).count();
            self.listen_until("its opening", |journal| ready(journal) > before)?;
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.opened.elapsed()
    }

    fn listen_until(&mut self, what: &str, there: impl Fn(&[Entry]) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !there(&self.journal) {
            ensure!(
                Instant::now() < deadline,
                "the shop did not come to {what} within {PATIENCE:?}"
            );
            self.listen_for(Duration::from_millis(50))?;
            self.check_processes()?;
        }
        Ok(())
    }

    /// How many facts came within this time.
    fn listen_for(&mut self, time: Duration) -> anyhow::Result<usize> {
        let (end, before) = (Instant::now() + time, self.journal.len());
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok((when, line)) => self.journal.push(Entry {
                    at: when.duration_since(self.opened),
                    fact: Fact::parse(&line)?,
                }),
                Err(RecvTimeoutError::Timeout) => return Ok(self.journal.len() - before),
                Err(RecvTimeoutError::Disconnected) => unreachable!("we hold a sender ourselves"),
            }
        }
    }

    fn check_processes(&mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            if let Some(status) = process.child.try_wait()? {
                bail!("the role {} ended with {status}", process.role);
            }
        }
        Ok(())
    }

    /// SIGTERM, as a service manager ends them.
    fn close(&mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            process.end()?;
        }
        Ok(())
    }

    /// The end of what each process wrote to its error output.
    fn errors(&self) -> String {
        let of = |process: &Process| {
            let text = std::fs::read_to_string(self.folder.path().join(process.role)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(STDERR_LINES)..];
            format!("{} {}:\n{}", self.name, process.role, tail.join("\n"))
        };
        self.processes.iter().map(of).collect::<Vec<_>>().join("\n")
    }
}

impl Process {
    fn start(
        role: &'static str,
        command: &mut Command,
        stderr: File,
        lines: Sender<(Instant, String)>,
    ) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn();
        let mut child =
            child.with_context(|| format!("cannot start {program}: run `cargo xtask setup` first"))?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if lines.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { role, child })
    }

    fn end(&mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        }
        let deadline = Instant::now() + GOODBYE;
        while self.child.try_wait()?.is_none() {
            ensure!(
                Instant::now() < deadline,
                "the role {} did not end within {GOODBYE:?} of SIGTERM",
                self.role
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that ended already needs no killing. The polite end first: some have children of their own.
        if self.end().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
