//! `rabbitmqctl` and its kin, as links to our binary: the same lines get the answers that Debian's tools give.
//!
//! `compat/rabbitmqctl/scene.txt` is what is asked. `compat/rabbitmqctl/answers.json` is what RabbitMQ's own tools answered: against RabbitMQ
//! (`COMPAT_AGAINST=rabbitmq`) they are asked again, and our tool too, over RabbitMQ's management API; `COMPAT_RECORD=1` writes the answers anew.
//! Against ours our tool has to give the same, over the socket for operators and without a password.

use anyhow::{Context, ensure};
use everack_compat::broker::{Broker, Settings, is_rabbitmq};
use everack_compat::{binary, http, source};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

const SCENE: &str = "rabbitmqctl/scene.txt";
const ANSWERS: &str = "rabbitmqctl/answers.json";
/// Where Debian has RabbitMQ's tools without the wrapper that changes the user.
const DEBIAN: &str = "/usr/lib/rabbitmq/bin";

fn main() {
    let arguments = Arguments::from_args();
    let broker = Arc::new(Broker::with(Settings {
        management: true,
        ..Settings::default()
    }));
    let trial = |name: &str, act: fn(&Broker) -> anyhow::Result<()>| {
        let broker = broker.clone();
        Trial::test(name, move || {
            act(&broker).map_err(|error| Failed::from(format!("{error:#}")))
        })
    };
    let mut trials = vec![trial("a script gets RabbitMQ's answers", scene)];
    if !is_rabbitmq() {
        trials.push(trial(
            "what cannot be done is said, with RabbitMQ's status",
            refusals,
        ));
        trials.push(trial("who operates the machine needs no password", operators));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // An exit drops nothing, and a broker that is not dropped goes on.
    drop(broker);
    conclusion.exit();
}

/// Tools, and the broker that they are for.
struct Tools<'a> {
    broker: &'a Broker,
    folder: PathBuf,
    environment: Vec<(String, String)>,
    _links: Option<tempfile::TempDir>,
}

impl<'a> Tools<'a> {
    /// RabbitMQ's own, for the broker that a test has started.
    fn of_debian(broker: &'a Broker) -> Self {
        Self {
            broker,
            folder: DEBIAN.into(),
            environment: broker.tool_environment(),
            _links: None,
        }
    }

    /// Ours: links to the binary.
    fn ours(broker: &'a Broker) -> anyhow::Result<Self> {
        let links = tempfile::tempdir()?;
        for tool in ["rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-plugins"] {
            std::os::unix::fs::symlink(binary("everack"), links.path().join(tool))?;
        }
        // RabbitMQ has no socket for operators; there `guest` asks.
        let place = if is_rabbitmq() {
            (
                "EVERACK_URL".to_owned(),
                format!("http://{}", broker.management()),
            )
        } else {
            ("EVERACK_DATA".to_owned(), broker.data().display().to_string())
        };
        Ok(Self {
            broker,
            folder: links.path().to_owned(),
            environment: vec![place],
            _links: Some(links),
        })
    }

    /// Runs a line, and gives what it came to.
    fn run(&self, line: &str) -> anyhow::Result<Value> {
        let words = words(line);
        let (tool, words) = match words.first() {
            Some(first) if first.starts_with("rabbitmq-") => (first.as_str(), &words[1..]),
            _ => ("rabbitmqctl", &words[..]),
        };
        let mut command = Command::new(self.folder.join(tool));
        command.args(words).envs(self.environment.iter().cloned());
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{tool} cannot be run"))?;
        let node = self.node();
        let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&node, "NODE");
        let (out, err) = (plain(&output.stdout), plain(&output.stderr));
        Ok(json!({ "line": line, "status": output.status.code(), "out": unordered(&out), "err": err }))
    }

    fn node(&self) -> String {
        let overview = http::get(self.broker.management(), "/api/overview", "guest:guest");
        let overview = overview.and_then(|answer| answer.json()).unwrap_or_default();
        overview["node"].as_str().unwrap_or("nobody@nowhere").to_owned()
    }
}

/// A line as a shell would read it, as far as the scene needs it.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut begun) = (String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

/// The lines of an answer in an order of their own, without the comma that all rows of JSON but the first begin with.
fn unordered(out: &str) -> Vec<String> {
    // An exchange for tracing and hashes of its own are RabbitMQ's business.
    let mut lines: Vec<String> = out
        .lines()
        .map(|line| line.trim_start_matches(',').to_owned())
        .collect();
    lines.sort();
    lines
}

fn scene(broker: &Broker) -> anyhow::Result<()> {
    let known = if is_rabbitmq() {
        let answers = play(&Tools::of_debian(broker))?;
        if std::env::var_os("COMPAT_RECORD").is_some() {
            write(&answers)?;
        }
        answers
    } else {
        let text = std::fs::read_to_string(source(ANSWERS)).context("no answers are recorded")?;
        serde_json::from_str(&text)?
    };
    let seen = play(&Tools::ours(broker)?)?;
    ensure!(
        seen.len() == known.len(),
        "the scene has changed: record it anew against RabbitMQ"
    );
    let different: Vec<String> = seen
        .iter()
        .zip(&known)
        .filter(|(seen, known)| seen != known)
        .map(|(seen, known)| format!("RabbitMQ: {known:#}\nours: {seen:#}"))
        .collect();
    ensure!(
        different.is_empty(),
        "{} of {} differ\n{}",
        different.len(),
        seen.len(),
        different.join("\n")
    );
    Ok(())
}

