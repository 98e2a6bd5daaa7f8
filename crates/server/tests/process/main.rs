//! The real binary as its operator sees it: lines, statuses, signals. Contains none of its code.

mod client;
mod http;
mod made;
mod suite;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use client::Client;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than anything here takes, also on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

fn everack() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everack"));
    command.stdin(Stdio::null()).env_remove("NOTIFY_SOCKET");
    command
}

/// Runs to the end, which has to come by itself.
fn run(arguments: &[&str]) -> Output {
    everack().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A process that does not outlive a test that fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A broker of the test, on a free port and in a directory of its own.
struct Broker {
    child: Running,
    directory: TempDir,
    ready: String,
    log: thread::JoinHandle<String>,
}

impl Broker {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, |_| {})
    }

    fn start_with(arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = everack();
        command.arg("serve");
        if !arguments.contains(&"--data") {
            command.arg("--data").arg(directory.path().join("data"));
        }
        command.args(["--amqp", "127.0.0.1:0"]).args(arguments);
        // Many of these run at a time: the usual address is for those who ask for it.
        if !arguments.iter().any(|argument| argument.contains("http")) {
            command.args(["--http", "off"]);
        }
        if !arguments.iter().any(|argument| argument.contains("metrics")) {
            command.args(["--metrics", "off"]);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        prepare(&mut command);
        let mut child = Running(command.spawn().unwrap());
        let stderr = child.0.stderr.take();
        let log = thread::spawn(move || {
            let mut log = String::new();
            let _ = stderr.map(|mut stderr| stderr.read_to_string(&mut log));
            log
        });
        let mut ready = String::new();
        BufReader::new(child.0.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        if ready.is_empty() {
            panic!("the broker did not get ready:\n{}", log.join().unwrap());
        }
        Self {
            child,
            directory,
            ready,
            log,
        }
    }

    fn data(&self) -> String {
        self.directory.path().join("data").display().to_string()
    }

    /// The address after that word in the ready line.
    fn address(&self, word: &str) -> String {
        let mut words = self.ready.split(' ').skip_while(|found| *found != word);
        words
            .nth(1)
            .unwrap_or_else(|| panic!("no {word} in {}", self.ready))
            .to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child.0), signal).unwrap();
    }

    /// Waits for the end; its status and everything that was logged.
    fn ended(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.0.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.child.0.kill().unwrap();
                panic!("the broker did not end:\n{}", self.log.join().unwrap());
            }
            thread::sleep(Duration::from_millis(5));
        };
        (status.code(), self.log.join().unwrap())
    }

    /// Waits for the end of a broker that was killed, and keeps its files.
    fn directory_after_end(mut self) -> TempDir {
        self.child.0.wait().unwrap();
        self.directory
    }

    fn stopped(self) -> String {
        self.signal(Signal::TERM);
        let (status, log) = self.ended();
        assert_eq!(status, Some(0), "{log}");
        log
    }
}

#[test]
fn says_when_it_is_ready_and_ends_with_status_zero() {
    for signal in [Signal::TERM, Signal::INT] {
        let broker = Broker::start(&[]);
        let expected = format!(
            "everack {} ready: amqp {} data {}\n",
            env!("CARGO_PKG_VERSION"),
            broker.address("amqp"),
            broker.data()
        );
        assert_eq!(broker.ready, expected);
        TcpStream::connect(broker.address("amqp")).unwrap();
        broker.signal(signal);
        let (status, log) = broker.ended();
        assert_eq!(status, Some(0), "{log}");
        assert!(log.trim_end().ends_with("stopped"), "{log}");
    }
}

#[test]
fn a_data_directory_belongs_to_one_process() {
    let broker = Broker::start(&[]);
    let data = broker.data();
    let elsewhere = ["--amqp", "127.0.0.1:0", "--http", "off", "--metrics", "off"];
    let second = run(&[&["serve", "--data", &data], &elsewhere[..]].concat());
    assert_eq!(second.status.code(), Some(1));
    let expected = format!(
        "everack: the data directory {} is in use by process {} (everack): stop that process, or give this one another directory with --data\n",
        broker.data(),
        broker.child.0.id()
    );
    assert_eq!(text(&second.stderr), expected);
    assert_eq!(
        text(&second.stdout),
        "",
        "standard output is for the ready line only"
    );
    broker.stopped();
}

