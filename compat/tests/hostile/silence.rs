//! Clients that stop talking, at each stage. They all wait at the same time, and while the other cases are played, so that the tests
//! need not.

use anyhow::{Context, ensure};
use everack_compat::raw::{self, BODY, HEADER, Raw, frame};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::scene::Scene;
use crate::{Case, ours};

pub(crate) const CASES: &[Case] = &[ours(
    "silence at fifteen stages, and a log-in byte by byte",
    24,
    awake,
)];

/// Who falls silent: at which stage, after what, and when it is to be over.
type Sleeper = (&'static str, fn(&Scene) -> anyhow::Result<Raw>, Over);

enum Over {
    /// The log-in has ten seconds in all.
    LogIn,
    /// Two intervals of one second, for the client to be heard again.
    Heartbeat,
    /// Nobody has agreed on a time.
    Never,
}

const SLEEPERS: &[Sleeper] = &[
    ("at once", |scene| scene.connect(), Over::LogIn),
    (
        "within the protocol header",
        |scene| said(scene, &HEADER[..5]),
        Over::LogIn,
    ),
    (
        "after the protocol header",
        |scene| said(scene, HEADER),
        Over::LogIn,
    ),
    (
        "within a frame's head",
        |scene| said(scene, &[HEADER, &[1, 0, 0][..]].concat()),
        Over::LogIn,
    ),
    (
        "after a frame's head",
        |scene| said(scene, &[HEADER, &[1, 0, 0, 0, 0, 1, 0][..]].concat()),
        Over::LogIn,
    ),
    (
        "in the middle of `start-ok`",
        |scene| {
            let start_ok = raw::start_ok(&[], "PLAIN", b"\0guest\0guest").on(0);
            said(scene, &[HEADER, &start_ok[..start_ok.len() / 2]].concat())
        },
        Over::LogIn,
    ),
    ("after `tune`", |scene| scene.tuned(), Over::LogIn),
    (
        "in the middle of `tune-ok`",
        |scene| {
            let mut raw = scene.tuned()?;
            raw.send(&raw::tune_ok(100, 131_072, 0).on(0)[..9])?;
            Ok(raw)
        },
        Over::LogIn,
    ),
    (
        "before `open`",
        |scene| {
            let mut raw = scene.tuned()?;
            raw.send(&raw::tune_ok(100, 131_072, 1).on(0))?;
            Ok(raw)
        },
        Over::LogIn,
    ),
    (
        "at once, on the TLS port",
        |scene| scene.connect_tls(),
        Over::LogIn,
    ),
    (
        "after a TLS record's head",
        |scene| {
            let mut raw = scene.connect_tls()?;
            raw.send(b"\x16\x03\x01\x40\x00")?;
            Ok(raw)
        },
        Over::LogIn,
    ),
    (
        "logged in, with heartbeats of 1 s",
        |scene| open(scene, 1),
        Over::Heartbeat,
    ),
    (
        "in the middle of a body, with heartbeats of 1 s",
        |scene| {
            let mut raw = open(scene, 1)?;
            raw.send(&raw::channel_open().on(1))?;
            raw.send(
                &[
                    raw::publish("h").on(1),
                    raw::content_header(1, 1000),
                    frame(BODY, 1, b"x"),
                ]
                .concat(),
            )?;
            Ok(raw)
        },
        Over::Heartbeat,
    ),
    (
        "logged in, without heartbeats",
        |scene| open(scene, 0),
        Over::Never,
    ),
    (
        "logged in, with heartbeats of 65,535 s",
        |scene| open(scene, 65_535),
        Over::Never,
    ),
];

/// The sleepers, asleep; or what became of them.
type Asleep = JoinHandle<anyhow::Result<String>>;

static ASLEEP: Mutex<Option<Asleep>> = Mutex::new(None);

/// Sends them to sleep, so that the other cases are played while they are waited for.
pub(crate) fn begin(scene: &Arc<Scene>) {
    let scene = Arc::clone(scene);
    *ASLEEP.lock().expect("no sleeper panics") = Some(thread::spawn(move || all_at_once(&scene)));
}

fn awake(_scene: &Scene) -> anyhow::Result<String> {
    let asleep = ASLEEP.lock().expect("no sleeper panics").take();
    let asleep = asleep.context("they were never sent to sleep")?;
    asleep.join().expect("no sleeper panics")
}

fn all_at_once(scene: &Scene) -> anyhow::Result<String> {
    thread::scope(|scope| {
        let dripping = scope.spawn(|| drips(scene));
        let sleepers: Vec<_> = SLEEPERS
            .iter()
            .map(|(name, begin, over)| scope.spawn(move || sleeps(scene, *begin, over).context(*name)))
            .collect();
        for sleeper in sleepers {
            sleeper.join().expect("no sleeper panics")?;
        }
        dripping
            .join()
            .expect("no sleeper panics")
            .context("byte by byte")?;
        Ok("socket closed after 10 s before the log-in is through, after 2 to 3 s with heartbeats of 1 s, never without".into())
    })
}

fn sleeps(scene: &Scene, begin: fn(&Scene) -> anyhow::Result<Raw>, over: &Over) -> anyhow::Result<()> {
    let since = Instant::now();
    let mut raw = begin(scene)?;
    let right = match over {
        Over::LogIn => 8..20,
        Over::Heartbeat => 1..8,
        Over::Never => {
            ensure!(raw.is_silent(Duration::from_secs(6))?, "its socket was closed");
            return Ok(());
        }
    };
    raw.ends_somehow()?;
    let waited = since.elapsed();
    ensure!(
        (Duration::from_secs(right.start)..Duration::from_secs(right.end)).contains(&waited),
        "the broker gave it {waited:?}"
    );
    Ok(())
}

/// Slow is not stalled, but it counts from the beginning: no client stretches its ten seconds by a byte now and then.
fn drips(scene: &Scene) -> anyhow::Result<()> {
    let mut raw = scene.greeted()?;
    let since = Instant::now();
    for byte in raw::start_ok(&[], "PLAIN", b"\0guest\0guest")
        .on(0)
        .into_iter()
        .take(26)
    {
        raw.send(&[byte])?;
        thread::sleep(Duration::from_millis(500));
    }
    raw.ends_somehow()?;
    let waited = since.elapsed();
    ensure!(
        waited < Duration::from_secs(20),
        "the broker waited for {waited:?}"
    );
    Ok(())
}

fn said(scene: &Scene, bytes: &[u8]) -> anyhow::Result<Raw> {
    let mut raw = scene.connect()?;
    raw.send(bytes)?;
    Ok(raw)
}

fn open(scene: &Scene, heartbeat: u16) -> anyhow::Result<Raw> {
    let mut raw = scene.tuned()?;
    raw.send(&raw::tune_ok(100, 131_072, heartbeat).on(0))?;
    raw.send(&raw::open("/").on(0))?;
    raw.expect(10, 41)?;
    Ok(raw)
}
