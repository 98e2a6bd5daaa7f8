//! The broker, somebody who works on it undisturbed, and messages that it has confirmed.

use anyhow::{Context, bail, ensure};
use everack_compat::broker::{Broker, Settings, User, is_rabbitmq};
use everack_compat::raw::{self, BODY, CONTENT_HEADER, Ending, Fields, HEADER, Raw, frame};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Case;
use crate::table::Row;

/// The longest that the bystander may wait for one of its rounds, on a machine that does other things as well.
const ROUND_MAX: Duration = Duration::from_secs(10);
/// Confirmed before the first case, and counted and read again after the last.
const TREASURES: u64 = 2000;
const TREASURY: &str = "treasury";
const MIB: u64 = 1 << 20;

/// What a scene is opened with.
#[derive(Clone, Copy)]
pub(crate) struct Stage {
    config: &'static str,
    /// The bystander publishes; where publishers are blocked on purpose it only looks and gets.
    publishes: bool,
    tls: bool,
}

/// Enough of everything; limits low enough to be reached.
pub(crate) const GENEROUS: Stage = Stage {
    config: "[limits]\nqueues_max = 3000\nexchanges_max = 1500\nconsumers_max = 2000\n[memory]\nprocess_max = \"1 GiB\"\n",
    publishes: true,
    tls: true,
};

/// So little memory that the alarm is raised by 200 MiB, and few places for connections.
pub(crate) const SCARCE: Stage = Stage {
    config: "[memory]\nprocess_max = \"200 MiB\"\npatience = \"4 s\"\n[amqp]\nconnections_max = 100\n",
    publishes: false,
    tls: false,
};

pub(crate) struct Scene {
    broker: RwLock<Broker>,
    address: SocketAddr,
    tls_address: SocketAddr,
    bystander: Mutex<Option<Bystander>>,
    stage: Stage,
}

impl Scene {
    /// Starts a broker, fills a queue, and lets the bystander begin.
    pub(crate) fn open(stage: Stage) -> Self {
        let bombs = |name| User {
            name,
            password: "secret",
            permissions: Some(["^(a+)+$", "^(a|aa)+$", "(a*)*b"]),
        };
        let broker = Broker::with(Settings {
            config: if is_rabbitmq() {
                String::new()
            } else {
                stage.config.to_owned()
            },
            tls: stage.tls.then_some(false),
            users: vec![bombs("bomber")],
            // The allocator gives free memory back at once, so that what a case leaves behind is not taken for the next one's.
            environment: vec![("MIMALLOC_PURGE_DELAY", "0")],
            ..Settings::default()
        });
        let tls_address = SocketAddr::from(([127, 0, 0, 1], broker.tls_port()));
        let scene = Self {
            address: broker.address(),
            tls_address,
            broker: RwLock::new(broker),
            bystander: Mutex::new(None),
            stage,
        };
        let began = scene.fill_treasury().and_then(|()| scene.let_bystander_begin());
        began.unwrap_or_else(|error| panic!("the scene cannot be set: {error:#}\n{}", scene.log()));
        scene
    }

    /// Plays one case and measures it.
    pub(crate) fn play(&self, case: &Case) -> anyhow::Result<Row> {
        let before = self.settled_bytes();
        self.broker
            .read()
            .expect("no case panics")
            .forget_resident_bytes_max();
        self.ask_bystander(Bystander::begin)?;
        let answer = (case.act)(self).with_context(|| format!("the log says:\n{}", self.log()))?;
        let longest = self
            .ask_bystander(Bystander::end)?
            .context("the bystander was disturbed")?;
        ensure!(
            longest < ROUND_MAX,
            "the bystander waited {longest:?} for one round"
        );
        let grown = |bytes: Option<u64>| Some(bytes?.saturating_sub(before?).div_ceil(MIB));
        let peak = self.broker.read().expect("no case panics").resident_bytes_max();
        let mib = grown(peak)
            .zip(grown(self.resident_bytes()))
            .filter(|_| !is_rabbitmq());
        if let Some((peak, after)) = mib {
            let (name, max) = (case.name, case.mib);
            ensure!(
                peak.max(after) <= max,
                "memory grew by {peak} MiB, {after} MiB of it to stay: more than the {max} MiB of \"{name}\""
            );
        }
        Ok(Row {
            name: case.name,
            mib_max: case.mib,
            mib,
            longest,
            answer,
        })
    }

