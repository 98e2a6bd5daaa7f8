//! Debian's RabbitMQ as a peer: a script that starts one node of it with everything it writes in one folder.

use anyhow::{Context, bail};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// How RabbitMQ is started for a part.
pub(crate) struct RabbitMq {
    /// Run by `sh`; stays in the foreground.
    pub(crate) script: PathBuf,
    /// Where it listens.
    pub(crate) port: u16,
}

impl RabbitMq {
    /// Prepares `folder` for its settings and logs; its data goes to `data`.
    pub(crate) fn prepare(folder: &Path, data: &Path) -> anyhow::Result<Self> {
        if !Path::new(SERVER).exists() {
            bail!("rabbitmq-server is not installed: `cargo xtask setup`");
        }
        fs::create_dir_all(folder.join("home"))?;
        let port = free_port()?;
        let settings = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\nvm_memory_high_watermark.relative = 0.6\ndisk_free_limit.absolute = 50MB\n"
        );
        fs::write(folder.join("rabbit.conf"), settings)?;
        fs::write(folder.join("plugins"), "[].")?;
        let script = folder.join("start.sh");
        fs::write(&script, script_of(folder, data, port)?).context("cannot write the start script")?;
        Ok(Self { script, port })
    }
}

fn script_of(folder: &Path, data: &Path, port: u16) -> anyhow::Result<String> {
    let (folder, data) = (folder.display(), data.display());
    let variables = [
        ("HOME", format!("{folder}/home")),
        // Otherwise the process that is killed would only be a shell.
        ("RABBITMQ_ALLOW_INPUT", "1".to_owned()),
        ("RABBITMQ_SERVER_START_ARGS", "-noinput".to_owned()),
        ("RABBITMQ_NODENAME", format!("campaign{port}@localhost")),
        ("RABBITMQ_DIST_PORT", free_port()?.to_string()),
        ("ERL_EPMD_PORT", free_port()?.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ("RABBITMQ_MNESIA_BASE", data.to_string()),
        ("RABBITMQ_LOG_BASE", format!("{folder}/log")),
        ("RABBITMQ_GENERATED_CONFIG_DIR", format!("{folder}/generated")),
        ("RABBITMQ_CONFIG_FILE", format!("{folder}/rabbit")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", format!("{folder}/plugins")),
    ];
    let exports = variables.map(|(name, value)| format!("export {name}='{value}'\n"));
    Ok(format!("{}exec {SERVER}\n", exports.concat()))
}

/// A port of the loopback that nobody uses at this moment.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?.port())
}