#[test]
fn refuses_to_start_with_what_cannot_work() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fs::write(path("bad.toml"), "[amqp]\nlisen = \"127.0.0.1:5672\"\n").unwrap();
    fs::write(path("file"), "").unwrap();
    let (data, file, bad) = (path("data"), path("file"), path("bad.toml"));
    let check = |arguments: &[&str], expected: &str| {
        let output = run(&[&["serve", "--amqp", "127.0.0.1:0"], arguments].concat());
        let stderr = text(&output.stderr).replace(&format!("{}/", directory.path().display()), "");
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.trim_end(), expected);
        assert_eq!(text(&output.stdout), "");
    };
    check(
        &["--config", &bad],
        "everack: the configuration cannot be used\n  bad.toml:2: amqp.lisen: unknown key; did you mean `amqp.listen`?",
    );
    check(
        &["--config", &path("none.toml")],
        "everack: the configuration cannot be used\n  none.toml: cannot be read: No such file or directory (os error 2)",
    );
    check(
        &["--set", "amqp.backlog=0"],
        "everack: the configuration cannot be used\n  --set amqp.backlog=0: amqp.backlog: must be a whole number from 1 to 65535, not 0",
    );
    check(
        &["--set", "amqp.backlog"],
        "everack: --set amqp.backlog: must be KEY=VALUE",
    );
    check(
        &["--data", &file],
        "everack: file is not a directory: give the path of a directory with --data",
    );
    check(
        &["--data", &data, "--amqp", &address],
        &format!(
            "everack: amqp.listen: cannot listen on {address}: Address already in use (os error 98) (another program listens there, perhaps another everack or RabbitMQ: stop it, or choose another address)"
        ),
    );
    check(
        &[
            "--data",
            &data,
            "--set",
            "tls.certificate=none.pem",
            "--set",
            "tls.key=none.pem",
            "--set",
            "tls.listen=127.0.0.1:0",
        ],
        "everack: tls.certificate: none.pem cannot be read: No such file or directory (os error 2)",
    );
}

#[test]
fn reloads_at_sighup() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("everack.toml");
    let reloaded_with = |text: &str| {
        fs::write(&file, "[log]\nlevel = \"info\"\n").unwrap();
        let systemd = Systemd::new();
        let broker = Broker::start_with(&["--config", file.to_str().unwrap()], |command| {
            systemd.manage(command)
        });
        systemd.wait_for("READY=1");
        fs::write(&file, text).unwrap();
        broker.signal(Signal::HUP);
        systemd.wait_for("RELOADING=1");
        systemd.wait_for("READY=1");
        broker.stopped()
    };
    let log = reloaded_with("[log]\nlevel = \"info,x=debug\"\n[amqp]\nconnections_max = 7\nbacklog = 7\n");
    assert!(
        log.contains("new values are in use keys=\"amqp.connections_max, log.level\""),
        "{log}"
    );
    assert!(
        log.contains("new values need a restart; the former ones stay in use keys=\"amqp.backlog\""),
        "{log}"
    );

    let log = reloaded_with("[log]\nlevel = \"loud\"\n");
    assert!(
        log.contains("everack.toml:2: log.level: must be a level"),
        "{log}"
    );
    assert!(log.contains("nothing was changed"), "{log}");
    assert!(log.contains("stopped"), "{log}");

    let log = reloaded_with("[log]\nlevel = \"error\"\n");
    assert!(!log.contains("stopped"), "{log}");
}

/// The part of systemd that listens to what a service tells it.
struct Systemd {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Systemd {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, directory }
    }

    fn manage(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
    }

    fn told(&self) -> String {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).unwrap();
        text(&message[..length])
    }

    fn wait_for(&self, expected: &str) {
        while !self.told().contains(expected) {}
    }
}

