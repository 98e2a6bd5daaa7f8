//! The parts of the campaign, in the order in which they run: what is cheap and finds most comes first.

use super::Site;
use super::demand::Demand::{AtLeast, Found, Never, Same};
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
                &["seeds", "--seeds", &site.times(6000).to_string()],
            ))
        },
        demands: &[AtLeast("seeds", 5000), Never("violations")],
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
        command: |site| audit(site, "kill-everack", Broker::Everack, "kill9", 310),
        demands: NOTHING_BROKEN,
    },
    Part {
        name: "cut-everack",
        title: "Power cuts: Everack",
        command: |site| audit(site, "cut-everack", Broker::Everack, "between", 310),
        demands: NOTHING_BROKEN,
    },
    Part {
        name: "control-lying-disk",
        title: "Negative control: Everack on a disk that says synced and keeps nothing",
        command: |site| audit(site, "control-lying-disk", Broker::EverackOnLies, "between", 1),
        demands: &[Found("crashes"), Found("lost")],
    },
    Part {
        name: "control-wiped-segment",
        title: "Negative control: Everack whose newest segment is wiped while it is down",
        command: |site| audit(site, "control-wiped-segment", Broker::EverackWiped, "between", 1),
        demands: &[Found("crashes"), Found("lost")],
    },
    Part {
        name: "kill-rabbitmq-classic",
        title: "SIGKILL: Debian's RabbitMQ, classic queues",
        command: |site| {
            audit(
                site,
                "kill-rabbitmq-classic",
                Broker::RabbitMq("classic"),
                "kill9",
                30,
            )
        },
        demands: &[],
    },
    Part {
        name: "kill-rabbitmq-quorum",
        title: "SIGKILL: Debian's RabbitMQ, quorum queues",
        command: |site| {
            audit(
                site,
                "kill-rabbitmq-quorum",
                Broker::RabbitMq("quorum"),
                "kill9",
                30,
            )
        },
        demands: &[],
    },
    Part {
        name: "cut-rabbitmq-classic",
        title: "Power cuts: Debian's RabbitMQ, classic queues",
        command: |site| {
            audit(
                site,
                "cut-rabbitmq-classic",
                Broker::RabbitMq("classic"),
                "between",
                30,
            )
        },
        demands: &[],
    },
    Part {
        name: "cut-rabbitmq-quorum",
        title: "Power cuts: Debian's RabbitMQ, quorum queues",
        command: |site| {
            audit(
                site,
                "cut-rabbitmq-quorum",
                Broker::RabbitMq("quorum"),
                "between",
                30,
            )
        },
        demands: &[],
    },
];

/// What a run of the real binary has to show; `resurrected_late` are settlements that came back although they were received
/// more than 10 ms and the longest sync before the crash.
const NOTHING_BROKEN: &[super::demand::Demand] = &[
    AtLeast("crashes", 300),
    AtLeast("confirmed", 100_000),
    Never("lost"),
    Never("damaged"),
    Never("phantom"),
    Never("reordered"),
    Never("duplicated"),
    Never("resurrected_late"),
];

pub(crate) fn find(name: &str) -> anyhow::Result<&'static Part> {
    let known = || ALL.iter().map(|part| part.name).collect::<Vec<_>>().join(", ");
    ALL.iter()
        .find(|part| part.name == name)
        .with_context(|| format!("no part `{name}`; there are: {}", known()))
}

/// Who is audited, and on what.
#[derive(Clone, Copy)]
enum Broker {
    Everack,
    /// A power cut takes all that was ever written, synced or not.
    EverackOnLies,
    /// The newest segment is filled with zeros while the broker is down.
    EverackWiped,
    /// With queues of this type.
    RabbitMq(&'static str),
}

fn simulator(site: &Site, arguments: &[&str]) -> Command {
    let mut command = shell::command(site.binaries.join("simulator"));
    command.args(arguments).arg("--json");
    command
}

/// `everack audit`, with the broker's data on the power-failing file system where the fault is a power cut.
fn audit(site: &Site, name: &str, broker: Broker, fault: &str, times: u64) -> anyhow::Result<Command> {
    let folder = site.scratch.join(name);
    let needs_mount = fault == "between" && !matches!(broker, Broker::EverackWiped);
    let mount = folder.join("mount");
    std::fs::create_dir_all(&mount)?;
    let data = if needs_mount {
        mount.join("data")
    } else {
        folder.join("data")
    };
    let (start, port, queue_type) = start(site, broker, &folder, &data)?;
    let run = format!(
        "{everack} audit --url amqp://guest:guest@127.0.0.1:{port}/%2f --start-cmd \"{start}\" --between-cmd \"{between}\" \
         --faults '{fault}*{times}' --queue-type {queue_type} --seed 20261123 --journal {folder}/journal \
         --report {folder}/report --settle-bound {bound} --json",
        everack = site.binaries.join("everack").display(),
        between = between(site, broker, &folder, &data),
        times = site.times(times),
        folder = folder.display(),
        bound = if queue_type == "classic" && !matches!(broker, Broker::RabbitMq(_)) {
            "10ms"
        } else {
            "none"
        },
    );
    let script = if needs_mount {
        on_power_fail(site, broker, &folder, &run)
    } else {
        run
    };
    let mut command = shell::command("sh");
    command.arg("-c").arg(script);
    Ok(command)
}

/// The command that starts the broker, its port, and the type of queue to declare.
fn start(
    site: &Site,
    broker: Broker,
    folder: &Path,
    data: &Path,
) -> anyhow::Result<(String, u16, &'static str)> {
    match broker {
        Broker::RabbitMq(queue_type) => {
            let peer = RabbitMq::prepare(folder, data)?;
            Ok((
                format!("exec sh {}", peer.script.display()),
                peer.port,
                queue_type,
            ))
        }
        _ => {
            let (everack, port) = (site.binaries.join("everack"), free_port()?);
            let data = data.display();
            let start = format!(
                "exec {} serve --data {data} --amqp 127.0.0.1:{port}",
                everack.display()
            );
            Ok((start, port, "classic"))
        }
    }
}

/// What happens while the broker is down.
fn between(site: &Site, broker: Broker, folder: &Path, data: &Path) -> String {
    match broker {
        Broker::EverackWiped => format!(
            "newest=$(ls {data}/segment-* | sort | tail -n 1) && size=$(stat -c %s $newest) && truncate -s 0 $newest && truncate -s $size $newest",
            data = data.display()
        )
        .replace('$', "\\$"),
        _ => format!(
            "{} ctl --control {}/control cut --seed \\$AUDIT_FAULT_NUMBER",
            site.binaries.join("powerfail").display(),
            folder.display()
        ),
    }
}

/// The same with the file system mounted around it.
fn on_power_fail(site: &Site, broker: Broker, folder: &Path, run: &str) -> String {
    let mode = if matches!(broker, Broker::EverackOnLies) {
        "--mode lying"
    } else {
        ""
    };
    format!(
        "{powerfail} mount --backing {folder}/backing --at {folder}/mount --control {folder}/control {mode} --daemon || exit 2
         {run}; status=$?; {powerfail} ctl --control {folder}/control stop; exit $status",
        powerfail = site.binaries.join("powerfail").display(),
        folder = folder.display(),
    )
}
