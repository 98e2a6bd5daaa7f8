//! `everack audit` on the real binary: SIGKILL under load, with a backlog, and nothing that was confirmed may be lost; and the audit
//! itself can fail.
//!
//! `COMPAT_AGAINST=rabbitmq` runs the first of them against Debian's RabbitMQ; `AUDIT_KILLS=N` kills N times.

use anyhow::{Context, ensure};
use everack_audit::journal::{Entry, FILE, Journal, Reader};
use everack_compat::broker::is_rabbitmq;
use everack_compat::trial;
use libtest_mimic::Arguments;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use tempfile::TempDir;

fn main() {
    let mut arguments = Arguments::from_args();
    // Each campaign wants the machine for itself.
    arguments.test_threads = Some(1);
    let mut trials = vec![trial(
        "a broker that is killed 50 times under load loses nothing",
        fifty_kills,
    )];
    if !is_rabbitmq() {
        // RabbitMQ's classic queues forget dead letters that are on their way.
        trials.push(trial(
            "queues with rules of their own lose nothing through kills",
            rules_through_kills,
        ));
        trials.push(trial("a wiped log is found to be a loss", wiped_log));
        trials.push(trial(
            "a removed delivery is found to be a loss",
            removed_delivery,
        ));
        trials.push(trial("a broker that does not come back is told", not_back));
        trials.push(trial("an interrupted audit leaves nothing behind", interrupted));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// A folder, a port, and the commands of one audit in it.
struct Stage {
    folder: TempDir,
    port: u16,
}

impl Stage {
    fn new() -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self {
            folder: TempDir::with_prefix("everack-audit-")?,
            port,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `everack audit` on a broker that it starts itself.
    fn audit(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(everack()?);
        command.arg("audit");
        command.args([
            "--url",
            &format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port),
        ]);
        command.args(["--start-cmd", &self.start_command()?]);
        command.arg("--journal").arg(self.path("journal"));
        command.args(["--report", "report", "--json"]).args(arguments);
        command.current_dir(self.folder.path());
        Ok(command)
    }

    fn start_command(&self) -> anyhow::Result<String> {
        if is_rabbitmq() {
            return self.rabbitmq();
        }
        let everack = everack()?;
        let data = self.path("data");
        let port = self.port;
        Ok(format!(
            "exec {} serve --data {} --amqp 127.0.0.1:{port} --http off",
            everack.display(),
            data.display()
        ))
    }

    /// Debian's RabbitMQ with everything that it writes in our folder.
    fn rabbitmq(&self) -> anyhow::Result<String> {
        let port = self.port;
        fs::write(self.path("plugins"), "[].")?;
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\nvm_memory_high_watermark.relative = 0.8\ndisk_free_limit.absolute = 50MB\n"
        );
        fs::write(self.path("rabbit.conf"), config)?;
        let folder = self.folder.path().display();
        let epmd = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(format!(
            "export HOME={folder} RABBITMQ_NODENAME=audit{port}@localhost RABBITMQ_DIST_PORT={} \
             ERL_EPMD_PORT={epmd} ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_MNESIA_BASE={folder}/data \
             RABBITMQ_LOG_BASE={folder}/log RABBITMQ_GENERATED_CONFIG_DIR={folder}/generated \
             RABBITMQ_CONFIG_FILE={folder}/rabbit RABBITMQ_ENABLED_PLUGINS_FILE={folder}/plugins \
             RABBITMQ_SERVER_START_ARGS=-noinput RABBITMQ_ALLOW_INPUT=1; \
             exec /usr/lib/rabbitmq/bin/rabbitmq-server",
            TcpListener::bind("127.0.0.1:0")?.local_addr()?.port()
        ))
    }
}

fn everack() -> anyhow::Result<PathBuf> {
    let everack =
        std::env::var_os("EVERACK_BIN").map_or_else(|| everack_compat::binary("everack"), PathBuf::from);
    ensure!(
        everack.exists(),
        "{} does not exist: `cargo xtask test --only build` makes it",
        everack.display()
    );
    Ok(everack)
}

/// Runs an audit to its end: its status and the object on its last line.
fn outcome(mut command: Command) -> anyhow::Result<(ExitStatus, Value)> {
    let output = command.output()?;
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    eprintln!("{out}{err}");
    let last = out.lines().last().context("it printed nothing")?;
    let json = serde_json::from_str(last).with_context(|| format!("no JSON on the last line: {last}"))?;
    Ok((output.status, json))
}

fn number(json: &Value, key: &str) -> u64 {
    json[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} is a number in {json}"))
}

fn fifty_kills() -> anyhow::Result<()> {
    let kills: u64 = match std::env::var("AUDIT_KILLS") {
        Ok(kills) => kills.parse()?,
        Err(_) => 50,
    };
    let stage = Stage::new()?;
    let faults = format!("kill9*{kills}");
    let (status, json) =
        outcome(stage.audit(&["--faults", &faults, "--publishers", "1", "--consumers", "1"])?)?;
    ensure!(status.code() == Some(0), "it ended with {status}: {json}");
    ensure!(json["verdict"] == "clean", "{json}");
    for broken in [
        "lost",
        "damaged",
        "phantom",
        "torn_transactions",
        "queues_lost",
        "stuck",
    ] {
        ensure!(number(&json, broken) == 0, "{broken}: {json}");
    }
    ensure!(number(&json, "crashes") == kills, "too few crashes: {json}");
    ensure!(
        number(&json, "deaths_unplanned") == 0,
        "it died by itself: {json}"
    );
    if !is_rabbitmq() {
        ensure!(
            number(&json, "unflagged") == 0,
            "a redelivery was not flagged: {json}"
        );
        ensure!(json["product"] == "Everack", "{json}");
    }
    let load = number(&json, "confirmed") > 100 * kills && number(&json, "backlog_min") > 500;
    ensure!(load, "too little load to mean anything: {json}");
    ensure!(
        number(&json, "redelivered") > 0,
        "no kill hit anybody at work: {json}"
    );
    for file in ["report.md", "report.html", "report.json"] {
        ensure!(stage.path("report").join(file).exists(), "there is no {file}");
    }
    Ok(())
}

/// Moving, expiring, limiting, delaying and failing, through SIGKILLs.
fn rules_through_kills() -> anyhow::Result<()> {
    const KILLS: u64 = 12;
    let stage = Stage::new()?;
    let faults = format!("kill9*{KILLS}");
    let (status, json) = outcome(stage.audit(&[
        "--faults",
        &faults,
        "--publishers",
        "1",
        "--consumers",
        "1",
        "--workloads",
        "dlx,priority,ttl,limit,delay,retry,poison",
    ])?)?;
    ensure!(status.code() == Some(0), "it ended with {status}: {json}");
    ensure!(json["verdict"] == "clean", "{json}");
    for broken in ["lost", "damaged", "phantom", "queues_lost", "stuck"] {
        ensure!(number(&json, broken) == 0, "{broken}: {json}");
    }
    ensure!(number(&json, "crashes") == KILLS, "too few crashes: {json}");
    ensure!(
        number(&json, "confirmed") > 100 * KILLS,
        "too little load to mean anything: {json}"
    );
    Ok(())
}

/// Negative control of the whole: what a broker on a disk that forgets looks like from outside.
fn wiped_log() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    // The newest segment that holds anything, filled with zeros, as if none of it had reached the disk.
    let wipe = format!(
        "cd {} && newest=$(for f in segment-*; do tail -c +4097 $f | tr -d '\\000' | head -c 1 | grep -q . && echo $f; done | sort | tail -1) && \
         size=$(stat -c %s $newest) && head -c $size /dev/zero > $newest",
        stage.path("data").display()
    );
    let (status, json) = outcome(stage.audit(&[
        "--faults",
        "between",
        "--between-cmd",
        &wipe,
        "--workloads",
        "backlog,compete",
    ])?)?;
    ensure!(status.code() == Some(1), "it ended with {status}: {json}");
    ensure!(json["verdict"] == "broken" && number(&json, "lost") > 0, "{json}");
    ensure!(
        number(&json, "phantom") == 0 && number(&json, "damaged") == 0,
        "damage was delivered: {json}"
    );
    let told = fs::read_to_string(stage.path("report").join("report.md"))?;
    ensure!(
        told.contains("confirmed and never delivered"),
        "the report does not name it"
    );
    Ok(())
}