fn write(answers: &[Value]) -> anyhow::Result<()> {
    let lines: Vec<String> = answers.iter().map(Value::to_string).collect();
    Ok(std::fs::write(
        source(ANSWERS),
        format!("[\n{}\n]\n", lines.join(",\n")),
    )?)
}

/// Asks all lines of the scene, in order.
fn play(tools: &Tools<'_>) -> anyhow::Result<Vec<Value>> {
    let mut answers = Vec::new();
    for line in std::fs::read_to_string(source(SCENE))?.lines() {
        match line {
            "" => {}
            "@queues" => declare_queues(tools.broker)?,
            comment if comment.starts_with('#') => {}
            line => answers.push(tools.run(line)?),
        }
    }
    Ok(answers)
}

/// What the second part of the scene is about.
fn declare_queues(broker: &Broker) -> anyhow::Result<()> {
    let put = |method: &str, path: &str, body: &str| -> anyhow::Result<()> {
        let answer = http::send(broker.management(), method, path, "guest:guest", body)?;
        ensure!(answer.status < 300, "{method} {path}: {}", answer.status);
        Ok(())
    };
    let limited = r#"{"durable":true,"arguments":{"x-max-length":100000}}"#;
    put("PUT", "/api/queues/%2f/orders", limited)?;
    put("PUT", "/api/queues/%2f/stock", limited)?;
    let key = r#"{"routing_key":"a.#","arguments":{"x":1,"y":"z"}}"#;
    put("POST", "/api/bindings/%2f/e/amq.topic/q/orders", key)?;
    // RabbitMQ's statistics come in every five seconds, and our tool reads them there.
    for _ in 0..200 {
        let answer = http::get(
            broker.management(),
            "/api/queues/%2f?columns=messages_ready",
            "guest:guest",
        )?
        .json()?;
        let rows = answer.as_array().cloned().unwrap_or_default();
        if rows.len() == 2 && rows.iter().all(|row| row["messages_ready"] == 0) {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    anyhow::bail!("the queues are never counted")
}

fn refusals(broker: &Broker) -> anyhow::Result<()> {
    let tools = Tools::ours(broker)?;
    let check = |line: &str, status: i64, text: &str| -> anyhow::Result<()> {
        let answer = tools.run(line)?;
        let err = answer["err"].as_str().unwrap_or_default();
        ensure!(answer["status"] == status && err.contains(text), "{answer:#}");
        Ok(())
    };
    check("stop_app", 69, "stop_app: the service manager")?;
    check("eval 'node().'", 69, "there is no Erlang")?;
    check(
        "rabbitmq-plugins enable rabbitmq_stomp",
        70,
        "{:plugins_not_found, [:rabbitmq_stomp]}",
    )?;
    check("rabbitmq-plugins enable rabbitmq_management", 0, "")?;
    check("list_queues --formatter nonsense", 64, "nonsense")?;
    check(
        "rabbitmq-diagnostics check_port_listener 1",
        69,
        "No listener for port 1 is active on node NODE",
    )?;
    check(
        "import_definitions /nowhere.json",
        65,
        "File /nowhere.json does not exist",
    )
}

fn operators(broker: &Broker) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let socket = broker.data().join("everack.sock");
    let mode = std::fs::metadata(&socket)?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    let who = everack(&["whoami"], &broker.data())?;
    ensure!(who.starts_with("rmq-cli [administrator] at "), "{who}");
    // Who names a user is that user, there too.
    let named = everack(&["--user", "guest", "whoami"], &broker.data())?;
    ensure!(named.starts_with("guest [administrator] at "), "{named}");
    // It is nobody whose messages they could be.
    let published = everack(&["publish", "nowhere", "x"], &broker.data());
    let refused = published.expect_err("the operator publishes").to_string();
    ensure!(
        refused.contains("log in as a user to publish and get"),
        "{refused}"
    );
    somebody_else_is_refused(&socket)
}

/// The kernel says who has connected: the mode of the file is not all.
fn somebody_else_is_refused(socket: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let mut folder = Some(socket);
    while let Some(path) = folder.filter(|path| *path != Path::new("/tmp") && *path != Path::new("/")) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))?;
        folder = path.parent();
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "65534", "--clear-groups"])
        .arg(binary("everack"));
    command.args(["ctl", "--url", &format!("unix:{}", socket.display()), "whoami"]);
    let output = command.env_clear().output()?;
    let err = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && err.contains("it is for root and the user that the broker runs as"),
        "{err}"
    );
    Ok(())
}

/// What `everack ctl` prints, asked over the socket of a data directory.
fn everack(arguments: &[&str], data: &Path) -> anyhow::Result<String> {
    let output = Command::new(binary("everack"))
        .arg("ctl")
        .args(arguments)
        .env("EVERACK_DATA", data)
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
