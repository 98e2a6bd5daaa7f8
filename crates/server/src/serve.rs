//! `everack serve`: puts a process around a broker, in the order that makes a start and an end safe.
//!
//! ```text
//! start   configuration · log · signals · addresses taken · data directory taken · broker recovered
//!         · listening · ready line
//! reload  SIGHUP: configuration and certificates read again
//! end     SIGTERM: stop accepting · connections asked to close · bounded wait · broker closed · exit 0
//! ```
//!
//! Knows the broker only as the `Broker` trait; `main` says which one it is.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::net::TcpListener;

use crate::abort::abort_soon;
use crate::audit_log::{Act, AuditLog};
use crate::auth::Authenticator;
use crate::config::setting::{Addresses, HttpAddresses, OperatorSocket};
use crate::config::{Change, Changed, Config, Sources, without_counterpart};
use crate::data_directory::DataDirectory;
use crate::http::local::Socket;
use crate::http::{Served, listener as http_listener};
use crate::log::Log;
use crate::memory;
use crate::net::listener::Bound;
use crate::net::{Connections, Listener, Peer, Stream, Tls};
use crate::ready;
use crate::shutdown::{Closing, Shutdown};
use crate::signals::{Request, Signals};

/// Turns of connections after which a thread looks which sockets have become ready, if it did not have to because it had nothing to do.
const TURNS_BETWEEN_LOOKS: u32 = 8;

/// What is served over HTTP, and where RabbitMQ has it.
struct Web {
    name: &'static str,
    key: &'static str,
    flag: &'static str,
    usual: &'static str,
}

const API: Web = Web {
    name: "the management API",
    key: "http.listen",
    flag: "--http",
    usual: "127.0.0.1:15672",
};
const METRICS: Web = Web {
    name: "metrics",
    key: "metrics.listen",
    flag: "--metrics",
    usual: "127.0.0.1:15692",
};

/// What a broker is given to begin with.
pub struct Start {
    /// The directory of its data, taken by this process. Keep it as long as files are open in it.
    pub data: DataDirectory,
    /// The configuration in force. SIGHUP replaces it, so look keys up when they are needed.
    pub config: Arc<ArcSwap<Config>>,
    /// Checks logins.
    pub authenticator: Arc<Authenticator>,
}

/// A broker, as the process needs it.
pub trait Broker: Send + Sync + Sized + 'static {
    /// Recovers what the data directory holds, and applies what the configuration declares
    /// (`auth::declared`). Connections come after this, none before.
    fn open(start: Start) -> impl Future<Output = anyhow::Result<Arc<Self>>> + Send;

    /// Serves one connection to its end.
    fn connection(self: Arc<Self>, stream: Stream, peer: Peer) -> impl Future<Output = ()> + Send;

    /// The management API, given what the process listens on; what it does meanwhile ends when the process begins to.
    fn management(&self, served: Vec<Served>, closing: &Closing) -> axum::Router;

    /// The metrics for Prometheus.
    fn metrics(&self) -> axum::Router;

    /// Applies what a new configuration declares.
    fn reload(self: Arc<Self>) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Returns when the broker cannot go on, as after a failed fsync. The process then ends without
    /// `close`, and the next start recovers from the log.
    fn failed(&self) -> impl Future<Output = anyhow::Error> + Send;

    /// Makes everything durable and marks the log as cleanly closed. The connections that had a
    /// mind to close have done so.
    fn close(self: Arc<Self>) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Runs a broker until it is asked to stop. An error is one that kept it from starting, or made it
/// stop.
pub fn run<B: Broker>(sources: Sources) -> anyhow::Result<ExitCode> {
    let config = Config::load(&sources)?;
    let log = Log::start(&config.log)?;
    tell(&sources);
    abort_on_panic();
    memory::take_small_pages();
    raise_open_files(&config);
    let runtime = runtime(&config)?;
    let ended = runtime.block_on(async {
        let signals = Signals::listen().context("cannot listen for signals")?;
        Process::<B>::start(sources, config, log, signals)
            .await?
            .run()
            .await
    });
    // What still runs now has been given its time; its sockets close with the process.
    runtime.shutdown_background();
    ended
}

/// What an operator should know of where the configuration comes from.
fn tell(sources: &Sources) {
    for note in &sources.notes {
        tracing::warn!("{note}");
    }
    for left in sources.file.iter().flat_map(|file| without_counterpart(file)) {
        tracing::warn!("rabbitmq.conf: {left}");
    }
}

