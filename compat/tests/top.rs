//! `everack top` in a terminal, against a running broker, ours or RabbitMQ: what it shows, what its keys do, how it ends.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use everack_compat::binary;
use everack_compat::broker::{Broker, Settings, is_rabbitmq};
use everack_compat::pty::Pty;
use everack_compat::trial;
use libtest_mimic::Arguments;
use rustix::process::{Pid, Signal, kill_process};

fn main() {
    let arguments = Arguments::from_args();
    let trials = vec![
        trial(
            "the screen shows the broker, through a resize and while it is away",
            screen,
        ),
        trial("without a terminal it refuses", no_terminal),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

fn broker() -> Broker {
    Broker::with(Settings {
        management: true,
        ..Settings::default()
    })
}

fn everack(broker: &Broker, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("everack"));
    command
        .args(arguments)
        .env("EVERACK_URL", format!("http://{}", broker.management()));
    command.env_remove("NO_COLOR");
    command
}

fn ctl(broker: &Broker, arguments: &[&str]) -> anyhow::Result<()> {
    let output = everack(broker, &[&["ctl"], arguments].concat()).output()?;
    ensure!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn screen() -> anyhow::Result<()> {
    let mut broker = broker();
    for queue in ["orders", "invoices"] {
        ctl(&broker, &["declare", "queue", queue])?;
    }
    for body in ["1", "2", "3"] {
        ctl(&broker, &["publish", "orders", body])?;
    }
    let mut pty = Pty::start(&everack(&broker, &["top", "--every", "1"]), (100, 24))?;
    let row = |lines: &[String], name: &str, count: &str| {
        let fits = |line: &String| line.starts_with(name) && line.split_whitespace().nth(2) == Some(count);
        lines.iter().any(fits)
    };
    let lines = pty.wait_for("the queue with its messages", |lines| row(lines, "orders ", "3"))?;
    let product = if is_rabbitmq() {
        "RabbitMQ 3."
    } else {
        "Everack 0."
    };
    ensure!(
        lines[0].contains(product) && lines[0].ends_with("every 1 s"),
        "{}",
        lines[0]
    );
    ensure!(lines[3].starts_with("no alarm"), "{}", lines[3]);
    // The one with the most messages comes first.
    ensure!(
        lines[6].starts_with("orders ") && lines[7].starts_with("invoices "),
        "{}",
        lines.join("\n")
    );
    pty.resize(60, 12)?;
    let lines = pty.wait_for("a narrow screen", |lines| {
        lines.len() == 12 && lines[5].ends_with("out/s cons")
    })?;
    ensure!(
        lines.iter().all(|line| line.chars().count() <= 60),
        "{}",
        lines.join("\n")
    );
    pty.press("/inv\r")?;
    pty.wait_for("the filter", |lines| {
        lines[6].starts_with("invoices ") && lines[7].is_empty()
    })?;
    pty.press("2")?;
    pty.wait_for("connections", |lines| lines[5].starts_with("connection "))?;
    pty.press("1?")?;
    pty.wait_for("the help", |lines| {
        lines.iter().any(|line| line.contains("sort by another column"))
    })?;
    pty.press("x")?;
    // A RabbitMQ that was killed did not answer again within a minute.
    if !is_rabbitmq() {
        away_and_back(&mut broker, &mut pty)?;
    }
    pty.press("q")?;
    ensure!(pty.ended()?.success(), "it ended badly");
    ensure!(pty.is_given_back()?, "the terminal is not as it was");
    terminated(&broker)
}

fn away_and_back(broker: &mut Broker, pty: &mut Pty) -> anyhow::Result<()> {
    broker.kill();
    let away = |lines: &[String]| lines[0].contains("NO ANSWER") && lines[3].contains("does not answer");
    pty.wait_for("the broker's absence", away)?;
    broker.restart()?;
    pty.wait_for("the broker's return", |lines| {
        lines[0].ends_with("every 1 s") && lines[3].starts_with("no alarm")
    })?;
    Ok(())
}

/// A signal ends it as a key does.
fn terminated(broker: &Broker) -> anyhow::Result<()> {
    let mut pty = Pty::start(&everack(broker, &["top"]), (80, 24))?;
    pty.wait_for("the queues", |lines| {
        lines.iter().any(|line| line.starts_with("orders "))
    })?;
    let id = i32::try_from(pty.process_id()).ok().and_then(Pid::from_raw);
    kill_process(id.context("a process has an id")?, Signal::TERM)?;
    ensure!(pty.ended()?.success(), "it ended badly");
    ensure!(pty.is_given_back()?, "the terminal is not as it was");
    Ok(())
}

fn no_terminal() -> anyhow::Result<()> {
    let mut command = Command::new(binary("everack"));
    command.arg("top").stdin(Stdio::null());
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{:?} {said}", output.status);
    ensure!(
        said.starts_with("everack top: standard output is no terminal"),
        "{said}"
    );
    Ok(())
}
