//! The broker as the process runs it: a recovered engine with its threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Context as _;
use everack_amqp::settings::{Settings, server_properties};
use everack_broker::catalog::{Command, DelayBounds};
use everack_cluster::CommitLog as _;
use everack_node::names::NameKey;
use everack_node::opening::{self, Opened, Plan};
use everack_node::upkeep::Upkeep;
use everack_storage::disk::{DirectWrites, Os};
use parking_lot::Mutex;

use crate::auth::Authenticator;
use crate::auth::declared::Declared;
use crate::config::{self, Config};
use crate::data_directory::DataDirectory;
use crate::engine::Engine;
use crate::engine::asker::Asker;
use crate::engine::clock::Clock;
use crate::engine::disk_threads::DiskThreads;
use crate::engine::upkeep_thread::{Bounds, Running, UpkeepThread};
use crate::http::{self, Served};
use crate::metrics;
use crate::net::connection_task::ConnectionTask;
use crate::net::{Peer, Stream};
use crate::serve::{Broker, Start};
use crate::shutdown::Closing;
use crate::statistics::sampler::Statistics;
use crate::traces::{self, Ending};

/// Room for large messages on their way to clients is a quarter of what the process may take, and never less than two of the largest.
const LARGE_OUTPUT_BYTES_MIN: u64 = 256 << 20;

/// See the module documentation.
pub struct Everack {
    engine: Arc<Engine>,
    config: Arc<arc_swap::ArcSwap<Config>>,
    authenticator: Arc<Authenticator>,
    /// See [`http::Node`].
    governing: Arc<tokio::sync::Mutex<()>>,
    upkeep_stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    traces: Mutex<Option<Ending>>,
    started: Instant,
    greeting: Mutex<Option<Greeting>>,
    _data: DataDirectory,
}

/// What sessions are held to and what they say of the server, made once for all of them, from this.
struct Greeting {
    config: Arc<Config>,
    cluster_name: String,
    settings: Arc<Settings>,
}

impl Broker for Everack {
    async fn open(start: Start) -> anyhow::Result<Arc<Self>> {
        let Start {
            data,
            config,
            authenticator,
        } = start;
        let plan = plan(&config.load())?;
        let disk = Os::open(data.path()).context("the data directory cannot be opened")?;
        let disk = disk.with_direct_writes(direct_writes(config.load().data.direct_writes));
        let runtime = tokio::runtime::Handle::current();
        let opened =
            tokio::task::spawn_blocking(move || opening::open(disk, &plan).map(|opened| (opened, plan)))
                .await
                .context("recovery ended early")?;
        let (opened, plan) = opened?;
        let broker = Self::start(opened, &plan, config, authenticator, data, runtime)?;
        if let Err(error) = broker.begin().await {
            // Consumers have to be able to make room, so the broker comes up all the same.
            tracing::error!(%error, "not everything that the configuration declares is in force yet");
        }
        broker.load_definitions().await?;
        Ok(broker)
    }

    fn connection(self: Arc<Self>, stream: Stream, peer: Peer) -> impl Future<Output = ()> + Send {
        // Not an `async fn`: what one is given it keeps beside what it makes of it.
        ConnectionTask::new(
            stream,
            peer,
            self.engine.clone(),
            self.authenticator.clone(),
            self.greeting(),
        )
    }

    fn management(&self, served: Vec<Served>, closing: &Closing) -> axum::Router {
        let statistics = Arc::new(Statistics::new());
        // Without the API nobody can ask for rates.
        if served.iter().any(|served| served.protocol == "http") {
            let sampler = statistics.clone();
            tokio::spawn(sampler.run(self.engine.clone(), closing.clone()));
        }
        http::router(self.node(served, statistics))
    }

    fn metrics(&self) -> axum::Router {
        metrics::service::router(self.node(Vec::new(), Arc::new(Statistics::new())))
    }

    async fn reload(self: Arc<Self>) -> anyhow::Result<()> {
        set_limits(&self.engine, &self.config.load());
        self.declare().await
    }

    async fn failed(&self) -> anyhow::Error {
        // An error of the disk ends the process where it is found.
        std::future::pending().await
    }