/// A broker with its process around it.
struct Process<B> {
    sources: Sources,
    config: Arc<ArcSwap<Config>>,
    log: Log,
    signals: Signals,
    authenticator: Arc<Authenticator>,
    tls: Option<Arc<Tls>>,
    connections: Arc<Connections>,
    broker: Arc<B>,
    shutdown: Shutdown,
    /// A SIGHUP came before there was anything to reload.
    reload_due: bool,
}

impl<B: Broker> Process<B> {
    async fn start(sources: Sources, config: Config, log: Log, mut signals: Signals) -> anyhow::Result<Self> {
        // Whatever can be refused is refused before the broker is recovered, which may take a while.
        let tls = Tls::open(&config.tls)?.map(Arc::new);
        let plain = take_all(&config.amqp.listen, "amqp.listen").await?;
        let encrypted = match &tls {
            Some(_) => take_all(&config.tls.listen, "tls.listen").await?,
            None => Vec::new(),
        };
        let http = API.take(&config.http.listen).await?;
        let metrics = METRICS.take(&config.metrics.listen).await?;
        let data = DataDirectory::take(&config.data.directory)?;
        let audit = AuditLog::open(&config.audit)?;
        let authenticator = Arc::new(Authenticator::new(&config.auth, audit)?);
        let connections = Connections::new(config.amqp.connections_max.get() as usize);
        let config = Arc::new(ArcSwap::from_pointee(config));

        let start = Start {
            data,
            config: config.clone(),
            authenticator: authenticator.clone(),
        };
        let (broker, reload_due) = opened(B::open(start), &mut signals).await?;
        let (shutdown, closing) = Shutdown::new();
        let process = Self {
            sources,
            config,
            log,
            signals,
            authenticator,
            tls,
            connections,
            broker,
            shutdown,
            reload_due,
        };
        process.listen(plain, encrypted, http, &closing)?;
        process.serve_metrics(metrics, &closing)?;
        Ok(process)
    }

    fn listen(
        &self,
        plain: Vec<Bound>,
        encrypted: Vec<Bound>,
        http: Vec<Bound>,
        closing: &Closing,
    ) -> anyhow::Result<()> {
        let config = self.config.load();
        let backlog = config.amqp.backlog.get() as u32;
        let listen_all = |bound: Vec<Bound>, tls: Option<&Arc<Tls>>| -> std::io::Result<Vec<Listener>> {
            let listen = |bound: Bound| bound.listen(backlog, tls.cloned(), self.connections.clone());
            bound.into_iter().map(listen).collect()
        };
        let plain = listen_all(plain, None).context("amqp.listen: cannot listen")?;
        let encrypted = listen_all(encrypted, self.tls.as_ref()).context("tls.listen: cannot listen")?;
        let addresses = |listeners: &[Listener]| {
            listeners
                .iter()
                .map(Listener::address)
                .collect::<Result<Vec<_>, _>>()
        };
        let (plain_at, encrypted_at) = (addresses(&plain)?, addresses(&encrypted)?);
        let (most, listen) = (config.http.connections_max.get(), &config.http.listen);
        let http = API.listen(http, listen, most)?;
        let http_at = http.iter().map(TcpListener::local_addr);
        let http_at = http_at.collect::<Result<Vec<_>, _>>()?;
        let line = ready::line(&plain_at, &encrypted_at, &http_at, &config.data.directory);
        let served = [("amqp", plain_at), ("amqp/ssl", encrypted_at), ("http", http_at)];
        let served = served.into_iter().flat_map(|(protocol, addresses)| {
            let served = move |address| Served { protocol, address };
            addresses.into_iter().map(served)
        });
        let router = self.broker.management(served.collect(), closing);
        if config.http.operator_socket == OperatorSocket::On {
            serve_operators(&config.data.directory, router.clone(), closing.clone());
        }
        let most = config.http.connections_max.get() as usize;
        for listener in http {
            let run = http_listener::run(listener, router.clone(), most, closing.clone());
            tokio::spawn(run);
        }
        for listener in plain.into_iter().chain(encrypted) {
            let broker = self.broker.clone();
            let serve = move |stream, peer| broker.clone().connection(stream, peer);
            tokio::spawn(listener.run(closing.clone(), serve));
        }
        ready::announce(&line);
        tracing::info!("{line}");
        Ok(())
    }

