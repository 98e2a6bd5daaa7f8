//! Brokers that the bench starts itself and ends again: a private RabbitMQ, a private Everack. Each has a directory and
//! a port of its own, listens on 127.0.0.1 only, and is ended through its own process id.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::setup::{Options, Session};
use crate::url::Url;

/// RabbitMQ takes 5 to 8 s to its first connection on an idle machine, and ten times that on a crowded one.
const START_WITHIN: Duration = Duration::from_secs(180);
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// What a broker prints goes into this file of its directory.
const OUTPUT: &str = "output";
/// Debian's place of the script; its wrapper on the PATH would change to the user `rabbitmq` and to /var/lib.
const RABBITMQ_SCRIPTS: &[&str] = &[
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/usr/local/sbin/rabbitmq-server",
];

/// A broker of our own; it ends and its directory goes when this is dropped.
pub struct Peer {
    name: &'static str,
    command: Command,
    child: Child,
    directory: PathBuf,
    url: Url,
    management: Option<SocketAddr>,
    ready_after: Duration,
}

impl Peer {
    /// Whether there is a RabbitMQ that could be started.
    pub fn rabbitmq_is_installed() -> bool {
        rabbitmq_script().is_some()
    }

    /// Starts a RabbitMQ of its own node name with its data below `base`, no plugins, and default settings.
    pub fn rabbitmq(base: &Path) -> anyhow::Result<Self> {
        let script = rabbitmq_script()
            .context("there is no rabbitmq-server; `apt-get install rabbitmq-server` brings it")?;
        let directory = fresh_directory(base, "rabbitmq")?;
        let (port, dist_port) = (free_port()?, free_port()?);
        let plugins = directory.join("enabled_plugins");
        fs::write(&plugins, "[].\n")?;
        let mut command = Command::new(script);
        command
            .env("HOME", &directory)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", format!("everackbench{port}@localhost"))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", port.to_string())
            .env("RABBITMQ_DIST_PORT", dist_port.to_string())
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            )
            .env("RABBITMQ_MNESIA_BASE", directory.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", directory.join("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", &plugins)
            .env("RABBITMQ_CONFIG_FILE", directory.join("rabbitmq"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", directory.join("advanced"))
            .env("RABBITMQ_CONF_ENV_FILE", directory.join("rabbitmq-env.conf"))
            .env("RABBITMQ_PID_FILE", directory.join("pid"));
        Self::start("rabbitmq", command, directory, port)
    }

    /// Starts `binary serve` with its data below `base`, and keys of its configuration set (`key=value`).
    pub fn everack(binary: &Path, base: &Path, settings: &[&str]) -> anyhow::Result<Self> {
        let directory = fresh_directory(base, "everack")?;
        let port = free_port()?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--data").arg(directory.join("data"));
        command.arg("--amqp").arg(format!("127.0.0.1:{port}"));
        let management = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        command.arg("--http").arg(management.to_string());
        set(&mut command, settings);
        let mut peer = Self::start("everack", command, directory, port)?;
        peer.management = Some(management);
        Ok(peer)
    }

    /// Starts the fake broker of `binary bench echo`.
    pub fn echo(binary: &Path, base: &Path) -> anyhow::Result<Self> {
        let directory = fresh_directory(base, "echo")?;
        let port = free_port()?;
        let mut command = Command::new(binary);
        command.args(["bench", "echo", "--port", &port.to_string()]);
        Self::start("echo", command, directory, port)
    }

    /// What it is.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Where its management API is, if it has one.
    pub fn management(&self) -> Option<SocketAddr> {
        self.management
    }

    /// The process that was started; the broker is it or a descendant of it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From starting the process, the last time, to the first connection that was let in, in steps of a millisecond.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Bytes on the disk in all its files.
    pub fn disk_bytes(&self) -> u64 {
        allocated_bytes(&self.directory)
    }

    /// Kills it as a crash would (SIGKILL), and starts it again on the same files.
    pub fn crash_and_restart(&mut self) -> anyhow::Result<()> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process_group(pid, Signal::KILL)?;
        }
        self.child.wait()?;
        self.start_again()
    }

    /// Asks it to end, and starts it again on the same files, with more keys set; the last word on a key counts.
    pub fn restart_with(&mut self, settings: &[&str]) -> anyhow::Result<()> {
        self.stop()?;
        set(&mut self.command, settings);
        self.start_again()
    }

    fn start_again(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        self.child = self
            .command
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        self.wait_until_ready(started)
    }

    fn start(
        name: &'static str,
        mut command: Command,
        directory: PathBuf,
        port: u16,
    ) -> anyhow::Result<Self> {
        let output = fs::File::create(directory.join(OUTPUT))?;
        // A group of its own, so that ending it reaches what a start script has left behind, and Ctrl-C does not.
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let url = format!("amqp://127.0.0.1:{port}").parse()?;
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut peer = Self {
            name,
            command,
            child,
            directory,
            url,
            management: None,
            ready_after: Duration::ZERO,
        };
        peer.wait_until_ready(started)?;
        Ok(peer)
    }

    fn wait_until_ready(&mut self, started: Instant) -> anyhow::Result<()> {
        let log = self.directory.join(OUTPUT);
        loop {
            if let Ok(session) = Session::open(&self.url, Options::PLAIN) {
                self.ready_after = started.elapsed();
                session.close();
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended with {status} while starting:\n{}",
                    self.name,
                    tail(&log)
                );
            }
            let waited = started.elapsed();
            ensure!(
                waited < START_WITHIN,
                "{} does not get ready:\n{}",
                self.name,
                tail(&log)
            );
            // Who is quick is timed to the millisecond; who is not is not kept busy by it.
            thread::sleep((waited / 50).clamp(Duration::from_millis(1), Duration::from_millis(200)));
        }
    }

    /// Asks it to end, and ends it when it does not within half a minute.
    fn stop(&mut self) -> io::Result<()> {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return Ok(());
        };
        if self.child.try_wait()?.is_none() {
            kill_process(pid, Signal::TERM)?;
        }
        let start = Instant::now();
        while self.child.try_wait()?.is_none() && start.elapsed() < STOP_WITHIN {
            thread::sleep(Duration::from_millis(50));
        }
        // Our own group; without anybody left in it this is an error that means all is well.
        let _ = kill_process_group(pid, Signal::KILL);
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!(
                "{} (process {}) could not be ended: {error}",
                self.name,
                self.child.id()
            );
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The Everack binary that was given, or this one.
pub fn binary(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    match given {
        Some(path) => Ok(path.to_owned()),
        None => std::env::current_exe().context("cannot find our own binary"),
    }
}

fn set(command: &mut Command, settings: &[&str]) {
    for setting in settings {
        command.args(["--set", setting]);
    }
}

fn rabbitmq_script() -> Option<&'static Path> {
    RABBITMQ_SCRIPTS.iter().map(Path::new).find(|path| path.exists())
}

fn fresh_directory(base: &Path, name: &str) -> anyhow::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = base.join(format!("everack-bench-{name}-{}-{number}", std::process::id()));
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory)
}

fn allocated_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => allocated_bytes(&entry.path()),
            // Blocks are of 512 bytes, whatever the file system's are.
            Ok(data) => data.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