/// Negative control of the books: take one message out of them, and the verdict has to name it.
fn removed_delivery() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let (status, json) = outcome(stage.audit(&["--faults", "kill9*2", "--workloads", "compete,requeue"])?)?;
    ensure!(status.success() && number(&json, "lost") == 0, "{json}");
    let entries = entries(&stage.path("journal"))?;
    let confirmed = entries.iter().rev().find_map(|entry| match entry {
        Entry::Confirmed(range) => range.ids().next(),
        _ => None,
    });
    let victim = confirmed.context("something was confirmed")?;
    let edited = stage.path("edited");
    fs::create_dir(&edited)?;
    fs::copy(stage.path("journal").join("run.json"), edited.join("run.json"))?;
    let journal = Journal::create(&edited.join(FILE))?;
    let kept = entries.into_iter().filter(|entry| match entry {
        Entry::Delivered { id, .. } | Entry::Acked { id, .. } | Entry::Returned { id, .. } => *id != victim,
        _ => true,
    });
    for entry in kept {
        journal.append(&[entry]);
    }
    journal.close()?;
    let mut check = Command::new(everack()?);
    check
        .args(["audit", "check", "--json", "--report"])
        .arg(stage.path("again"))
        .arg(edited);
    let (status, json) = outcome(check)?;
    ensure!(status.code() == Some(1), "it ended with {status}: {json}");
    ensure!(number(&json, "lost") == 1, "{json}");
    let told = fs::read_to_string(stage.path("again").join("report.md"))?;
    ensure!(told.contains(&format!("`{victim}`")), "{victim} is not named");
    Ok(())
}