    fn serve_metrics(&self, bound: Vec<Bound>, closing: &Closing) -> anyhow::Result<()> {
        let config = self.config.load();
        let most = config.metrics.connections_max.get();
        let router = self.broker.metrics();
        for listener in METRICS.listen(bound, &config.metrics.listen, most)? {
            tracing::info!(address = %listener.local_addr()?, "metrics are served");
            let run = http_listener::run(listener, router.clone(), most as usize, closing.clone());
            tokio::spawn(run);
        }
        Ok(())
    }

    async fn run(mut self) -> anyhow::Result<ExitCode> {
        if self.reload_due {
            self.reload().await;
        }
        loop {
            let request = tokio::select! {
                request = self.signals.next() => request,
                error = self.broker.failed() => return Err(error.context("the broker cannot go on")),
            };
            match request {
                Request::Reload => self.reload().await,
                Request::Stop(signal) => return self.stop(signal).await,
            }
        }
    }

    async fn reload(&self) {
        ready::announce_reloading();
        tracing::info!("SIGHUP: reading the configuration and the certificates again");
        let outcome = match Config::load(&self.sources) {
            Ok(new) => {
                self.take_over(&new).await;
                "done"
            }
            Err(refused) => {
                tracing::error!("{refused}\nnothing was changed");
                "refused"
            }
        };
        self.authenticator.audit.record(Act {
            who: "",
            from: "",
            over: "process",
            what: "reload the configuration",
            outcome,
        });
        ready::announce_reloaded();
    }

    async fn take_over(&self, new: &Config) {
        let mut config = Config::clone(&self.config.load());
        let changed = config.reload(new);
        self.log.reload(&config.log);
        self.connections.limit(config.amqp.connections_max.get() as usize);
        self.authenticator.reload(&config.auth);
        if let Some(tls) = &self.tls
            && let Err(error) = tls.reload(&config.tls)
        {
            tracing::error!(%error, "the certificates could not be renewed; the former ones stay in use");
        }
        self.config.store(Arc::new(config));
        if let Err(error) = self.broker.clone().reload().await {
            tracing::error!(
                error = format!("{error:#}"),
                "users and vhosts could not be taken over"
            );
        }
        report(&changed);
    }

    /// The polite end, within the time configured for it.
    async fn stop(mut self, signal: &str) -> anyhow::Result<ExitCode> {
        let timeout = self.config.load().shutdown.timeout.duration();
        let open = self.connections.open();
        tracing::info!(
            signal,
            connections = open,
            ?timeout,
            "stopping; a second signal ends the process at once"
        );
        ready::announce_stopping();
        self.shutdown.begin();
        let emptied = tokio::time::timeout(timeout, self.connections.emptied());
        let closed = async {
            if emptied.await.is_err() {
                tracing::warn!(
                    connections = self.connections.open(),
                    "stopping without those that did not close in time"
                );
            }
            self.broker
                .clone()
                .close()
                .await
                .context("the broker could not be closed cleanly")
        };
        tokio::select! {
            closed = closed => closed?,
            status = second_signal(&mut self.signals) => {
                tracing::warn!("second signal: stopping at once; the next start recovers from the log");
                return Ok(status);
            }
        }
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    }
}

/// Waits for the broker, unless a signal asks for the end before it is there. Also tells whether one asked for a reload.
async fn opened<B>(
    opening: impl Future<Output = anyhow::Result<Arc<B>>>,
    signals: &mut Signals,
) -> anyhow::Result<(Arc<B>, bool)> {
    let mut opening = std::pin::pin!(opening);
    let mut reload_due = false;
    loop {
        tokio::select! {
            broker = &mut opening => return Ok((broker?, reload_due)),
            request = signals.next() => match request {
                Request::Reload => reload_due = true,
                Request::Stop(signal) => {
                    tracing::info!(signal, "stopped before the broker was ready");
                    // Recovery may be in the middle of blocking work. It is made to be interrupted.
                    std::process::exit(0);
                }
            },
        }
    }
}

