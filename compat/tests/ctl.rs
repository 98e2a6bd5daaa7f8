//! `everack ctl` against a running broker, ours or RabbitMQ: what it prints, and with which status it ends.

use anyhow::{Context, ensure};
use everack_compat::binary;
use everack_compat::broker::{Broker, Settings, is_rabbitmq};
use libtest_mimic::Arguments;
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
        everack_compat::trial(name, move || act(&ctl))
    };
    let mut trials = vec![
        trial("a topology is declared, listed and deleted", topology),
        trial("connections are listed, and closed with a reason", connections),
        trial("statuses tell what went wrong", statuses),
        trial("who asks is never taken from the command line alone", log_in),
    ];
    // Paths that RabbitMQ has not.
    if !is_rabbitmq() {
        trials.push(trial(
            "messages are found wherever they are, and moved",
            found_and_moved,
        ));
        trials.push(trial("what is parked is searched, redriven, discarded", parked));
        trials.push(trial("what no queue wanted is sent once more", unroutable));
        trials.push(trial("a message is taken from who holds it", held));
    }
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
        lapin::ConnectionProperties::default().with_connection_name("to be closed".into()),
    ))?;
    // RabbitMQ's statistics come in every five seconds.
    let name = (0..100).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let rows = ctl.json(&["list", "connections"]).ok()?;
        let mut rows = rows.as_array()?.iter();
        // The other tests connect too.
        let ours = rows.find(|row| row["client_properties"]["connection_name"] == "to be closed")?;
        Some(ours.get("name")?.as_str()?.to_owned())
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

/// Some orders, of two customers.
fn publish_orders(ctl: &Ctl, queue: &str) -> anyhow::Result<()> {
    for (number, customer) in [("1", "customer=7"), ("2", "customer=8"), ("3", "customer=7")] {
        let (id, body) = (
            format!("correlation_id={queue}-{number}"),
            format!("{queue} {number}"),
        );
        ctl.expect(
            0,
            &["publish", queue, &body, "--header", customer, "--property", &id],
        )?;
    }
    Ok(())
}

/// The bodies of what a command lists.
fn bodies(ctl: &Ctl, arguments: &[&str]) -> anyhow::Result<Vec<String>> {
    let answer = ctl.json(arguments)?;
    let messages = answer["messages"].as_array().context("a list of messages")?;
    Ok(messages
        .iter()
        .filter_map(|message| Some(message["payload"].as_str()?.to_owned()))
        .collect())
}

fn found_and_moved(ctl: &Ctl) -> anyhow::Result<()> {
    for queue in ["find.a", "find.b"] {
        ctl.expect(0, &["declare", "queue", queue])?;
    }
    let full = [
        "--argument",
        "x-max-length=1",
        "--argument",
        "x-overflow=reject-publish",
    ];
    ctl.expect(0, &[&["declare", "queue", "find.full"], &full[..]].concat())?;
    publish_orders(ctl, "find.a")?;
    ensure!(bodies(ctl, &["peek", "find.a", "--count", "2"])? == ["find.a 1", "find.a 2"]);
    ensure!(bodies(ctl, &["peek", "find.a", "--state", "unsettled"])?.is_empty());
    let found = ctl.json(&["find", "--correlation-id", "find.a-2"])?;
    ensure!(
        found["messages"][0]["queue"] == "find.a"
            && found["messages"][0]["state"] == "ready"
            && found["more"] == false,
        "{found}"
    );
    ensure!(
        bodies(
            ctl,
            &[
                "find",
                "find.b",
                "find.a",
                "--header",
                "customer=7",
                "--count",
                "1"
            ]
        )? == ["find.a 1"]
    );
    ensure!(bodies(ctl, &["find", "find.b", "--text", "find.a"])?.is_empty());
    ctl.expect(2, &["find"])?;
    ctl.expect(3, &["find", "no.such", "--text", "x"])?;
    let seven = ["move", "find.a", "find.b", "--header", "customer=7"];
    let preview = ctl.expect(0, &[&seven[..], &["--dry-run"]].concat())?;
    ensure!(
        preview.starts_with("2 messages (") && preview.ends_with("would be moved to find.b\n"),
        "{preview}"
    );
    ensure!(bodies(ctl, &["peek", "find.b"])?.is_empty());
    ctl.expect(0, &seven)?;
    ensure!(bodies(ctl, &["peek", "find.b"])? == ["find.a 1", "find.a 3"]);
    ensure!(bodies(ctl, &["peek", "find.a"])? == ["find.a 2"]);
    let full = ctl.expect(0, &["move", "find.b", "find.full", "--all"])?;
    ensure!(
        full.starts_with("1 messages (") && full.contains("there is no room for them"),
        "{full}"
    );
    ctl.expect(2, &["move", "find.b", "find.a"])?;
    ctl.expect(3, &["move", "find.b", "no.such", "--all"])?;
    ctl.expect(8, &["move", "find.b", "find.b", "--all"])?;
    let gone = ctl.expect(0, &["discard", "find.a", "--text", "find.a 2"])?;
    ensure!(
        gone.starts_with("1 messages (") && gone.ends_with("discarded\n"),
        "{gone}"
    );
    ensure!(bodies(ctl, &["find", "--text", "find.a", "--state", "ready"])?.len() == 2);
    Ok(())
}

