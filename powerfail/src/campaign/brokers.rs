//! How the brokers are started on a disk that loses power. Everything that they must keep lies on it, and nothing else.

use anyhow::ensure;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

/// A broker under test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The binary that was named.
    #[default]
    Everack,
    /// Debian's RabbitMQ.
    Rabbitmq,
}

/// Where Debian keeps the server itself, without the wrapper that changes the user.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Small segments roll, are checkpointed and retired often; large ones are the default. Runs take turns.
const SEGMENTS: [&str; 3] = ["1 MiB", "8 MiB", "64 MiB"];

impl Kind {
    /// As it is called in the figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Everack => "everack",
            Self::Rabbitmq => "rabbitmq",
        }
    }

    /// A shell command that runs it in the foreground, with its data in `disk` and everything else in `folder`.
    pub(super) fn start_command(
        self,
        everack: &Path,
        disk: &Path,
        folder: &Path,
        run: u64,
        port: u16,
    ) -> anyhow::Result<String> {
        match self {
            Self::Everack => Ok(format!(
                "exec '{}' serve --data '{}' --amqp 127.0.0.1:{port} --http off --set 'data.segment=\"{}\"'",
                everack.display(),
                disk.join("data").display(),
                SEGMENTS[run as usize % SEGMENTS.len()]
            )),
            Self::Rabbitmq => rabbitmq(disk, folder, port),
        }
    }
}

fn rabbitmq(disk: &Path, folder: &Path, port: u16) -> anyhow::Result<String> {
    ensure!(
        Path::new(RABBITMQ).exists(),
        "{RABBITMQ} is not there: `cargo xtask setup`"
    );
    fs::create_dir_all(folder.join("home"))?;
    fs::write(folder.join("plugins"), "[].")?;
    fs::write(
        folder.join("rabbit.conf"),
        format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\nvm_memory_high_watermark.relative = 0.6\n\
             disk_free_limit.absolute = 50MB\nloopback_users = none\n"
        ),
    )?;
    let settings = [
        ("HOME", folder.join("home").display().to_string()),
        ("RABBITMQ_SERVER_START_ARGS", "-noinput".to_owned()),
        ("RABBITMQ_ALLOW_INPUT", "1".to_owned()),
        ("RABBITMQ_NODENAME", format!("powerfail{port}@localhost")),
        ("RABBITMQ_DIST_PORT", free_port()?.to_string()),
        ("ERL_EPMD_PORT", free_port()?.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ("RABBITMQ_MNESIA_BASE", disk.join("mnesia").display().to_string()),
        ("RABBITMQ_LOG_BASE", folder.join("log").display().to_string()),
        (
            "RABBITMQ_GENERATED_CONFIG_DIR",
            folder.join("generated").display().to_string(),
        ),
        (
            "RABBITMQ_CONFIG_FILE",
            folder.join("rabbit").display().to_string(),
        ),
        (
            "RABBITMQ_ENABLED_PLUGINS_FILE",
            folder.join("plugins").display().to_string(),
        ),
    ];
    let settings: Vec<String> = settings
        .iter()
        .map(|(name, value)| format!("{name}='{value}'"))
        .collect();
    Ok(format!("exec env {} {RABBITMQ}", settings.join(" ")))
}

/// A port that nobody listens on, below the range that outgoing connections are given.
pub(super) fn free_port() -> anyhow::Result<u16> {
    for _ in 0..1000 {
        let port = fastrand::u16(12_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("there is no free port on the loopback")
}
