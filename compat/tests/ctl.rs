//! `everack ctl` against a running broker, ours or RabbitMQ: what it prints, and with which status it ends.

use anyhow::{Context, ensure};
use everack_compat::binary;
use everack_compat::broker::{Broker, Settings, is_rabbitmq};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

fn main() {
    let arguments = Arguments::from_args();
    let broker = Arc::new(Broker::with(Settings {
        management: true,
        ..Settings::default()
    }));
    let trial = |name: &str, act: fn(&Ctl) -> anyhow::Result<()>| {
        let ctl = Ctl(broker.clone());
        Trial::test(name, move || {
            act(&ctl).map_err(|error| format!("{error:#}").into())
        })
    };
    let trials = vec![
        trial("a topology is declared, listed and deleted", topology),
        trial("connections are listed, and closed with a reason", connections),
        trial("statuses tell what went wrong", statuses),
        trial("who asks is never taken from the command line alone", log_in),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials);
    // An exit drops nothing, and a broker that is not dropped goes on.
    drop(broker);
    conclusion.exit();
}

/// The command, for one broker.
struct Ctl(Arc<Broker>);

/// What a command came to.
struct Ended {
    status: i32,
    out: String,
    err: String,
}

impl Ctl {
    fn run(&self, arguments: &[&str]) -> anyhow::Result<Ended> {
        self.run_with(arguments, &[], "")
    }

    fn run_with(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
        input: &str,
    ) -> anyhow::Result<Ended> {
        let mut command = Command::new(binary("everack"));
        command.arg("ctl").args(arguments);
        command.env("EVERACK_URL", format!("http://{}", self.0.management()));
        command.envs(environment.iter().copied());
        let piped = || Stdio::piped();
        let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn()?;
        child
            .stdin
            .take()
            .context("standard input is piped")?
            .write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        Ok(Ended {
            status: output.status.code().context("ended by a signal")?,
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Runs a command that has to end with a status, and gives what it printed.
    fn expect(&self, status: i32, arguments: &[&str]) -> anyhow::Result<String> {
        let ended = self.run(arguments)?;
        let Ended { out, err, .. } = &ended;
        ensure!(
            ended.status == status,
            "{arguments:?} ended with {}: {out}{err}",
            ended.status
        );
        Ok(if status == 0 { ended.out } else { ended.err })
    }

    /// Checks what a command prints.
    fn check(&self, arguments: &[&str], expected: &str) -> anyhow::Result<()> {
        let out = self.expect(0, arguments)?;
        ensure!(
            out == expected,
            "{arguments:?} printed\n{out}instead of\n{expected}"
        );
        Ok(())
    }

    fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let out = self.expect(0, &[&["--json"], arguments].concat())?;
        serde_json::from_str(&out).with_context(|| out.clone())
    }
}

fn topology(ctl: &Ctl) -> anyhow::Result<()> {
    ctl.check(&["declare", "vhost", "lab"], "vhost lab is declared\n")?;
    let lab = |arguments: &[&'static str]| [&["--vhost", "lab"], arguments].concat();
    let queue = ["declare", "queue", "a/b", "--argument", "x-max-length=10"];
    ctl.check(&lab(&queue), "queue a/b in vhost lab is declared\n")?;
    ctl.check(
        &lab(&queue),
        "queue a/b in vhost lab was there, and is as declared\n",
    )?;
    let exchange = ["declare", "exchange", "news", "--type", "topic"];
    ctl.check(&lab(&exchange), "exchange news in vhost lab is declared\n")?;
    let binding = ["declare", "binding", "news", "a/b", "--key", "x.#"];
    ctl.check(
        &lab(&binding),
        "binding of a/b to news in vhost lab is declared\n",
    )?;
    let expected = "\
vhost  source  destination_type  destination  routing_key  arguments
lab            queue             a/b          a/b
lab    news    queue             a/b          x.#
";
    ctl.check(&lab(&["list", "bindings", "--sort", "source"]), expected)?;
    let narrow = ["list", "queues", "--columns", "name,durable,arguments"];
    let expected = "name  durable  arguments\na/b   yes      {\"x-max-length\":10}\n";
    ctl.check(&lab(&narrow), expected)?;
    let rows = ctl.json(&lab(&narrow))?;
    ensure!(
        rows == json!([{"name": "a/b", "durable": true, "arguments": {"x-max-length": 10}}]),
        "{rows}"
    );
    let shown = ctl.expect(0, &lab(&["show", "queue", "a/b"]))?;
    ensure!(
        shown.contains("\narguments.x-max-length ") || shown.starts_with("arguments.x-max-length "),
        "{shown}"
    );
    let purged = ctl.expect(0, &lab(&["purge", "a/b"]))?;
    ensure!(purged == "queue a/b in vhost lab is purged\n", "{purged}");
    let unbind = ["delete", "binding", "news", "a/b", "--key", "x.#"];
    ctl.check(&lab(&unbind), "binding of a/b to news in vhost lab is deleted\n")?;
    ctl.check(
        &lab(&["delete", "queue", "a/b", "--if-empty"]),
        "queue a/b in vhost lab with its messages is deleted\n",
    )?;
    ctl.check(
        &lab(&["delete", "exchange", "news"]),
        "exchange news in vhost lab is deleted\n",
    )?;
    let gone = "vhost lab with all its exchanges, queues and messages is deleted\n";
    ctl.check(&["delete", "vhost", "lab"], gone)
}

fn connections(ctl: &Ctl) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let url = ctl.0.url();
    let _connection = runtime.block_on(lapin::Connection::connect(
        &url,
        lapin::ConnectionProperties::default(),
    ))?;
    // RabbitMQ's statistics come in every five seconds.
    let name = (0..100).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let rows = ctl.json(&["list", "connections"]).ok()?;
        Some(rows.get(0)?.get("name")?.as_str()?.to_owned())
    });
    let name = name.context("the connection is never listed")?;
    ctl.check(
        &["close", "connection", &name, "--reason", "go away"],
        &format!("connection {name} is closed\n"),
    )?;
    let refused = ctl.expect(3, &["close", "connection", "no such"])?;
    ensure!(
        refused.contains("cannot close connection no such: 404"),
        "{refused}"
    );
    ctl.expect(2, &["close", "connections"]).map(drop)
}

