//! What the two services share as processes: a runtime, a log on stderr, the time, and the wish to end politely.

use anyhow::Result;
use std::future::Future;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Runs a service until SIGTERM or SIGINT; `serve` receives a signal that says when to end.
pub fn run<F: Future<Output = Result<()>>>(serve: impl FnOnce(Shutdown) -> F) -> Result<ExitCode> {
    start_log();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async { serve(Shutdown::on_signals()?).await });
    // A task that hangs must not keep the process alive after everything worth saving is saved.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Our own words from INFO on, those of the libraries from WARN on; and nothing from the AMQP client, which reports what
/// it also returns as errors, message bodies included.
fn start_log() {
    let wanted = Targets::new()
        .with_target("everack_shop", LevelFilter::INFO)
        .with_target("lapin", LevelFilter::OFF)
        .with_default(LevelFilter::WARN);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // The binary that embeds us may have set up its own log already.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(wanted))
        .try_init();
}

/// Says when to end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    fn on_signals() -> Result<Self> {
        let (sender, receiver) = watch::channel(false);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // A second signal finds no handler waiting here, but the services end within bounded time by themselves.
            let _ = sender.send(true);
            std::future::pending::<()>().await;
        });
        Ok(Self(receiver))
    }

    /// A signal by hand, for tests and for the demo.
    pub fn by_hand() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Waits until it is time to end.
    pub async fn wait(&self) {
        let mut receiver = self.0.clone();
        // The sender vanishes only with the runtime: that is an end as well.
        let _ = receiver.wait_for(|ending| *ending).await;
    }

    /// Waits for `wait`, but not past the end. True while there is reason to go on.
    pub async fn sleep(&self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.wait()).await.is_err()
    }
}

/// What a binary's `main` returns: errors are told in one line, cause after cause, not as a dump for developers.
pub fn exit(outcome: Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Milliseconds since 1970, as the databases keep them.
pub fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// The name of a service that was given none: unlike those of its siblings, also on other machines.
pub fn default_name(kind: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{kind}-{}-{}", host.trim(), std::process::id())
}