    /// Kills the broker, starts it again and reads everything that was confirmed before.
    pub(crate) fn has_lost_nothing(&self) -> anyhow::Result<()> {
        self.bystander.lock().expect("no case panics").take();
        self.broker.write().expect("no case panics").restart()?;
        let mut raw = self.login()?;
        raw.send(&raw::consume(TREASURY, "all", 0).on(1))?;
        raw.expect(60, 21)?;
        for number in 0..TREASURES {
            let body = delivered(&mut raw)?;
            ensure!(
                body == treasure(number),
                "message {number} is not what was confirmed, or out of its place"
            );
        }
        ensure!(
            raw.is_silent(Duration::from_millis(300))?,
            "there are more messages than were published"
        );
        Ok(())
    }

    pub(crate) fn login(&self) -> anyhow::Result<Raw> {
        Raw::login(self.address)
    }

    pub(crate) fn connect(&self) -> anyhow::Result<Raw> {
        Raw::connect(self.address)
    }

    pub(crate) fn connect_tls(&self) -> anyhow::Result<Raw> {
        Raw::connect(self.tls_address)
    }

    /// Logged in, and receives next to nothing unless it reads.
    pub(crate) fn login_deaf(&self) -> anyhow::Result<Raw> {
        Raw::connect_deaf(self.address)?.logged_in(b"\0guest\0guest", &[])
    }

    /// Logged in, and understands `connection.blocked`.
    pub(crate) fn login_able(&self) -> anyhow::Result<Raw> {
        self.connect()?
            .logged_in(b"\0guest\0guest", &raw::capability("connection.blocked"))
    }

    /// A socket that has said the protocol header and was answered.
    pub(crate) fn greeted(&self) -> anyhow::Result<Raw> {
        let mut raw = self.connect()?;
        raw.send(HEADER)?;
        raw.expect(10, 10)?;
        Ok(raw)
    }

    /// A socket that was told what the broker proposes.
    pub(crate) fn tuned(&self) -> anyhow::Result<Raw> {
        let mut raw = self.greeted()?;
        raw.send(&raw::start_ok(&[], "PLAIN", b"\0guest\0guest").on(0))?;
        raw.expect(10, 30)?;
        Ok(raw)
    }