    async fn close(self: Arc<Self>) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || self.stop())
            .await
            .context("the end of the broker was cut short")
    }
}

impl Everack {
    /// What a new session is held to: the same as the last one, unless something has changed.
    fn greeting(&self) -> Arc<Settings> {
        let config = self.config.load_full();
        let cluster_name = http::cluster_name(&self.engine.shared.snapshot());
        let mut greeting = self.greeting.lock();
        let holds =
            |known: &&Greeting| Arc::ptr_eq(&known.config, &config) && known.cluster_name == cluster_name;
        if let Some(known) = greeting.as_ref().filter(holds) {
            return known.settings.clone();
        }
        let settings = Arc::new(protocol(&config, &cluster_name));
        *greeting = Some(Greeting {
            config,
            cluster_name,
            settings: settings.clone(),
        });
        settings
    }

    fn node(&self, served: Vec<Served>, statistics: Arc<Statistics>) -> http::Node {
        http::Node {
            engine: self.engine.clone(),
            config: self.config.clone(),
            authenticator: self.authenticator.clone(),
            governing: self.governing.clone(),
            name: http::node_name(),
            started: self.started,
            served,
            statistics,
        }
    }

    fn start(
        opened: Opened<Os>,
        plan: &Plan,
        config: Arc<arc_swap::ArcSwap<Config>>,
        authenticator: Arc<Authenticator>,
        data: DataDirectory,
        runtime: tokio::runtime::Handle,
    ) -> anyhow::Result<Arc<Self>> {
        let Opened {
            log,
            checkpoints,
            reader,
            shared,
            recall,
            catalog,
            mut partitions,
            progress,
            protected,
            ..
        } = opened;
        let clock = Clock::start();
        let maintenance = log.upkeep();
        let traces = traces::begin(
            &config.load().traces,
            &http::node_name(),
            &shared,
            &mut partitions,
        )?;
        let (recorder, traces) = traces.unzip();
        let machines = (catalog, partitions);
        let engine = Engine::new(shared, recall, clock, machines, recorder, progress, runtime);
        set_limits(&engine, &config.load());
        let upkeep_stop = Arc::new(AtomicBool::new(false));
        let disk = DiskThreads::new(log, engine.clone());
        let disk = std::thread::Builder::new()
            .name("disk".into())
            .spawn(move || disk.run())?;
        let bounds = bounds(&config.load());
        let segment_bytes = u64::from(plan.segment_bytes);
        let upkeep = Upkeep::new(
            Running(engine.clone()),
            maintenance,
            reader,
            checkpoints,
            segment_bytes,
            &protected,
        );
        let upkeep = UpkeepThread::new(upkeep, bounds);
        let stop = upkeep_stop.clone();
        let upkeep = std::thread::Builder::new()
            .name("upkeep".into())
            .spawn(move || upkeep.run(&stop))?;
        let threads = Mutex::new(vec![upkeep, disk]);
        Ok(Arc::new(Self {
            engine,
            config,
            authenticator,
            governing: Arc::default(),
            upkeep_stop,
            threads,
            traces: Mutex::new(traces),
            started: Instant::now(),
            greeting: Mutex::default(),
            _data: data,
        }))
    }

    /// Makes what a new broker begins with, and brings the catalog to what the configuration declares.
    async fn begin(&self) -> anyhow::Result<()> {
        let config = self.config.load();
        let defaults = config.data.load_definitions.get().is_none();
        let commands = Declared::by(&config).commands_at_start(self.engine.topology(), defaults)?;
        self.carry_out(commands).await
    }

    /// Imports the definitions that the configuration names.
    async fn load_definitions(&self) -> anyhow::Result<()> {
        let config = self.config.load_full();
        match config.data.load_definitions.get() {
            Some(path) => http::load_definitions(&self.engine, &config, &self.authenticator, path).await,
            None => Ok(()),
        }
    }

