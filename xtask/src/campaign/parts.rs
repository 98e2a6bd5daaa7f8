//! The parts of the campaign, in the order in which they run: what is cheap and finds most comes first.

use super::Site;
use super::demand::Demand::{self, AtLeast, Found, Never, NoMore, Same};
use super::part::Part;
use super::peer::{RabbitMq, free_port};
use crate::shell;
use anyhow::Context;
use std::path::Path;
use std::process::Command;

pub(crate) const ALL: &[Part] = &[
    Part {
        name: "crash-points",
        title: "Power lost at every disk call of recorded traces, and again during recovery",
        command: |site| Ok(simulator(site, &["crash-points"])),
        demands: &[AtLeast("crash_points", 10_000), Never("violations")],
    },
    Part {
        name: "seeds",
        title: "Random histories of a node, judged by what its clients saw",
        command: |site| {
            Ok(simulator(
                site,
                &["seeds", "--seeds", &site.times(50_000).to_string()],
            ))
        },
        demands: &[AtLeast("seeds", 50_000), Never("violations")],
    },
    Part {
        name: "put-back-bugs",
        title: "Known bugs, put back on purpose, are found",
        command: |site| Ok(simulator(site, &["flaws"])),
        demands: &[Found("flaws"), Same("flaws_found", "flaws")],
    },
    Part {
        name: "kill-everack",
        title: "SIGKILL: Everack",
        command: |site| audit_everack(site, "kill-everack", &format!("kill9*{}", site.times(310)), None),
        demands: KILLS,
    },
    Part {
        name: "cut-everack",
        title: "Power cuts: Everack",
        command: |site| Ok(power_cuts(site, "cut-everack", site.times(310), site.times(20))),
        demands: POWER_CUTS,
    },
    Part {
        name: "control-wiped-segment",
        title: "Negative control: Everack whose newest segment is wiped while it is down",
        command: |site| {
            audit_everack(
                site,
                "control-wiped-segment",
                "between",
                Some(wipe_newest_segment),
            )
        },
        demands: &[Found("crashes"), Found("lost")],
    },
    Part {
        name: "kill-rabbitmq-classic",
        title: "SIGKILL: Debian's RabbitMQ, classic queues",
        command: |site| audit_rabbitmq(site, "kill-rabbitmq-classic", "classic"),
        demands: &[],
    },
    Part {
        name: "kill-rabbitmq-quorum",
        title: "SIGKILL: Debian's RabbitMQ, quorum queues",
        command: |site| audit_rabbitmq(site, "kill-rabbitmq-quorum", "quorum"),
        demands: &[],
    },
    Part {
        name: "cut-rabbitmq-classic",
        title: "Power cuts: Debian's RabbitMQ, classic queues",
        command: |site| Ok(cut_rabbitmq(site, "cut-rabbitmq-classic", "classic")),
        demands: &[],
    },
    Part {
        name: "cut-rabbitmq-quorum",
        title: "Power cuts: Debian's RabbitMQ, quorum queues",
        command: |site| Ok(cut_rabbitmq(site, "cut-rabbitmq-quorum", "quorum")),
        demands: &[],
    },
];

/// RabbitMQ takes seconds to start.
const RABBITMQ_CRASHES: u64 = 20;

/// What a run of the real binary has to show. `resurrected_beyond_sync` are settlements that came back although they were received
/// more than 10 ms and the longest sync before the crash; `resurrected_late` is the audit's own, kinder measure.
const KILLS: &[Demand] = &[
    AtLeast("crashes", 300),
    AtLeast("confirmed", 100_000),
    AtLeast("backlog_max", 2000),
    Never("lost"),
    Never("damaged"),
    Never("phantom"),
    Never("reordered"),
    Never("duplicated"),
    Never("resurrected_late"),
    Never("resurrected_beyond_sync"),
    Never("torn_transactions"),
    Never("queues_lost"),
    Never("deaths_unplanned"),
];

