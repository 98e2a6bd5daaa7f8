//! The processes of one act: a broker, order services, warehouses, and their databases. Starts, kills and restarts them.

use super::Programs;
use super::customers::{HttpClient, http_client};
use super::databases::Databases;
use super::process::Process;
use super::scene::Scene;
use crate::broker;
use crate::order_service::Store;
use crate::warehouse_service::Books;
use anyhow::{Context, Result, bail};
use axum::body::Bytes;
use axum::http::{Request, StatusCode};
use http_body_util::Full;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Below the range from which systems take ports for outgoing connections. A service that tries to reach a dead one
/// could otherwise be given the dead one's own port, and hold it when the dead one comes back.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
const START_MAX: Duration = Duration::from_secs(60);
const START_TRIES: u32 = 5;

pub(super) struct Stage {
    scene: Scene,
    programs: Programs,
    directory: PathBuf,
    databases: Databases,
    /// What the order services know.
    pub(super) store: Store,
    /// What the warehouses know.
    pub(super) books: Books,
    broker_port: u16,
    broker: Option<Process>,
    order_services: Vec<Actor>,
    warehouses: Vec<Actor>,
    http: HttpClient,
}

/// A service that was killed at work.
pub(super) struct Killed {
    pub(super) number: usize,
    pub(super) name: String,
    /// Orders that it was working on, according to its database.
    pub(super) in_hands: i64,
}

impl Killed {
    fn kill(number: usize, actor: &mut Actor, in_hands: i64) -> Result<Option<Self>> {
        let process = actor.process.take().context("only the living are killed")?;
        let name = process.name().to_owned();
        process.kill()?;
        Ok(Some(Self {
            number,
            name,
            in_hands,
        }))
    }
}

/// A service that may be dead at the moment.
struct Actor {
    name: String,
    /// How often it was started.
    lives: u32,
    process: Option<Process>,
    address: SocketAddr,
}

impl Actor {
    fn new(kind: &str, number: usize) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        Ok(Self {
            name: format!("{kind}-{}", number + 1),
            lives: 0,
            process: None,
            address,
        })
    }
}

impl Actor {
    /// The name that it has now, and whether it is alive.
    fn standing(&self) -> (&str, bool) {
        match &self.process {
            Some(process) => (process.name(), true),
            None => (&self.name, false),
        }
    }
}

impl Stage {
    /// Starts everything, and returns when orders can be sent.
    pub(super) async fn set(
        scene: Scene,
        programs: &Programs,
        directory: &Path,
        databases: Databases,
    ) -> Result<Self> {
        let store = Store::open(&databases.orders).await?;
        let books = Books::open(&databases.warehouse).await?;
        let actors = |kind, count| {
            (0..count)
                .map(|number| Actor::new(kind, number))
                .collect::<Result<Vec<_>>>()
        };
        let mut stage = Self {
            scene,
            programs: programs.clone(),
            directory: directory.to_owned(),
            store,
            books,
            databases,
            broker_port: 0,
            broker: None,
            order_services: actors("order-service", scene.order_services)?,
            warehouses: actors("warehouse", scene.warehouses)?,
            http: http_client(),
        };
        stage.start_broker_somewhere().await?;
        for number in 0..scene.order_services {
            stage.start_order_service(number)?;
        }
        for number in 0..scene.warehouses {
            stage.start_warehouse(number)?;
        }
        for number in 0..scene.order_services {
            stage.await_order_service(number).await?;
        }
        Ok(stage)
    }

    /// Where customers find the shop.
    pub(super) fn shop_addresses(&self) -> Vec<SocketAddr> {
        self.order_services
            .iter()
            .map(|service| service.address)
            .collect()
    }

    /// Whether the broker runs at the moment.
    pub(super) fn broker_is_up(&self) -> bool {
        self.broker.is_some()
    }

    /// The order services: their names, and whether each is alive.
    pub(super) fn order_services(&self) -> impl Iterator<Item = (&str, bool)> {
        self.order_services.iter().map(Actor::standing)
    }

    /// The warehouses likewise. One that was killed comes back under another name.
    pub(super) fn warehouses(&self) -> impl Iterator<Item = (&str, bool)> {
        self.warehouses.iter().map(Actor::standing)
    }