#[test]
fn tells_systemd() {
    let systemd = Systemd::new();
    let broker = Broker::start_with(&[], |command| systemd.manage(command));
    let ready = systemd.told();
    assert!(ready.contains("READY=1\n"), "{ready}");
    assert!(ready.contains(&format!("STATUS={}", broker.ready)), "{ready}");
    broker.signal(Signal::HUP);
    let reloading = systemd.told();
    assert!(reloading.contains("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert!(systemd.told().contains("READY=1"));
    broker.signal(Signal::TERM);
    let stopping = systemd.told();
    assert!(stopping.contains("STOPPING=1"), "{stopping}");
    assert_eq!(broker.ended().0, Some(0));
}

#[test]
fn logs_json_when_asked_to() {
    let log = Broker::start(&["--set", "log.format=json"]).stopped();
    assert!(!log.is_empty());
    for line in log.lines() {
        let entry: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            entry["message"].is_string() && entry["level"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn goes_on_when_nobody_reads_its_log() {
    let systemd = Systemd::new();
    let mut broker = Broker::start_with(&["--set", "log.level=debug"], |command| {
        systemd.manage(command);
        // A pipe whose other end is closed at once.
        command.stderr(std::io::pipe().unwrap().1);
    });
    systemd.wait_for("READY=1");
    broker.signal(Signal::HUP);
    systemd.wait_for("RELOADING=1");
    systemd.wait_for("READY=1");
    assert!(broker.child.0.try_wait().unwrap().is_none());
    broker.stopped();
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    for arguments in [&["config"][..], &["config", "--reference"]] {
        let output = everack()
            .args(arguments)
            .stdout(std::io::pipe().unwrap().1)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
}

#[test]
fn prints_a_configuration_that_it_accepts() {
    let printed = run(&["config"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("everack.toml");
    fs::write(&file, &printed.stdout).unwrap();
    let checked = run(&["config", "--check", file.to_str().unwrap()]);
    assert_eq!(text(&checked.stdout), format!("{}: no errors\n", file.display()));
    assert_eq!(checked.status.code(), Some(0));
}

#[test]
fn hashes_a_password_given_on_standard_input() {
    let hash = |password: &str| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        fs::write(&file, password).unwrap();
        let stdin = fs::File::open(Path::new(&file)).unwrap();
        everack().arg("hash-password").stdin(stdin).output().unwrap()
    };
    for password in ["secret", "secret\n", "secret\r\n"] {
        let output = hash(password);
        assert!(
            text(&output.stdout).starts_with("$argon2id$v=19$"),
            "{password:?}"
        );
        assert_eq!(output.status.code(), Some(0));
    }
    let output = hash("\n");
    assert_eq!(text(&output.stderr), "everack: the password is empty\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn accepts_connections_soon_after_its_start() {
    // The aim is 50 ms on a quiet machine; a test that shares its machine gets twenty times that.
    let started = Instant::now();
    let broker = Broker::start(&[]);
    TcpStream::connect(broker.address("amqp")).unwrap();
    let took = started.elapsed();
    println!("from start to first accepted connection: {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    broker.stopped();
}

/// The arguments that make a user known whose password is `password`.
fn user(name: &str, password: &str) -> String {
    let mut hashing = everack()
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    hashing
        .stdin
        .take()
        .unwrap()
        .write_all(password.as_bytes())
        .unwrap();
    let hash = text(&hashing.wait_with_output().unwrap().stdout);
    format!(
        "[[users]]\nname = '{name}'\npassword_hash = '{}'\n[[users.permissions]]\nread = '.*'\n",
        hash.trim()
    )
}

#[test]
fn asks_clients_to_close_and_does_not_wait_for_ever() {
    let polite = Broker::start(&[]);
    let mut client = Client::log_in(&polite.address("amqp"), "guest", "guest").unwrap();
    polite.signal(Signal::TERM);
    let (code, reason) = client.closed();
    assert_eq!(code, 320);
    assert!(reason.starts_with("CONNECTION_FORCED - "), "{reason}");
    client.close_ok();
    let (status, log) = polite.ended();
    assert_eq!(status, Some(0), "{log}");
    assert!(!log.contains("did not close in time"), "{log}");

    let deaf = Broker::start(&["--set", "shutdown.timeout=100 ms"]);
    let mut client = Client::log_in(&deaf.address("amqp"), "guest", "guest").unwrap();
    deaf.signal(Signal::TERM);
    client.closed();
    let (status, log) = deaf.ended();
    assert_eq!(status, Some(0), "{log}");
    assert!(
        log.contains("stopping without those that did not close in time connections=1"),
        "{log}"
    );
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (signal, expected) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let broker = Broker::start(&["--set", "shutdown.timeout=10 min"]);
        let mut client = Client::log_in(&broker.address("amqp"), "guest", "guest").unwrap();
        broker.signal(signal);
        client.closed();
        broker.signal(signal);
        let (status, log) = broker.ended();
        assert_eq!(status, Some(expected), "{log}");
    }
}

#[test]
fn users_come_and_go_with_the_configuration() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("everack.toml");
    fs::write(&file, user("ann", "secret")).unwrap();
    let systemd = Systemd::new();
    let broker = Broker::start_with(&["--config", file.to_str().unwrap()], |command| {
        systemd.manage(command)
    });
    systemd.wait_for("READY=1");
    let refused = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";
    let address = broker.address("amqp");
    let check = |user: &str, password: &str, expected: Option<&str>| {
        let refusal = Client::log_in(&address, user, password).err();
        assert_eq!(refusal.as_deref(), expected, "{user} {password}");
    };
    check("ann", "secret", None);
    check("ann", "wrong", Some(refused));
    check("nobody", "secret", Some(refused));
    check("guest", "guest", None);

    fs::write(&file, format!("{}[auth]\nguest = 'off'\n", user("bob", "hidden"))).unwrap();
    broker.signal(Signal::HUP);
    systemd.wait_for("RELOADING=1");
    systemd.wait_for("READY=1");
    check("bob", "hidden", None);
    check("ann", "secret", Some(refused));
    check("guest", "guest", Some(refused));
    let log = broker.stopped();
    assert!(log.contains("the password is wrong"), "{log}");
    assert!(log.contains("there is no such user"), "{log}");
}

#[test]
fn inspect_shows_what_a_stopped_broker_holds_and_finds_damage() {
    let broker = Broker::start(&["--set", "data.segment=64 KiB"]);
    let mut client = Client::log_in(&broker.address("amqp"), "guest", "guest").unwrap();
    client.publish("orders", &["first order", "second order", "third order"]);
    let data = broker.data();
    let running = run(&["inspect", &data]);
    assert_eq!(running.status.code(), Some(1));
    assert!(
        text(&running.stderr).contains("is in use by another process"),
        "{}",
        text(&running.stderr)
    );
    // Killed, so that everything is in the log and nothing in a checkpoint.
    broker.signal(Signal::KILL);
    let directory = broker.directory_after_end();

    let survey = run(&["inspect", &data, "--json"]);
    assert_eq!(survey.status.code(), Some(0), "{}", text(&survey.stderr));
    let survey: serde_json::Value = serde_json::from_slice(&survey.stdout).unwrap();
    assert_eq!(
        (&survey["messages"], &survey["queues"][0]["name"]),
        (&3.into(), &"orders".into()),
        "{survey}"
    );
    assert_eq!(survey["faults"], serde_json::json!([]));
    let page = text(&run(&["inspect", &data]).stdout);
    assert!(
        page.contains("messages     3\n") && page.contains("\nsound: "),
        "{page}"
    );
    let messages = text(&run(&["inspect", &data, "--messages", "orders"]).stdout);
    assert!(
        messages.contains("key \"orders\" 12 B  \"second order\""),
        "{messages}"
    );
    let records = text(&run(&["inspect", &data, "--records"]).stdout);
    // The first queue is the virtual host's store of what nobody wants.
    assert!(records.contains("enqueued     queue 2 message"), "{records}");
    assert!(
        !records.contains("argon2"),
        "a hash must not be printed: {records}"
    );

    damage(directory.path(), b"second order");
    let survey = run(&["inspect", &data]);
    assert_eq!(survey.status.code(), Some(2), "{}", text(&survey.stdout));
    assert!(
        text(&survey.stdout).contains("\nNOT SOUND: "),
        "{}",
        text(&survey.stdout)
    );
    assert!(
        text(&survey.stdout).contains("FAULT        a damaged record at 1:"),
        "{}",
        text(&survey.stdout)
    );
    let messages = text(&run(&["inspect", &data, "--messages", "orders"]).stdout);
    assert!(
        messages.contains("first order") && messages.contains("third order"),
        "{messages}"
    );

    let nothing = tempfile::tempdir().unwrap();
    let refused = run(&["inspect", nothing.path().to_str().unwrap()]);
    assert!(
        text(&refused.stderr).contains("is not the data directory of a broker"),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(
        fs::read_dir(nothing.path()).unwrap().count(),
        0,
        "inspect must not leave anything behind"
    );
}

/// Changes one bit where those bytes are on disk.
fn damage(directory: &Path, bytes: &[u8]) {
    for entry in fs::read_dir(directory.join("data")).unwrap() {
        let path = entry.unwrap().path();
        let mut content = fs::read(&path).unwrap();
        let found = content.windows(bytes.len()).position(|window| window == bytes);
        if let (Some(at), true) = (found, path.display().to_string().contains("segment-")) {
            content[at] ^= 1;
            fs::write(&path, content).unwrap();
            return;
        }
    }
    panic!("not on disk: {}", String::from_utf8_lossy(bytes));
}

#[test]
fn refuses_data_of_a_newer_version_and_touches_nothing() {
    let broker = Broker::start(&[]);
    let data = broker.data();
    broker.signal(Signal::KILL);
    let directory = broker.directory_after_end();
    let manifest = directory.path().join("data/MANIFEST");
    let lines = fs::read_to_string(&manifest).unwrap();
    let lines = lines
        .split("crc = ")
        .next()
        .unwrap()
        .replace("format = 1\n", "format = 2\n");
    let newer = format!("{lines}crc = {:08x}\n", crc32(lines.as_bytes()));
    fs::write(&manifest, &newer).unwrap();
    for arguments in [
        &["serve", "--amqp", "127.0.0.1:0", "--data", &data][..],
        &["inspect", &data],
    ] {
        let refused = run(arguments);
        let stderr = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{stderr}");
        assert!(
            stderr
                .contains("has format version 2, this build knows versions up to 1; start the newer version"),
            "{stderr}"
        );
        assert_eq!(fs::read_to_string(&manifest).unwrap(), newer);
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| {
        if crc & 1 == 1 {
            (crc >> 1) ^ 0xEDB8_8320
        } else {
            crc >> 1
        }
    };
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
