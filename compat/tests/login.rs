//! Who gets in, over what, what they may do there, and how it is noticed that they are gone.

use anyhow::ensure;
use everack_compat::broker::{Broker, Settings, User};
use everack_compat::raw::{self, Ending, Fields, HEADER, Raw};
use everack_compat::script;
use libtest_mimic::Arguments;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() {
    let arguments = Arguments::from_args();
    let broker = Arc::new(Broker::with(Settings {
        users: users(),
        tls: Some(false),
        ..Settings::default()
    }));
    let mutual = Broker::with(Settings {
        tls: Some(true),
        config: BY_CERTIFICATE.to_owned(),
        ..Settings::default()
    });
    let certificates = mutual.certificates();
    let client = [
        certificates.client(),
        certificates.client_key(),
        mutual.certificates().ca(),
    ];
    let environment = vec![
        ("CLIENT_CERTIFICATE", client[0].display().to_string()),
        ("CLIENT_KEY", client[1].display().to_string()),
        ("CA", both_authorities(&broker, &mutual)),
        ("TLS_PORT", broker.tls_port().to_string()),
        ("MUTUAL_PORT", mutual.tls_port().to_string()),
    ];
    let mut trials = script::trials_with("pika/login.py", &broker, environment);
    for (name, act) in BY_HAND {
        let broker = Arc::clone(&broker);
        trials.push(everack_compat::trial(*name, move || act(&broker)));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop((broker, mutual));
    conclusion.exit();
}

/// Who comes with a certificate for the client may log in with it, and without a password.
const BY_CERTIFICATE: &str = r#"
[auth]
external = "common_name"

[[users]]
name = "ann"
password_hash = ""
[[users.permissions]]
configure = ".*"
write = ".*"
read = ".*"
"#;

fn users() -> Vec<User> {
    let all = Some([".*"; 3]);
    let own = Some(["^cy-.*", "^(cy-.*|amq\\.default)$", "^cy-.*"]);
    let user = |name, permissions| User {
        name,
        password: "secret",
        permissions,
    };
    vec![user("ann", all), user("bob", None), user("cy", own)]
}

/// The two brokers have authorities of their own; the client trusts both.
fn both_authorities(one: &Broker, other: &Broker) -> String {
    let file = one.certificates().ca().with_file_name("both.pem");
    let read = |broker: &Broker| {
        std::fs::read_to_string(broker.certificates().ca()).expect("the authority is readable")
    };
    std::fs::write(&file, read(one) + &read(other)).expect("the folder of the certificates is ours");
    file.display().to_string()
}

type ByHand = (&'static str, fn(&Broker) -> anyhow::Result<()>);

/// What pika cannot do.
const BY_HAND: &[ByHand] = &[
    ("what the broker proposes is what RabbitMQ proposes", proposed),
    ("AMQPLAIN", amqplain),
    ("AMQPLAIN with a wrong password", amqplain_refused),
    (
        "a wrong password without the capability is cut",
        refused_without_capability,
    ),
    ("an unknown mechanism", unknown_mechanism),
    ("PLAIN that is no PLAIN", broken_plain),
    (
        "a client that has asked to close may send what it still has",
        closes_too_early,
    ),
    ("the broker sends heartbeats", heartbeats_arrive),
    (
        "a client that falls silent is noticed, and what it held goes on",
        silent_client,
    ),
];

fn start(broker: &Broker, properties: &[u8], mechanism: &str, response: &[u8]) -> anyhow::Result<Raw> {
    let mut raw = Raw::connect(broker.address())?;
    raw.send(HEADER)?;
    raw.expect(10, 10)?;
    raw.send(&raw::start_ok(properties, mechanism, response).on(0))?;
    Ok(raw)
}

fn credentials(password: &str) -> Vec<u8> {
    let login = Fields::default().name("LOGIN").octet(b'S').bytes(b"guest");
    login.name("PASSWORD").octet(b'S').bytes(password.as_bytes()).0
}

/// Channels, the size of frames, and heartbeats: clients that take whatever is offered depend on it.
fn proposed(broker: &Broker) -> anyhow::Result<()> {
    let tune = start(broker, &[], "PLAIN", b"\0guest\0guest")?.expect(10, 30)?;
    let expected = Fields::of(10, 30).short(2047).long(131_072).short(60).0;
    ensure!(tune == expected, "{tune:?} instead of {expected:?}");
    Ok(())
}

fn amqplain(broker: &Broker) -> anyhow::Result<()> {
    let mut raw = start(broker, &[], "AMQPLAIN", &credentials("guest"))?;
    raw.tune_and_open("/")
}

fn amqplain_refused(broker: &Broker) -> anyhow::Result<()> {
    let capability = raw::capability("authentication_failure_close");
    let mut raw = start(broker, &capability, "AMQPLAIN", &credentials("wrong"))?;
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism AMQPLAIN. For details see the broker logfile.";
    let ending = raw.ending()?;
    ensure!(
        ending == Ending::Connection(403, text.to_owned()),
        "the ending was {ending:?}"
    );
    raw.is_cut()
}

fn refused_without_capability(broker: &Broker) -> anyhow::Result<()> {
    let ending = start(broker, &[], "PLAIN", b"\0guest\0wrong")?.ending()?;
    ensure!(ending == Ending::Cut, "the ending was {ending:?}");
    Ok(())
}

fn unknown_mechanism(broker: &Broker) -> anyhow::Result<()> {
    let ending = start(broker, &[], "NOSUCH", b"x")?.ending()?;
    ensure!(
        !matches!(ending, Ending::Channel(..)),
        "the ending was {ending:?}"
    );
    Ok(())
}

fn broken_plain(broker: &Broker) -> anyhow::Result<()> {
    for response in [&b""[..], b"guest", b"\0guest", b"\0\0\0\0", &[0xff; 4000]] {
        let ending = start(broker, &[], "PLAIN", response)?.ending()?;
        ensure!(
            !matches!(ending, Ending::Channel(..)),
            "{response:?} ended with {ending:?}"
        );
    }
    Ok(())
}

/// amqplib sends its close past publishes that it has in its buffers. If the broker closed its socket with unread bytes in it, a reset would take
/// the answer away.
fn closes_too_early(broker: &Broker) -> anyhow::Result<()> {
    let mut raw = Raw::login(broker.address())?;
    raw.send(&Fields::of(10, 50).short(200).name("bye").short(0).short(0).on(0))?;
    raw.expect(10, 51)?;
    for _ in 0..10 {
        raw.send(&raw::message(1, &raw::publish("nobody"), &[7; 10_000]))?;
        std::thread::sleep(Duration::from_millis(10));
    }
    ensure!(
        raw.is_silent(Duration::from_millis(100))?,
        "the broker has closed its side before the client did"
    );
    Ok(())
}

/// Logs in with a heartbeat of one second, opens channel 1, and leaves the rest to the test.
fn with_heartbeat(broker: &Broker) -> anyhow::Result<Raw> {
    let mut raw = start(broker, &[], "PLAIN", b"\0guest\0guest")?;
    raw.expect(10, 30)?;
    raw.send(
        &[
            raw::tune_ok(2047, 131_072, 1).on(0),
            raw::open("/").on(0),
            raw::channel_open().on(1),
        ]
        .concat(),
    )?;
    raw.expect(10, 41)?;
    raw.expect(20, 11)?;
    Ok(raw)
}

fn heartbeats_arrive(broker: &Broker) -> anyhow::Result<()> {
    let mut raw = with_heartbeat(broker)?;
    let since = Instant::now();
    for _ in 0..3 {
        raw.send(&raw::frame(raw::HEARTBEAT, 0, &[]))?;
        let frame = raw.frame()?;
        ensure!(
            frame == Some((raw::HEARTBEAT, 0, Vec::new())),
            "{frame:?} instead of a heartbeat"
        );
    }
    ensure!(
        since.elapsed() < Duration::from_secs(5),
        "three heartbeats took {:?}",
        since.elapsed()
    );
    Ok(())
}

fn silent_client(broker: &Broker) -> anyhow::Result<()> {
    let mut silent = with_heartbeat(broker)?;
    silent.send(&raw::declare("held", 0, &[]).on(1))?;
    silent.expect(50, 11)?;
    let publish = [
        raw::publish("held").on(1),
        raw::content_header(1, 1),
        raw::frame(raw::BODY, 1, b"x"),
    ]
    .concat();
    let get = Fields::of(60, 70).short(0).name("held").octet(0);
    silent.send(&[publish, get.on(1)].concat())?;
    silent.expect(60, 71)?;
    let since = Instant::now();
    silent.is_cut()?;
    let waited = since.elapsed();
    let right = Duration::from_millis(1500)..Duration::from_secs(6);
    ensure!(
        right.contains(&waited),
        "silence of {waited:?} was taken for death, with a heartbeat of 1 s"
    );

    let mut other = Raw::login(broker.address())?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        other.send(&get.on(1))?;
        let (_, _, answer) = other.frame()?.unwrap_or_default();
        if answer.starts_with(&[0, 60, 0, 71]) {
            let redelivered = answer[12] == 1;
            ensure!(
                redelivered,
                "what the silent client held is not flagged as redelivered"
            );
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("what the silent client held was not given to another")
}