fn statuses(ctl: &Ctl) -> anyhow::Result<()> {
    ctl.check(&["health"], "ok\n")?;
    ctl.expect(2, &["lsit"])?;
    ctl.expect(2, &["show", "binding", "x"])?;
    let refused = ctl.expect(3, &["show", "queue", "nope"])?;
    ensure!(
        refused.starts_with("everack ctl: cannot show queue nope: 404"),
        "{refused}"
    );
    ctl.expect(0, &["declare", "queue", "s", "--argument", "x-max-length=1"])?;
    let refused = ctl.expect(8, &["declare", "queue", "s", "--argument", "x-max-length=2"])?;
    let text = "400 Bad Request: inequivalent arg 'x-max-length' for queue 's' in vhost '/': received '2' but current is '1'";
    ensure!(refused.contains(text), "{refused}");
    ctl.expect(0, &["delete", "queue", "s"])?;
    let refused = ctl.expect(5, &["--url", "http://127.0.0.1:1", "status"])?;
    ensure!(
        refused.contains("http://127.0.0.1:1 does not answer"),
        "{refused}"
    );
    ctl.expect(2, &["--url", "amqp://127.0.0.1", "--timeout", "0", "status"])
        .map(drop)
}

fn log_in(ctl: &Ctl) -> anyhow::Result<()> {
    let who = ctl.json(&["whoami"])?;
    ensure!(who["name"] == "guest", "{who}");
    let wrong = ctl.run_with(&["--password-file", "-", "whoami"], &[], "wrong\n")?;
    ensure!(
        wrong.status == 4 && wrong.err.contains("401"),
        "{} {}",
        wrong.status,
        wrong.err
    );
    let right = ctl.run_with(
        &["--user", "guest", "--password-file", "-", "whoami"],
        &[],
        "guest\n",
    )?;
    ensure!(right.status == 0, "{}", right.err);
    let wrong = ctl.run_with(&["whoami"], &[("EVERACK_PASSWORD", "wrong")], "")?;
    ensure!(wrong.status == 4, "{} {}", wrong.status, wrong.err);
    let nobody = ctl.run_with(&["--user", "somebody", "whoami"], &[], "")?;
    ensure!(
        nobody.err.contains("there is no password for somebody"),
        "{}",
        nobody.err
    );
    // RabbitMQ has no such path: it refuses, and this says so.
    let parked = ctl.run(&["parked", "list", "nope"])?;
    let expected = if is_rabbitmq() { 8 } else { 3 };
    ensure!(parked.status == expected, "{} {}", parked.status, parked.err);
    Ok(())
}