fn entries(journals: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut reader = Reader::open(&journals.join(FILE))?;
    let mut entries = Vec::new();
    while let Some((_, entry)) = reader.entry()? {
        entries.push(entry);
    }
    Ok(entries)
}

fn not_back() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let garbage = format!("printf garbage > {}/format", stage.path("data").display());
    let gone = format!(
        "{garbage}; mv {0} {0}.away && touch {0}",
        stage.path("data").display()
    );
    let output = stage
        .audit(&[
            "--faults",
            "between",
            "--between-cmd",
            &gone,
            "--workloads",
            "compete",
        ])?
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(3),
        "it ended with {}: {told}",
        output.status
    );
    ensure!(
        told.contains("its output"),
        "the broker's own words are missing: {told}"
    );
    Ok(())
}

/// SIGINT in the middle: the broker has to be gone as well.
fn interrupted() -> anyhow::Result<()> {
    use rustix::process::{Pid, Signal, kill_process};
    let stage = Stage::new()?;
    let mut audit = stage
        .audit(&["--for", "60s", "--workloads", "compete"])?
        .spawn()?;
    let address = format!("127.0.0.1:{}", stage.port);
    let up = || std::net::TcpStream::connect(&address).is_ok();
    for _ in 0..500 {
        if up() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    ensure!(up(), "the broker never came up");
    let pid = i32::try_from(audit.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.context("a process has an id")?, Signal::INT)?;
    let status = audit.wait()?;
    ensure!(status.code() == Some(2), "it ended with {status}");
    ensure!(!up(), "the broker was left behind");
    Ok(())
}