/// The same for power cuts; and the disk that lies is found out in every run.
const POWER_CUTS: &[Demand] = &[
    AtLeast("cuts", 300),
    AtLeast("confirmed", 100_000),
    AtLeast("backlog_max", 2000),
    Never("lost"),
    Never("damaged"),
    Never("phantom"),
    Never("reordered"),
    Never("duplicated"),
    Never("torn_transactions"),
    Never("queues_lost"),
    Never("not_back"),
    Never("resurrected_late"),
    NoMore("resurrected_oldest_ack_ms", "resurrected_one_sync_ms"),
    AtLeast("lying_runs", 20),
    Same("lying_runs_found_out", "lying_runs"),
];

pub(crate) fn find(name: &str) -> anyhow::Result<&'static Part> {
    let known = || ALL.iter().map(|part| part.name).collect::<Vec<_>>().join(", ");
    ALL.iter()
        .find(|part| part.name == name)
        .with_context(|| format!("no part `{name}`; there are: {}", known()))
}

fn simulator(site: &Site, arguments: &[&str]) -> Command {
    let mut command = shell::command(site.binaries.join("everack-simulator"));
    command.args(arguments).arg("--json");
    command
}

/// The real broker on the power-failing file system, driven and judged by the audit.
fn power_cuts(site: &Site, name: &str, cuts: u64, lying_runs: u64) -> Command {
    let mut command = shell::command(site.binaries.join("powerfail"));
    command.arg("campaign").arg("--cuts").arg(cuts.to_string());
    command.arg("--lying-runs").arg(lying_runs.to_string());
    command.arg("--everack").arg(site.binaries.join("everack"));
    command.arg("--folder").arg(site.scratch.join(name)).arg("--json");
    command
}

/// As few as its slow starts allow. On the kinder model of a disk: what it makes of a strict one is not the question.
fn cut_rabbitmq(site: &Site, name: &str, queue_type: &str) -> Command {
    let mut command = power_cuts(site, name, site.times(RABBITMQ_CRASHES), 0);
    command.args([
        "--broker",
        "rabbitmq",
        "--queue-type",
        queue_type,
        "--model",
        "ext4",
    ]);
    command
}

/// `everack audit` of Everack.
fn audit_everack(
    site: &Site,
    name: &str,
    faults: &str,
    between: Option<fn(&Path) -> String>,
) -> anyhow::Result<Command> {
    let (data, port) = (site.scratch.join(name).join("data"), free_port()?);
    let everack = site.binaries.join("everack");
    let start = format!(
        "exec {} serve --data {} --amqp 127.0.0.1:{port}",
        everack.display(),
        data.display()
    );
    let mut command = audit(site, name, port, &start, faults);
    if let Some(between) = between {
        command.arg("--between-cmd").arg(between(&data));
    }
    Ok(command)
}

/// `everack audit` of Debian's RabbitMQ; it promises nothing of settlements.
fn audit_rabbitmq(site: &Site, name: &str, queue_type: &str) -> anyhow::Result<Command> {
    let folder = site.scratch.join(name);
    let peer = RabbitMq::prepare(&folder, &folder.join("data"))?;
    let start = format!("exec sh {}", peer.script.display());
    let faults = format!("kill9*{}", site.times(RABBITMQ_CRASHES));
    let mut command = audit(site, name, peer.port, &start, &faults);
    command.args(["--queue-type", queue_type, "--settle-bound", "none"]);
    Ok(command)
}

fn audit(site: &Site, name: &str, port: u16, start: &str, faults: &str) -> Command {
    let folder = site.scratch.join(name);
    let mut command = shell::command(site.binaries.join("everack"));
    command
        .arg("audit")
        .arg("--url")
        .arg(format!("amqp://guest:guest@127.0.0.1:{port}/%2f"));
    command.arg("--start-cmd").arg(start).arg("--faults").arg(faults);
    command
        .arg("--journal")
        .arg(folder.join("journal"))
        .arg("--report")
        .arg(folder.join("report"));
    command.args(["--seed", "20261123", "--json"]);
    command
}

/// Fills the newest segment that holds anything with zeros.
fn wipe_newest_segment(data: &Path) -> String {
    format!(
        "cd {} && for file in $(ls -r segment-*); do \
           if tail -c +4097 $file | tr -d '\\0' | head -c 1 | grep -q .; then \
             size=$(stat -c %s $file) && truncate -s 0 $file && truncate -s $size $file && exit 0; \
           fi; done; exit 1",
        data.display()
    )
}