/// Opens the socket for who operates this machine. That there can be none, as where its path is too long, is no reason not to serve messages.
fn serve_operators(data: &Path, router: axum::Router, closing: Closing) {
    match Socket::bind(data) {
        Ok(socket) => {
            tracing::debug!(path = %socket.path().display(), "operators are served");
            tokio::spawn(socket.run(router, closing));
        }
        Err(error) => {
            tracing::warn!(%error, "no socket for operators in the data directory: everack ctl needs a user")
        }
    }
}

/// Returns at the next signal that asks to stop, with the status that a shell gives for it.
async fn second_signal(signals: &mut Signals) -> ExitCode {
    loop {
        match signals.next().await {
            Request::Stop("SIGINT") => return ExitCode::from(130),
            Request::Stop(_) => return ExitCode::from(143),
            Request::Reload => {}
        }
    }
}

async fn take_all(addresses: &Addresses, key: &str) -> anyhow::Result<Vec<Bound>> {
    let mut bound = Vec::new();
    for address in &addresses.0 {
        bound.extend(Bound::take(address, key).await?);
    }
    Ok(bound)
}

impl Web {
    /// Takes its addresses. That somebody else has the usual one is no reason not to serve messages.
    async fn take(&self, wanted: &HttpAddresses) -> anyhow::Result<Vec<Bound>> {
        match wanted {
            HttpAddresses::Given(addresses) => take_all(addresses, self.key).await,
            HttpAddresses::Auto => Ok(Bound::take(self.usual, self.key).await.unwrap_or_else(|error| {
                self.without(&error);
                Vec::new()
            })),
        }
    }

    /// Two processes may have taken the address at the same moment; only one of them can listen.
    fn listen(
        &self,
        bound: Vec<Bound>,
        wanted: &HttpAddresses,
        backlog: u64,
    ) -> anyhow::Result<Vec<TcpListener>> {
        let listening = bound
            .into_iter()
            .map(|bound| bound.listen_plainly(backlog as u32));
        match listening.collect::<std::io::Result<Vec<_>>>() {
            Ok(listening) => Ok(listening),
            Err(error) if *wanted == HttpAddresses::Auto => {
                self.without(&error.into());
                Ok(Vec::new())
            }
            Err(error) => Err(error).with_context(|| format!("{}: cannot listen", self.key)),
        }
    }

    fn without(&self, error: &anyhow::Error) {
        let Self { name, flag, .. } = self;
        tracing::warn!(
            %error,
            "going on without {name}: give another address with {flag} ADDR:PORT, or none with {flag} off"
        );
    }
}

fn report(changed: &[Changed]) {
    let keys = |wanted| {
        let those = changed.iter().filter(|changed| changed.change == wanted);
        those
            .map(|changed| changed.key.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (live, waiting) = (keys(Change::Live), keys(Change::Restart));
    if !live.is_empty() {
        tracing::info!(keys = live, "new values are in use");
    }
    if !waiting.is_empty() {
        tracing::warn!(
            keys = waiting,
            "new values need a restart; the former ones stay in use"
        );
    }
}

fn runtime(config: &Config) -> anyhow::Result<tokio::runtime::Runtime> {
    let threads = match config.process.threads.get() {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        given => given as usize,
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(threads)
        .thread_name("everack")
        .thread_stack_size(1 << 20)
        // Where some connections always have more to do, the others' sockets are looked at between their turns.
        .event_interval(TURNS_BETWEEN_LOOKS)
        .enable_all();
    builder.build().context("cannot start the threads")
}

/// A panic is a bug, and may have left shared state half changed. Going on could confirm what is not
/// so; stopping costs a recovery. So the process ends, and says where.
fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        abort_soon();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        let trace = std::backtrace::Backtrace::force_capture();
        tracing::error!(place, message, %trace, "this is a bug in everack, please report it; stopping so that nothing false is confirmed");
        std::process::abort();
    }));
}

/// Raises the limit of open files as far as the system lets us: the usual soft limit of 1024 is far
/// below what a broker's clients need.
fn raise_open_files(config: &Config) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    /// Files, timers and pipes of our own.
    const OWN: u64 = 128;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let connections = config.amqp.connections_max.get();
    if let Some(files) = getrlimit(Resource::Nofile).current
        && files < connections + OWN
    {
        tracing::warn!(
            open_files_max = files,
            connections_max = connections,
            "the limit of open files is lower than amqp.connections_max; raise it (ulimit -n, LimitNOFILE)"
        );
    }
}
