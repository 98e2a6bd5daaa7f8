//! The nemesis: starts the broker, ends it in various ways, starts it again. What it does goes into the journal.
//!
//! Processes are [`process`]'s business; who answers at an address is [`hello`]'s. It knows nothing of messages.

mod hello;
mod process;

pub(crate) use hello::{Greeting, hello};

use crate::faults::Fault;
use crate::journal::{Entry, Journal};
use crate::load::connect;
use process::Group;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a broker may take to end after SIGTERM, before it is killed.
const TERMINATE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether the broker answers or has ended.
const LOOK: Duration = Duration::from_millis(5);
/// Lines of the broker's output that are shown when it does not come back.
const TAIL_LINES: usize = 40;

/// The broker did not answer in time, or ended instead.
#[derive(Debug)]
pub(crate) struct NotBack(pub(crate) String);

impl std::fmt::Display for NotBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the broker did not come back: {}", self.0)
    }
}

impl std::error::Error for NotBack {}

/// What is needed to start a broker.
pub(crate) struct Commands {
    /// Starts it.
    pub(crate) start: String,
    /// Runs while it is down.
    pub(crate) between: Option<String>,
    /// How long it may take to answer.
    pub(crate) start_max: Duration,
    /// Where its output goes.
    pub(crate) log: PathBuf,
    /// For the command between.
    pub(crate) seed: u64,
}

/// The nemesis.
pub(crate) struct Nemesis {
    commands: Commands,
    url: String,
    journal: Arc<Journal>,
    group: Option<Group>,
    life: u32,
    faults: u32,
}

impl Nemesis {
    pub(crate) fn new(commands: Commands, url: &str, journal: &Arc<Journal>) -> Self {
        Self {
            commands,
            url: url.to_owned(),
            journal: Arc::clone(journal),
            group: None,
            life: 0,
            faults: 0,
        }
    }

    /// Starts the broker and waits until it answers a client.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut group = Group::start(&self.commands.start, &self.commands.log)?;
        let mut ended = None;
        while begun.elapsed() < self.commands.start_max {
            if let Some(status) = group.leader_ended()? {
                // A start command may leave the broker in the background, and end well.
                if !status.success() {
                    self.group = Some(group);
                    return Err(self.not_back(&format!("the start command ended with {status}")));
                }
                ended = Some(status);
            }
            if hello(&self.url).await.is_ok() && connect(&self.url, "audit").await.is_ok() {
                self.group = Some(group);
                self.journal.append(&[Entry::Started { life: self.life }]);
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        self.group = Some(group);
        let also = ended.map_or("", |_| "; the start command has ended");
        let wait = self.commands.start_max;
        Err(self.not_back(&format!("no answer on {} within {wait:?}{also}", self.url)))
    }

    fn not_back(&self, why: &str) -> anyhow::Error {
        let text = std::fs::read(&self.commands.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let tail: Vec<&str> = text.lines().rev().take(TAIL_LINES).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        let log = self.commands.log.display();
        NotBack(format!(
            "{why}\nits output ({log}) ends with:\n{}",
            tail.join("\n")
        ))
        .into()
    }

    /// Whether the broker has ended without a fault of ours. A start command that ended well runs in the background and cannot be
    /// watched.
    pub(crate) fn died(&mut self) -> anyhow::Result<bool> {
        let Some(group) = &mut self.group else {
            return Ok(false);
        };
        Ok(group.leader_ended()?.is_some() && !group.lives())
    }

    /// The broker has died by itself: cleans up behind it. Its end is written down when it is noticed, so acks look a little older here
    /// than they were.
    pub(crate) async fn bury(&mut self) -> anyhow::Result<()> {
        self.journal.append(&[Entry::Ending { life: self.life }]);
        self.end_all().await
    }

    /// Ends this life as the fault says, up to where it could be started again. A pause ends nothing: `false`.
    pub(crate) async fn strike(&mut self, fault: Fault) -> anyhow::Result<bool> {
        self.faults += 1;
        self.journal.append(&[Entry::Fault(fault)]);
        let Some(group) = &mut self.group else {
            anyhow::bail!("there is no broker to do anything to");
        };
        match fault {
            Fault::Pause(pause) => {
                group.stop();
                tokio::time::sleep(pause).await;
                group.go_on();
                return Ok(false);
            }
            Fault::Kill | Fault::Between => {
                self.journal.append(&[Entry::Ending { life: self.life }]);
                group.kill();
            }
            Fault::Terminate => {
                self.journal.append(&[Entry::Ending { life: self.life }]);
                group.terminate();
                let deadline = Instant::now() + TERMINATE_MAX;
                while group.lives() && Instant::now() < deadline {
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
        self.end_all().await?;
        if fault == Fault::Between {
            self.between().await?;
        }
        Ok(true)
    }

    /// Leaves nothing of this life.
    async fn end_all(&mut self) -> anyhow::Result<()> {
        if let Some(mut group) = self.group.take() {
            group.end().await?;
        }
        self.journal.append(&[Entry::Ended { life: self.life }]);
        self.life += 1;
        Ok(())
    }

    /// Runs the command between two lives.
    async fn between(&self) -> anyhow::Result<()> {
        let Some(between) = &self.commands.between else {
            anyhow::bail!("there is no command to run between");
        };
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.commands.log)?;
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", between])
            .env("AUDIT_FAULT_NUMBER", self.faults.to_string())
            .env("AUDIT_SEED", self.commands.seed.to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut child = command.spawn()?;
        let status = loop {
            match child.try_wait()? {
                Some(status) => break status,
                None => tokio::time::sleep(LOOK).await,
            }
        };
        anyhow::ensure!(
            status.success(),
            "the command between ended with {status}: {between}"
        );
        Ok(())
    }

    /// The broker's life.
    pub(crate) fn life(&self) -> u32 {
        self.life
    }

    /// Ends the broker for good.
    pub(crate) async fn finish(&mut self) -> anyhow::Result<()> {
        match self.group.take() {
            Some(mut group) => group.end().await,
            None => Ok(()),
        }
    }
}
