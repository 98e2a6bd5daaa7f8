//! One run of a campaign: a fresh disk, one audit, its verdict.

use super::Campaign;
use super::brokers::{Kind, free_port};
use crate::control;
use crate::disk::Settings;
use crate::{Mode, Mounted};
use anyhow::{Context, bail};
use serde_json::Value;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Exit statuses of the audit: something was broken; the broker did not come back.
const BROKEN: i32 = 1;
const NOT_BACK: i32 = 3;

/// One power cut in so many is followed by a second one, while the broker recovers from the first.
/// No multiple of the number of outcomes, so that all of them come before and after.
const RECOVERY_CUT_EVERY: u64 = 5;
/// The second comes within so many milliseconds of the start.
const RECOVERY_MS_MAX: u64 = 400;

/// One audit on one disk.
pub(super) struct Run<'a> {
    pub(super) campaign: &'a Campaign,
    pub(super) number: u64,
    pub(super) cuts: u64,
    /// The disk lies.
    pub(super) lying: bool,
    /// Of this run alone.
    pub(super) folder: PathBuf,
}

/// What an audit found, and what the disk did.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) cuts: u64,
    pub(super) confirmed: u64,
    pub(super) lost: u64,
    pub(super) damaged: u64,
    pub(super) phantom: u64,
    pub(super) reordered: u64,
    pub(super) duplicated: u64,
    pub(super) resurrected: u64,
    /// Of those, the ones that no bound excuses.
    pub(super) resurrected_late: u64,
    pub(super) resurrected_oldest_ack_ms: f64,
    pub(super) queues_lost: u64,
    pub(super) torn_transactions: u64,
    pub(super) unconfirmed_delivered: u64,
    /// Runs in which the broker did not start again.
    pub(super) not_back: u64,
    pub(super) backlog_min: u64,
    pub(super) backlog_max: u64,
    /// As the disk saw it.
    pub(super) disk_sync_longest_ms: f64,
    /// As the audit saw it on its own journal: what the machine itself adds to any sync.
    pub(super) audit_sync_longest_ms: f64,
    pub(super) disk_syncs: u64,
    pub(super) disk_bytes_written: u64,
}

impl Run<'_> {
    pub(super) fn run(&self) -> anyhow::Result<Figures> {
        fs::create_dir_all(&self.folder)?;
        let settings = Settings {
            model: self.campaign.model,
            ..Settings::new(self.folder.join("backing"))
        };
        let mounted = Mounted::new(settings, &self.folder.join("disk"))?;
        if self.lying {
            mounted.set(Mode::Lying);
        }
        let control = self.folder.join("control");
        control::serve(mounted.commands(), &control, || {})?;
        let output = self.audit(&mounted, &control)?;
        let status = mounted.status();
        let mut figures = self.read(&output)?;
        figures.cuts = status.figures.cuts;
        figures.disk_sync_longest_ms = status.figures.sync_longest_ms;
        figures.disk_syncs = status.figures.syncs + status.figures.folder_syncs;
        figures.disk_bytes_written = status.figures.bytes_written;
        drop(mounted);
        if self.lying || figures.is_clean() {
            fs::remove_dir_all(&self.folder)?;
        } else {
            eprintln!("run {}: see {}", self.number, self.folder.display());
        }
        Ok(figures)
    }

    fn audit(&self, mounted: &Mounted, control: &Path) -> anyhow::Result<Output> {
        let campaign = self.campaign;
        let start = |port: u16| {
            campaign
                .broker
                .start_command(&campaign.everack, mounted.at(), &self.folder, self.number, port)
        };
        let port = free_port()?;
        // It dies with us, and the broker with it: a campaign that is interrupted leaves nothing.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        match &campaign.audit {
            Some(audit) => command.arg(audit),
            None => command.arg(&campaign.everack).arg("audit"),
        };
        let between = self.between_command(control, &start(free_port()?)?)?;
        let log = File::create(self.folder.join("audit.log"))?;
        command
            .arg("--url")
            .arg(format!("amqp://guest:guest@127.0.0.1:{port}/%2f"))
            .args(["--start-cmd", &start(port)?])
            .args(["--between-cmd", &between])
            .args(["--faults", &format!("between*{}", self.cuts)])
            .args(["--backlog", &campaign.backlog.to_string()])
            .args(["--workloads", &campaign.workloads])
            .args(["--queue-type", &campaign.queue_type])
            .args(["--seed", &(campaign.seed + self.number).to_string()])
            .args(["--settle-bound", self.settle_bound(), "--json"])
            .arg("--journal")
            .arg(self.folder.join("journal"))
            .stdin(Stdio::null())
            .stderr(log);
        let output = command
            .output()
            .with_context(|| format!("cannot run {}", campaign.everack.display()))?;
        Ok(Output {
            status: output.status.code().unwrap_or(-1),
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
        })
    }

    /// What the disk took is known here, not there, so a bound in milliseconds is applied to the sum. What `tx.commit-ok` has answered
    /// for is judged by the audit whatever its bound is.
    fn settle_bound(&self) -> &'static str {
        match self.campaign.broker {
            Kind::Everack => "1h",
            Kind::Rabbitmq => "none",
        }
    }

    /// What the audit runs while the broker is down. The seed picks the outcome, so that neighbouring cuts go through all
    /// four. Now and then the broker is started at a port that no client knows, and the power goes again while it recovers. A lying disk forgets everything that it
    /// was given since it was mounted, or the end of it.
    fn between_command(&self, control: &Path, start: &str) -> anyhow::Result<String> {
        let powerfail = std::env::current_exe()?;
        let base = (self.campaign.seed.wrapping_add(self.number) % 1_000_000) * 1_000_000;
        let outcome = match (self.lying, self.number % 2) {
            (false, _) => "",
            (true, 0) => "--outcome nothing",
            (true, _) => "--outcome prefix",
        };
        let mut script = format!(
            "set -e\nseed=$(({base} + AUDIT_FAULT_NUMBER))\n\
             ctl() {{ '{}' ctl --control '{}' \"$@\"; }}\nctl cut --seed $seed {outcome}\n",
            powerfail.display(),
            control.display()
        );
        if self.campaign.broker == Kind::Everack && !self.lying {
            script += &format!(
                "if [ $((AUDIT_FAULT_NUMBER % {RECOVERY_CUT_EVERY})) = 0 ]; then\n({start}) &\nbroker=$!\n\
                 sleep 0.$(printf %03d $((seed * 37 % {RECOVERY_MS_MAX})))\nctl off > /dev/null\n\
                 kill -9 $broker 2>&- || true\nwait $broker || true\n\
                 ctl cut --seed $((500000 + seed / {RECOVERY_CUT_EVERY}))\nfi\n"
            );
        }
        let path = self.folder.join("between.sh");
        fs::write(&path, script)?;
        Ok(format!("exec sh '{}'", path.display()))
    }

    fn read(&self, output: &Output) -> anyhow::Result<Figures> {
        let last = output.text.lines().rev().find(|line| line.starts_with('{'));
        let verdict: Option<Value> = last.and_then(|line| serde_json::from_str(line).ok());
        match (output.status, verdict) {
            (0 | BROKEN, Some(verdict)) => Ok(Figures::of(&verdict)),
            (NOT_BACK, verdict) => Ok(Figures {
                not_back: 1,
                ..verdict.as_ref().map(Figures::of).unwrap_or_default()
            }),
            (status, _) => {
                let log = fs::read_to_string(self.folder.join("audit.log")).unwrap_or_default();
                bail!("the audit ended with status {status}:\n{}\n{log}", output.text)
            }
        }
    }
}