    /// Brings the catalog to what the configuration declares.
    async fn declare(&self) -> anyhow::Result<()> {
        let _turn = self.governing.lock().await;
        let declared = Declared::by(&self.config.load());
        let commands = declared.commands_for(&self.engine.topology().snapshot());
        self.carry_out(commands).await
    }

    /// All in one step; returns when it is durable and clients see it, so that none of them is refused by a broker that has just said
    /// it is ready.
    async fn carry_out(&self, commands: Vec<Command>) -> anyhow::Result<()> {
        if commands.is_empty() {
            return Ok(());
        }
        let asker = Asker::new(&self.engine);
        asker.command(Command::Together { commands });
        asker.outcome().await??;
        Ok(())
    }

    /// Ends the threads in the order in which they need each other: a last checkpoint, then the log.
    fn stop(&self) {
        self.upkeep_stop.store(true, Ordering::Release);
        let mut threads = std::mem::take(&mut *self.threads.lock()).into_iter();
        if let Some(upkeep) = threads.next() {
            upkeep.thread().unpark();
            let _ = upkeep.join();
        }
        self.engine.disk.stop();
        for thread in threads {
            let _ = thread.join();
        }
        if let Some(recorder) = &self.engine.recorder {
            recorder.stop();
        }
        let traces = self.traces.lock().take();
        if let Some(traces) = traces {
            traces.wait();
        }
    }
}

fn direct_writes(setting: config::DirectWrites) -> DirectWrites {
    match setting {
        config::DirectWrites::Auto => DirectWrites::WhereKnown,
        config::DirectWrites::Never => DirectWrites::Never,
        config::DirectWrites::Always => DirectWrites::Always,
    }
}

fn plan(config: &Config) -> anyhow::Result<Plan> {
    let mut seeds = [0u8; 24];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seeds)
        .map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    let seed = |at: usize| {
        let bytes = seeds[at * 8..][..8].try_into();
        u64::from_le_bytes(bytes.expect("eight bytes"))
    };
    Ok(Plan {
        segment_bytes: config.data.segment.bytes() as u32,
        partitions: config.process.partitions.get() as u16,
        resident_bytes_max: config.memory.durable_max.bytes(),
        hash_key: seed(0),
        name_key: NameKey([seed(1), seed(2)]),
        delay_bounds: DelayBounds {
            messages_max: config.limits.delayed_messages_max.get(),
            bytes_max: config.limits.delayed_bytes_max.bytes(),
        },
    })
}

fn set_limits(engine: &Engine, config: &Config) {
    let limits = &config.limits;
    engine.shared.limits.set_counts(
        limits.queues_max.get(),
        limits.exchanges_max.get(),
        limits.consumers_max.get(),
    );
    let memory = memory_bytes_max(config.memory.process_max.bytes());
    engine
        .shared
        .large
        .set_max((memory / 4).max(LARGE_OUTPUT_BYTES_MIN));
    let patience = config.memory.patience.duration().as_millis();
    engine
        .shared
        .limits
        .set_patience_ms(u64::try_from(patience).unwrap_or(u64::MAX));
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        disk_free_bytes_min: config.data.free_min.bytes(),
        memory_bytes_max: memory_bytes_max(config.memory.process_max.bytes()),
    }
}

/// What was configured, or two fifths of the machine's memory.
fn memory_bytes_max(configured: u64) -> u64 {
    let of_machine = || {
        let info = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = info.lines().find(|line| line.starts_with("MemTotal:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024 / 5 * 2)
    };
    if configured > 0 {
        configured
    } else {
        of_machine().unwrap_or(u64::MAX)
    }
}

/// What sessions are held to.
pub(crate) fn protocol(config: &Config, cluster_name: &str) -> Settings {
    Settings {
        frame_bytes_max: config.amqp.frame_max.bytes() as u32,
        channel_max: config.amqp.channel_max.get() as u16,
        heartbeat_s: config
            .amqp
            .heartbeat
            .duration()
            .as_secs()
            .min(u64::from(u16::MAX)) as u16,
        body_bytes_max: config.amqp.message_bytes_max.bytes(),
        server_properties: server_properties(env!("CARGO_PKG_VERSION"), cluster_name),
        ..Settings::default()
    }
}