    /// Where the broker is.
    fn broker_uri(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.broker_port)
    }

    /// An error when a process has ended that nobody has killed.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        let actors = self.order_services.iter_mut().chain(&mut self.warehouses);
        for process in actors
            .filter_map(|actor| actor.process.as_mut())
            .chain(self.broker.as_mut())
        {
            process.check_alive()?;
        }
        Ok(())
    }

    /// Somebody else may take a free port between our look and the broker's: then another one is tried.
    async fn start_broker_somewhere(&mut self) -> Result<()> {
        for _ in 1..START_TRIES {
            self.broker_port = free_port()?;
            let started = self.start_broker().await;
            let log = std::fs::read_to_string(self.log("broker")).unwrap_or_default();
            if started.is_ok() || !(log.contains("in use") || log.contains("eaddrinuse")) {
                return started;
            }
            self.broker = None;
        }
        self.broker_port = free_port()?;
        self.start_broker().await
    }

    /// Starts the broker where it was, on the data it had, and returns when it lets a client in.
    pub(super) async fn start_broker(&mut self) -> Result<()> {
        let data = self.directory.join("broker");
        let program = self.programs.broker.with("port", &self.broker_port.to_string());
        let program = program.with("data", &data.to_string_lossy());
        self.broker = Some(Process::start("the broker", &program, &self.log("broker"))?);
        let deadline = Instant::now() + START_MAX;
        loop {
            match broker::connect(&self.broker_uri(), "demo").await {
                Ok(connection) => return Ok(connection.close(200, "only looking".into()).await?),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("the broker does not answer");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
            }
            self.broker
                .as_mut()
                .context("the broker was just started")?
                .check_alive()?;
        }
    }

    /// Starts or restarts an order service, under its old name and at its old address.
    pub(super) fn start_order_service(&mut self, number: usize) -> Result<()> {
        let Actor { name, address, .. } = &self.order_services[number];
        let program = self.programs.order_service.clone();
        let program = program
            .arg("--name")
            .arg(name)
            .arg("--listen")
            .arg(address.to_string());
        let program = program
            .arg("--database")
            .arg(&self.databases.orders)
            .arg("--broker")
            .arg(self.broker_uri());
        let process = Process::start(name, &program, &self.log(name))?;
        self.order_services[number].process = Some(process);
        Ok(())
    }

    async fn await_order_service(&mut self, number: usize) -> Result<()> {
        let deadline = Instant::now() + START_MAX;
        loop {
            let health = format!("http://{}/health", self.order_services[number].address);
            let request = Request::get(health).body(Full::new(Bytes::new()))?;
            if self
                .http
                .request(request)
                .await
                .is_ok_and(|answer| answer.status() == StatusCode::OK)
            {
                return Ok(());
            }
            self.check_alive()?;
            if Instant::now() > deadline {
                bail!("{} does not answer", self.order_services[number].name);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts a warehouse, or opens it again under a new name: the books are to tell the orders in its hands from those
    /// that an earlier one took to the grave.
    pub(super) fn start_warehouse(&mut self, number: usize) -> Result<()> {
        let warehouse = &mut self.warehouses[number];
        warehouse.lives += 1;
        let name = &match warehouse.lives {
            1 => warehouse.name.clone(),
            life => format!("{} ({life})", warehouse.name),
        };
        let program = self.programs.warehouse_service.clone();
        let program = program
            .arg("--name")
            .arg(name)
            .arg("--prefetch")
            .arg(self.scene.prefetch.to_string());
        let program = program
            .arg("--work-ms")
            .arg(self.scene.work.as_millis().to_string());
        let program = program
            .arg("--database")
            .arg(&self.databases.warehouse)
            .arg("--broker")
            .arg(self.broker_uri());
        let program = if self.scene.auto_ack {
            program.arg("--auto-ack")
        } else {
            program
        };
        let process = Process::start(name, &program, &self.log(&self.warehouses[number].name))?;
        self.warehouses[number].process = Some(process);
        Ok(())
    }

    /// Kills a warehouse in the middle of work: it is frozen first, and killed only if the books then say that it has
    /// orders in its hands. Takes `preferred` if it is at work, else the next one that is; nobody if all are idle.
    pub(super) async fn kill_warehouse(&mut self, preferred: usize) -> Result<Option<Killed>> {
        let count = self.warehouses.len();
        for number in (preferred..preferred + count).map(|number| number % count) {
            let Some(process) = &self.warehouses[number].process else {
                continue;
            };
            process.freeze()?;
            let in_hands = self.books.in_hands_of(process.name()).await?;
            process.thaw_unless(in_hands > 0)?;
            if in_hands > 0 {
                return Killed::kill(number, &mut self.warehouses[number], in_hands);
            }
        }
        Ok(None)
    }

    /// Kills an order service likewise, if at least `least` of its messages are taken from the outbox and not confirmed.
    pub(super) async fn kill_order_service(&mut self, number: usize, least: i64) -> Result<Option<Killed>> {
        let Some(process) = &self.order_services[number].process else {
            return Ok(None);
        };
        process.freeze()?;
        let claimed = self.store.claimed_count(process.name()).await?;
        process.thaw_unless(claimed >= least)?;
        if claimed < least {
            return Ok(None);
        }
        Killed::kill(number, &mut self.order_services[number], claimed)
    }

    /// Kills the broker, whatever it is doing.
    pub(super) fn kill_broker(&mut self) -> Result<()> {
        self.broker.take().context("the broker is dead already")?.kill()
    }

    /// Messages that wait in the queue, not counting what is in the hands of warehouses.
    pub(super) async fn queue_length(&self) -> Result<u32> {
        let connection = broker::connect(&self.broker_uri(), "demo").await?;
        let channel = connection.create_channel().await?;
        let passive = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let queue = channel
            .queue_declare(broker::QUEUE.into(), passive, FieldTable::default())
            .await?;
        connection.close(200, "only looking".into()).await?;
        Ok(queue.message_count())
    }

    /// Ends everything politely, the broker last, and removes what was made in the databases.
    pub(super) async fn clear(mut self) -> Result<()> {
        let actors = self.order_services.iter_mut().chain(&mut self.warehouses);
        let ending = actors.filter_map(|actor| actor.process.take()).map(Process::end);
        futures_util::future::try_join_all(ending).await?;
        if let Some(broker) = self.broker.take() {
            broker.end().await?;
        }
        self.store.close().await;
        self.books.close().await;
        self.databases.drop().await
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }
}

/// A port on the loopback interface that nobody listens on at this moment.
fn free_port() -> Result<u16> {
    for _ in 0..1_000 {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!(
        "no free port between {} and {} on 127.0.0.1",
        PORTS.start,
        PORTS.end
    )
}