/// How the audit ended, and what it said.
struct Output {
    status: i32,
    text: String,
}

impl Figures {
    fn of(verdict: &Value) -> Self {
        let count = |name: &str| verdict[name].as_u64().unwrap_or(0);
        Self {
            confirmed: count("confirmed"),
            lost: count("lost"),
            damaged: count("damaged"),
            phantom: count("phantom"),
            reordered: count("reordered"),
            duplicated: count("duplicated"),
            resurrected: count("resurrected"),
            resurrected_late: count("resurrected_late"),
            resurrected_oldest_ack_ms: verdict["resurrected_oldest_ack_ms"].as_f64().unwrap_or(0.0),
            audit_sync_longest_ms: verdict["sync_longest_ms"].as_f64().unwrap_or(0.0),
            queues_lost: count("queues_lost"),
            torn_transactions: count("torn_transactions"),
            unconfirmed_delivered: count("unconfirmed_delivered"),
            backlog_min: count("backlog_min"),
            backlog_max: count("backlog_max"),
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        let first = self.cuts == 0;
        self.cuts += other.cuts;
        self.confirmed += other.confirmed;
        self.lost += other.lost;
        self.damaged += other.damaged;
        self.phantom += other.phantom;
        self.reordered += other.reordered;
        self.duplicated += other.duplicated;
        self.resurrected += other.resurrected;
        self.resurrected_late += other.resurrected_late;
        self.resurrected_oldest_ack_ms = self
            .resurrected_oldest_ack_ms
            .max(other.resurrected_oldest_ack_ms);
        self.queues_lost += other.queues_lost;
        self.torn_transactions += other.torn_transactions;
        self.unconfirmed_delivered += other.unconfirmed_delivered;
        self.not_back += other.not_back;
        self.backlog_min = if first {
            other.backlog_min
        } else {
            self.backlog_min.min(other.backlog_min)
        };
        self.backlog_max = self.backlog_max.max(other.backlog_max);
        self.disk_sync_longest_ms = self.disk_sync_longest_ms.max(other.disk_sync_longest_ms);
        self.audit_sync_longest_ms = self.audit_sync_longest_ms.max(other.audit_sync_longest_ms);
        self.disk_syncs += other.disk_syncs;
        self.disk_bytes_written += other.disk_bytes_written;
    }

    /// Every promise was kept. Settlements have a bound of their own, applied to the sum.
    pub(super) fn is_clean(&self) -> bool {
        let flaws = [
            self.lost,
            self.damaged,
            self.phantom,
            self.reordered,
            self.duplicated,
            self.queues_lost,
            self.torn_transactions,
            self.not_back,
            self.resurrected_late,
        ];
        flaws == [0; 9]
    }

    /// How much a lying disk was found to have cost: messages, or the whole broker.
    pub(super) fn lost_or_gone(&self) -> u64 {
        self.lost + self.not_back
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cuts, {} confirmed, lost {}, damaged {}, phantom {}, reordered {}, duplicated {}, resurrected {} (oldest ack \
             {:.1} ms), queues lost {}, not back {}, longest sync {:.1} ms, backlog up to {}",
            self.cuts,
            self.confirmed,
            self.lost,
            self.damaged,
            self.phantom,
            self.reordered,
            self.duplicated,
            self.resurrected,
            self.resurrected_oldest_ack_ms,
            self.queues_lost,
            self.not_back,
            self.disk_sync_longest_ms,
            self.backlog_max
        )
    }
}