fn parked(ctl: &Ctl) -> anyhow::Result<()> {
    ctl.expect(
        0,
        &["declare", "queue", "park", "--argument", "x-delivery-limit=0"],
    )?;
    publish_orders(ctl, "park")?;
    // Each fails once, which is too often.
    ctl.expect(0, &["get", "park", "--count", "3", "--then", "reject-requeue"])?;
    let seven = ["--header", "customer=7"];
    ensure!(bodies(ctl, &["parked", "list", "park"])?.len() == 3);
    ensure!(bodies(ctl, &[&["parked", "list", "park"], &seven[..]].concat())? == ["park 1", "park 3"]);
    ensure!(bodies(ctl, &["find", "--state", "parked", "--text", "park 2"])? == ["park 2"]);
    let preview = ctl.json(&[&["parked", "redrive", "park", "--preview"], &seven[..]].concat())?;
    ensure!(
        preview["messages"] == 2 && preview["preview"] == true,
        "{preview}"
    );
    let redriven = ctl.json(&[&["parked", "redrive", "park"], &seven[..]].concat())?;
    ensure!(redriven["messages"] == 2 && redriven["stayed"] == 0, "{redriven}");
    ensure!(bodies(ctl, &["peek", "park"])? == ["park 1", "park 3"]);
    let gone = ctl.expect(0, &["parked", "discard", "park", "--all"])?;
    ensure!(gone.starts_with("1 messages ("), "{gone}");
    ensure!(bodies(ctl, &["parked", "list", "park"])?.is_empty());
    ctl.expect(3, &["parked", "redrive", "no.such", "--all"])
        .map(drop)
}

/// Publishes messages that need not find a queue, each with its routing key for a body. Over HTTP they would come back.
fn publish_into_the_void(ctl: &Ctl, exchange: &str, keys: &[&str]) -> anyhow::Result<()> {
    let (runtime, url) = (tokio::runtime::Runtime::new()?, ctl.0.url());
    runtime.block_on(async {
        let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(Default::default()).await?;
        for key in keys {
            let published = channel.basic_publish(
                exchange.into(),
                (*key).into(),
                Default::default(),
                key.as_bytes(),
                Default::default(),
            );
            published.await?.await?;
        }
        anyhow::Ok(connection.close(200, "done".into()).await?)
    })
}

fn unroutable(ctl: &Ctl) -> anyhow::Result<()> {
    publish_into_the_void(ctl, "amq.direct", &["north", "south"])?;
    ensure!(bodies(ctl, &["unroutable", "list", "--exchange", "amq.direct"])? == ["north", "south"]);
    let found = ctl.json(&["find", "--routing-key", "south"])?;
    ensure!(found["messages"][0]["state"] == "unroutable", "{found}");
    ctl.expect(0, &["declare", "queue", "north"])?;
    ctl.expect(
        0,
        &["declare", "binding", "amq.direct", "north", "--key", "north"],
    )?;
    let sent = ctl.expect(0, &["unroutable", "redrive", "--exchange", "amq.direct"])?;
    ensure!(
        sent.contains("1 messages (") && sent.contains("no queue wants them"),
        "{sent}"
    );
    ensure!(bodies(ctl, &["peek", "north"])? == ["north"]);
    ensure!(bodies(ctl, &["unroutable", "list", "--routing-key", "south"])? == ["south"]);
    let gone = ctl.expect(0, &["unroutable", "discard", "--routing-key", "south"])?;
    ensure!(gone.starts_with("1 messages ("), "{gone}");
    ensure!(bodies(ctl, &["unroutable", "list", "--exchange", "amq.direct"])?.is_empty());
    Ok(())
}

/// A consumer that holds all that it gets, until it is dropped with its connection.
fn hold(
    ctl: &Ctl,
    queue: &str,
    tag: &str,
) -> anyhow::Result<(tokio::runtime::Runtime, lapin::Connection, lapin::Consumer)> {
    let (runtime, url) = (tokio::runtime::Runtime::new()?, ctl.0.url());
    let (connection, consumer) = runtime.block_on(async {
        let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let consumer =
            channel.basic_consume(queue.into(), tag.into(), Default::default(), Default::default());
        anyhow::Ok((connection, consumer.await?))
    })?;
    Ok((runtime, connection, consumer))
}

fn held(ctl: &Ctl) -> anyhow::Result<()> {
    ctl.expect(0, &["declare", "queue", "held"])?;
    ctl.expect(0, &["publish", "held", "stuck"])?;
    let _one = hold(ctl, "held", "one")?;
    let _two = hold(ctl, "held", "two")?;
    let rows = ctl.json(&["holders", "held"])?;
    let unsettled = |rows: &Value, tag: &str| {
        let row = rows.as_array()?.iter().find(|row| row["consumer_tag"] == tag)?;
        row["messages_unacknowledged"].as_u64()
    };
    ensure!(
        unsettled(&rows, "one") == Some(1) && unsettled(&rows, "two") == Some(0),
        "{rows}"
    );
    let listed = ctl.json(&["peek", "held", "--state", "unsettled"])?;
    let id = listed["messages"][0]["id"].to_string();
    let preview = ctl.expect(0, &["release", "held", &id, "--preview"])?;
    ensure!(
        preview.starts_with(&format!("message {id} is held by consumer one of connection ")),
        "{preview}"
    );
    let wrong = ctl.expect(8, &["release", "held", &id, "--delivery", "1-1"])?;
    ensure!(wrong.contains("409"), "{wrong}");
    let released = ctl.expect(0, &["release", "held", &id])?;
    ensure!(
        released.contains("taken from consumer one of") && released.contains("and with consumer two of"),
        "{released}"
    );
    let rows = ctl.json(&["holders", "held"])?;
    ensure!(
        unsettled(&rows, "one") == Some(0) && unsettled(&rows, "two") == Some(1),
        "{rows}"
    );
    ctl.expect(3, &["release", "held", "999"]).map(drop)
}
