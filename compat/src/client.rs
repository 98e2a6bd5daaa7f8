//! The five foreign clients, each as one small programme with the same three roles.
//!
//! - `publish URL QUEUE FIRST COUNT` declares the durable queue, publishes the persistent messages `FIRST ..` with
//!   confirms and prints `confirmed COUNT`.
//! - `hold URL QUEUE PREFETCH ACKS` consumes with manual ack, acks the first `ACKS` messages, keeps the rest and waits
//!   to be killed.
//! - `drain URL QUEUE COUNT` consumes and acks `COUNT` messages, closes politely and prints `done`.
//!
//! Consumers print one line a message: `got BODY redelivered` or `got BODY fresh`.

use crate::{binary, source, tools};
use anyhow::{Context, bail};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a client may stay silent while a line of it is awaited.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A client library that somebody else wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Rust.
    Lapin,
    /// Python, blocking.
    Pika,
    /// Python, asyncio.
    AioPika,
    /// Node.
    Amqplib,
    /// C.
    Librabbitmq,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Lapin,
        Self::Pika,
        Self::AioPika,
        Self::Amqplib,
        Self::Librabbitmq,
    ];

    /// The name that its authors gave it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lapin => "lapin",
            Self::Pika => "pika",
            Self::AioPika => "aio-pika",
            Self::Amqplib => "amqplib",
            Self::Librabbitmq => "librabbitmq",
        }
    }

    fn command(self) -> Command {
        match self {
            Self::Lapin => Command::new(binary("lapin-work")),
            Self::Pika => python("pika/work.py"),
            Self::AioPika => python("aio_pika/work.py"),
            Self::Amqplib => node("amqplib/work.js"),
            Self::Librabbitmq => Command::new(tools().join("librabbitmq/work")),
        }
    }

    /// Starts one role of it.
    pub fn start(self, role: &str, url: &str, rest: &[&str]) -> anyhow::Result<Running> {
        let mut command = self.command();
        command.arg(role).arg(url).args(rest);
        Running::start(&mut command).with_context(|| format!("{} {role}", self.name()))
    }
}

/// A Python script of this package, run by the environment that has the clients.
pub fn python(script: &str) -> Command {
    let mut command = Command::new(tools().join("venv/bin/python"));
    command.arg("-B").arg("-u").arg(source(script));
    command
}

/// A Node script of this package.
pub fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command
        .arg(source(script))
        .env("NODE_PATH", tools().join("node/node_modules"));
    command
}

/// A client process and the lines that it prints. Dropping it kills the process.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts a command; its errors go to the test's own error output.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child =
            child.with_context(|| format!("cannot start {program}: run `cargo xtask setup` first"))?;
        let lines = read_lines(child.stdout.take().context("standard output is piped")?);
        Ok(Self { child, lines })
    }

    /// The next line; an error when none comes in time or the client ended.
    pub fn line(&mut self) -> anyhow::Result<String> {
        match self.lines.recv_timeout(SILENCE_MAX) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => bail!("the client printed nothing for {SILENCE_MAX:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("the client ended: {}", self.child.wait()?),
        }
    }

    /// The next `count` lines.
    pub fn lines(&mut self, count: usize) -> anyhow::Result<Vec<String>> {
        (0..count).map(|_| self.line()).collect()
    }

    /// Whether a line comes within this time; it is taken.
    pub fn line_within(&mut self, time: Duration) -> Option<String> {
        self.lines.recv_timeout(time).ok()
    }

    /// SIGKILL: the client has no chance to give anything back.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end and returns the lines that it printed since; an error when it failed.
    pub fn finish(mut self) -> anyhow::Result<Vec<String>> {
        let deadline = Instant::now() + SILENCE_MAX;
        let mut lines = Vec::new();
        while Instant::now() < deadline {
            match self.lines.recv_timeout(Duration::from_secs(1)) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    if !status.success() {
                        bail!("the client ended with {status} after {lines:?}");
                    }
                    return Ok(lines);
                }
            }
        }
        bail!("the client did not end; it printed {lines:?}")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that ended already needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
