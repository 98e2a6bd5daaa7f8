//! Debian's RabbitMQ, our binary, and the tool between them.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use everack_compat::broker::{Broker, Settings};
use everack_compat::http;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;

/// Started with the first test, used by all.
pub(crate) static PAIR: Mutex<Option<Pair>> = Mutex::new(None);

/// Both brokers.
pub(crate) struct Pair {
    pub(crate) source: Broker,
    pub(crate) target: Broker,
    folder: TempDir,
}

/// What a run of the tool came to.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) status: Option<i32>,
    pub(crate) report: Value,
    #[expect(dead_code, reason = "it is shown when a test fails")]
    complaint: String,
}

impl Moved {
    /// Why a queue's numbers do not agree.
    pub(crate) fn problem(&self, queue: &str) -> &str {
        let queues = self.report["queues"].as_array().into_iter().flatten();
        let row = queues.into_iter().find(|row| row["queue"] == queue);
        row.and_then(|row| row["problem"].as_str()).unwrap_or_default()
    }
}

impl Pair {
    pub(crate) fn start() -> Self {
        let settings = || Settings {
            management: true,
            ..Settings::default()
        };
        Self {
            source: Broker::rabbitmq(settings()),
            target: Broker::everack(settings()),
            folder: TempDir::with_prefix("everack-migrate-").expect("a temporary folder can be made"),
        }
    }

    /// A client of the source, in a vhost that is made if it is not there.
    pub(crate) fn source(&self, vhost: &str) -> anyhow::Result<Client> {
        make(&self.source, vhost)?;
        Client::connect(self.source.address(), vhost)
    }

    /// A client of the target, in a vhost that is there.
    pub(crate) fn target(&self, vhost: &str) -> anyhow::Result<Client> {
        Client::connect(self.target.address(), vhost)
    }

    /// A client of the target, in a vhost that is made if it is not there.
    pub(crate) fn target_new(&self, vhost: &str) -> anyhow::Result<Client> {
        make(&self.target, vhost)?;
        self.target(vhost)
    }

    /// Puts something at the source, over its API.
    pub(crate) fn put_source(&self, path: &str, body: &str) -> anyhow::Result<()> {
        let answer = http::send(self.source.management(), "PUT", path, "guest:guest", body)?;
        ensure!(matches!(answer.status, 201 | 204), "{path}: {answer:?}");
        Ok(())
    }

    /// What the target's API says to a user.
    pub(crate) fn of_target(&self, path: &str, login: &str) -> anyhow::Result<Value> {
        http::get(self.target.management(), path, login)?.json()
    }

    /// What the target says of itself, and what its threads are at: for whoever wants to know why nothing comes.
    pub(crate) fn target_seen(&self) -> String {
        let api = |path: &&str| match self.of_target(path, "guest:guest") {
            Ok(told) => format!("{path}: {told}\n"),
            Err(error) => format!("{path}: {error:#}\n"),
        };
        let paths = [
            "/api/queues",
            "/api/consumers",
            "/api/channels",
            "/api/connections",
        ];
        let told: String = paths.iter().map(api).collect();
        let threads = self.target.process_id().map(threads).unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        format!("{told}{threads}load {load}{}", self.target.log())
    }

    pub(crate) fn target_vhosts(&self) -> anyhow::Result<Vec<String>> {
        let vhosts = http::get(self.target.management(), "/api/vhosts", "guest:guest")?.json()?;
        let names = vhosts
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|vhost| vhost["name"].as_str());
        Ok(names.map(ToOwned::to_owned).collect())
    }

    /// Runs the tool for one vhost.
    pub(crate) fn migrate(&self, vhost: &str, more: &[&str]) -> anyhow::Result<Moved> {
        let output = self.command(vhost, more).output()?;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout);
        Ok(Moved {
            status: output.status.code(),
            report: report.with_context(|| format!("{}: {complaint}", output.status))?,
            complaint,
        })
    }

    /// Starts the tool.
    pub(crate) fn begin(&self, vhost: &str, more: &[&str]) -> anyhow::Result<Child> {
        let mut command = self.command(vhost, more);
        Ok(command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?)
    }

    fn command(&self, vhost: &str, more: &[&str]) -> Command {
        let everack = std::env::var_os("EVERACK_BIN");
        let everack = everack.map_or_else(|| everack_compat::binary("everack"), PathBuf::from);
        let api = |broker: &Broker| format!("http://guest:guest@{}", broker.management());
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(everack).arg("migrate");
        command.args(["--from", &api(&self.source), "--from-amqp", &self.source.url()]);
        command.args(["--to", &api(&self.target), "--to-amqp", &self.target.url()]);
        command.args(["--vhost", vhost, "--json", "--state"]);
        command.arg(self.folder.path().join("state"));
        if !more.contains(&"--definitions") {
            command.args(["--definitions", "topology"]);
        }
        command.args(more);
        command
    }

    /// Waits until the queues of the target have so many messages together.
    pub(crate) fn wait_for(
        &self,
        vhost: &str,
        queues: &[&str],
        count: u64,
        most: Duration,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + most;
        let all = || -> anyhow::Result<u64> {
            let target = self.target(vhost)?;
            queues.iter().map(|queue| target.count(queue)).sum()
        };
        // As long as they have not been declared they have none.
        while all().unwrap_or(0) < count {
            ensure!(
                Instant::now() < deadline,
                "the target does not get {count} messages"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Each thread of a process: its name, its state and what it waits for in the kernel.
fn threads(process: u32) -> String {
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let line = |task: fs::DirEntry| {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let status = read("status");
        let state = status
            .lines()
            .find(|line| line.starts_with("State"))
            .unwrap_or_default();
        format!("thread {}: {state}, {}\n", read("comm").trim(), read("wchan"))
    };
    tasks.map(line).collect()
}

fn make(broker: &Broker, vhost: &str) -> anyhow::Result<()> {
    let escaped = vhost.replace('/', "%2f").replace(' ', "%20");
    for path in [
        format!("/api/vhosts/{escaped}"),
        format!("/api/permissions/{escaped}/guest"),
    ] {
        let all = r#"{"configure": ".*", "write": ".*", "read": ".*"}"#;
        let body = if path.contains("permissions") { all } else { "{}" };
        let answer = http::send(broker.management(), "PUT", &path, "guest:guest", body)?;
        // Permissions come with the vhost where nothing can be PUT there.
        ensure!(matches!(answer.status, 201 | 204 | 405), "{path}: {answer:?}");
    }
    Ok(())
}