    /// The process lives, and accepts.
    pub(crate) fn is_alive(&self) -> anyhow::Result<()> {
        let alive = self.broker.read().expect("no case panics").is_alive();
        ensure!(alive, "the broker is gone:\n{}", self.log());
        Ok(())
    }

    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        self.broker.read().expect("no case panics").resident_bytes()
    }

    /// The broker's memory once it has stopped falling.
    fn settled_bytes(&self) -> Option<u64> {
        let mut least = self.resident_bytes()?;
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(20));
            let now = self.resident_bytes()?;
            if now + (MIB >> 2) >= least {
                break;
            }
            least = now;
        }
        self.resident_bytes()
    }

    /// Waits until the broker's memory is below a figure again.
    pub(crate) fn wait_below(&self, mib: u64, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        while self.resident_bytes().is_some_and(|bytes| bytes > mib * MIB) {
            ensure!(Instant::now() < deadline, "memory stays above {mib} MiB");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn log(&self) -> String {
        self.broker.read().expect("no case panics").log()
    }

    fn ask_bystander<T>(&self, ask: impl FnOnce(&mut Bystander) -> T) -> anyhow::Result<T> {
        let mut bystander = self.bystander.lock().expect("no case panics");
        Ok(ask(bystander.as_mut().context("the bystander has gone home")?))
    }

    fn fill_treasury(&self) -> anyhow::Result<()> {
        let mut raw = self.login()?;
        raw.send(&raw::declare(TREASURY, 2, &[]).on(1))?;
        raw.expect(50, 11)?;
        raw.send(&raw::confirm_select().on(1))?;
        raw.expect(85, 11)?;
        for number in 0..TREASURES {
            raw.send(&persistent(TREASURY, &treasure(number)))?;
        }
        confirmed(&mut raw, TREASURES)
    }

    fn let_bystander_begin(&self) -> anyhow::Result<()> {
        let mut raw = self.login()?;
        // It does not publish here: an alarm concerns whoever ever has.
        raw.send(&raw::declare("bystander", 4, &[]).on(1))?;
        raw.expect(50, 11)?;
        let bystander = Bystander::start(raw, self.stage.publishes);
        *self.bystander.lock().expect("no case panics") = Some(bystander);
        Ok(())
    }
}

/// Somebody who uses the broker all the time, as it is meant to be used.
struct Bystander {
    rounds: Arc<Mutex<Rounds>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Rounds {
    count: u64,
    longest: Duration,
    /// When the round that is under way began.
    since: Option<Instant>,
    failed: Option<anyhow::Error>,
}

impl Bystander {
    fn start(mut raw: Raw, publishes: bool) -> Self {
        let rounds = Arc::new(Mutex::new(Rounds::default()));
        let over = Arc::new(AtomicBool::new(false));
        let (seen, stop) = (Arc::clone(&rounds), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                seen.lock().expect("no round panics").since = Some(start);
                let result = round(&mut raw, publishes);
                let mut rounds = seen.lock().expect("no round panics");
                rounds.count += 1;
                rounds.longest = rounds.longest.max(start.elapsed());
                rounds.since = None;
                if let Err(error) = result {
                    rounds.failed = Some(error);
                    return;
                }
                drop(rounds);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self {
            rounds,
            over,
            thread: Some(thread),
        }
    }

    fn begin(&mut self) {
        let mut rounds = self.rounds.lock().expect("no round panics");
        rounds.count = 0;
        rounds.longest = Duration::ZERO;
    }

    /// The longest round since the beginning; at least one whole one lies behind the case.
    fn end(&mut self) -> anyhow::Result<Duration> {
        let seen = self.rounds.lock().expect("no round panics").count;
        let deadline = Instant::now() + 2 * ROUND_MAX;
        loop {
            let mut rounds = self.rounds.lock().expect("no round panics");
            if let Some(error) = rounds.failed.take() {
                return Err(error);
            }
            if rounds.count >= seen + 2 {
                return Ok(rounds.longest);
            }
            if Instant::now() > deadline {
                bail!(
                    "a round takes more than {:?}",
                    rounds.since.map(|since| since.elapsed())
                );
            }
            drop(rounds);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What went wrong in it was told when it was asked.
            let _ = thread.join();
        }
    }
}

/// One message there and back, and a look at what was confirmed.
fn round(raw: &mut Raw, publishes: bool) -> anyhow::Result<()> {
    if publishes {
        raw.round_trip("bystander", b"still here")?;
    } else {
        raw.send(&raw::get("bystander", true).on(1))?;
        raw.expect(60, 72)?;
    }
    raw.send(&raw::declare(TREASURY, 1 | 2, &[]).on(1))?;
    let count = count_in(&raw.expect(50, 11)?, TREASURY)?;
    ensure!(
        u64::from(count) == TREASURES,
        "the queue of confirmed messages holds {count}"
    );
    Ok(())
}

/// What message `number` of the treasury holds: its number, and bytes that follow from it.
fn treasure(number: u64) -> Vec<u8> {
    let length = 8 + (number * 37 % 900) as usize;
    let mut body = number.to_be_bytes().to_vec();
    body.resize(length, (number % 251) as u8);
    body
}

/// The frames of a persistent message to a queue on channel 1.
pub(crate) fn persistent(queue: &str, body: &[u8]) -> Vec<u8> {
    let header = Fields::default()
        .short(60)
        .short(0)
        .longlong(body.len() as u64)
        .short(1 << 12)
        .octet(2)
        .0;
    let mut bytes = [raw::publish(queue).on(1), frame(CONTENT_HEADER, 1, &header)].concat();
    body.chunks(100_000)
        .for_each(|piece| bytes.extend(frame(BODY, 1, piece)));
    bytes
}

/// Reads until everything up to this number is confirmed.
pub(crate) fn confirmed(raw: &mut Raw, wanted: u64) -> anyhow::Result<()> {
    loop {
        let ack = raw.expect(60, 80)?;
        let tag = ack
            .get(4..12)
            .and_then(|tag| tag.try_into().ok())
            .map(u64::from_be_bytes);
        if tag.context("an ack without a tag")? >= wanted {
            return Ok(());
        }
    }
}

/// A queue holds so many messages, and goes on to. (RabbitMQ counts a message some time after it was published.)
pub(crate) fn holds(raw: &mut Raw, queue: &str, wanted: u32) -> anyhow::Result<()> {
    let deadline = Instant::now() + ROUND_MAX;
    let mut seen = 0;
    while seen < 2 {
        raw.send(&raw::declare(queue, 1, &[]).on(1))?;
        let count = count_in(&raw.expect(50, 11)?, queue)?;
        ensure!(
            count <= wanted && Instant::now() < deadline,
            "the queue holds {count} messages, not {wanted}"
        );
        seen = if count == wanted { seen + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The number of messages in a `queue.declare-ok`.
fn count_in(ok: &[u8], queue: &str) -> anyhow::Result<u32> {
    let count = ok.get(5 + queue.len()..9 + queue.len());
    let count = count.and_then(|count| count.try_into().ok());
    count.map(u32::from_be_bytes).context("a count is due")
}

/// The body of the next delivery.
pub(crate) fn delivered(raw: &mut Raw) -> anyhow::Result<Vec<u8>> {
    raw.expect(60, 60)?;
    let (_, _, header) = raw.frame()?.context("a content header is due")?;
    let size = header
        .get(4..12)
        .and_then(|size| size.try_into().ok())
        .map(u64::from_be_bytes);
    let size = size.context("a content header without a size")? as usize;
    let mut body = Vec::with_capacity(size);
    while body.len() < size {
        let (_, _, piece) = raw.frame()?.context("a body is due")?;
        body.extend(piece);
    }
    Ok(body)
}

/// The ending in words: the code and the text.
pub(crate) fn told(ending: &Ending) -> String {
    match ending {
        Ending::Channel(_, text) => format!("channel closed: {}", shown(text, ending)),
        Ending::Connection(_, text) => format!("connection closed: {}", shown(text, ending)),
        Ending::Cut => "socket closed".into(),
    }
}

fn shown(text: &str, ending: &Ending) -> String {
    let (Ending::Channel(code, _) | Ending::Connection(code, _)) = ending else {
        return text.to_owned();
    };
    let short: String = text.chars().take(110).collect();
    format!("`{code} {short}`").replace('\n', " ")
}

/// The connection ends with one of these codes (RabbitMQ may just close the socket), and so does its socket.
pub(crate) fn ends_with(raw: &mut Raw, codes: &[u16]) -> anyhow::Result<String> {
    let ending = raw.ending()?;
    match &ending {
        Ending::Connection(code, _) if codes.contains(code) => {}
        Ending::Cut if is_rabbitmq() => return Ok(told(&ending)),
        _ => bail!("expected the connection to close with one of {codes:?}, not {ending:?}"),
    }
    raw.is_cut()?;
    Ok(told(&ending))
}

/// The channel ends with this code, and the connection goes on.
pub(crate) fn channel_ends_with(raw: &mut Raw, code: u16) -> anyhow::Result<String> {
    let ending = raw.ending()?;
    let Ending::Channel(found, _) = &ending else {
        bail!("expected the channel to close with {code}, not {ending:?}")
    };
    ensure!(*found == code, "expected {code}, not {ending:?}");
    raw.send(&Fields::of(20, 41).on(1))?;
    raw.send(&raw::channel_open().on(1))?;
    raw.expect(20, 11)?;
    Ok(told(&ending))
}
