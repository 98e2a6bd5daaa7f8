//! The thread that sends spans to the collector: OTLP over HTTP, in batches. Whatever the collector does, nothing but this thread waits
//! for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use prost::Message as _;
use ureq::Agent;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use super::book::Ended;
use super::certificates;
use super::otlp::{ExportTraceServiceResponse, Resource};
use super::patience::{self, Attempt};
use super::recorder::Recorder;
use super::render::{self, Seed};
use crate::config::Traces;

/// Where collectors take spans, unless the endpoint has a path.
const PATH: &str = "/v1/traces";
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// How long the end of the process is kept waiting for the last spans.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// See the module documentation.
pub(crate) struct Exporter {
    recorder: Arc<Recorder>,
    agent: Agent,
    endpoint: Uri,
    headers: HeaderMap,
    resource: Resource,
    seed: Seed,
    delay: Duration,
    timeout: Duration,
    retry_for: Duration,
    /// The collector did not take the last batch; said once.
    failing: bool,
}

/// Told when the thread has ended.
pub(crate) struct Ending(Receiver<()>);

impl Ending {
    /// Waits a little for the last spans to be sent.
    pub(crate) fn wait(self) {
        let _ = self.0.recv_timeout(LAST_WORDS + Duration::from_millis(500));
    }
}

impl Exporter {
    /// As configured; none if there is no endpoint.
    ///
    /// # Errors
    /// The certificates cannot be read, or the system gives no random numbers.
    pub(crate) fn new(config: &Traces, node: &str, recorder: Arc<Recorder>) -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = config.endpoint.get() else {
            return Ok(None);
        };
        let endpoint = address(endpoint)?;
        let mut agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("everack/", env!("CARGO_PKG_VERSION")))
            .tls_config(certificates::trusted(config.ca.get())?);
        let host = endpoint.host().unwrap_or_default();
        if matches!(host, "localhost" | "127.0.0.1" | "[::1]") {
            // What is on this machine is not behind a proxy, whatever the environment says.
            agent = agent.proxy(None);
        }
        Ok(Some(Self {
            recorder,
            agent: agent.build().new_agent(),
            endpoint,
            headers: headers(&config.headers.0)?,
            resource: render::resource(&config.service.0, node),
            seed: seed()?,
            delay: config.delay.duration(),
            timeout: config.timeout.duration(),
            retry_for: config.retry_for.duration(),
            failing: false,
        }))
    }

    /// Begins to send.
    pub(crate) fn start(mut self) -> anyhow::Result<Ending> {
        let (sender, receiver) = channel();
        tracing::info!(endpoint = %self.endpoint, "traces are sent");
        std::thread::Builder::new().name("traces".into()).spawn(move || {
            self.run();
            let _ = sender.send(());
        })?;
        Ok(Ending(receiver))
    }

    fn run(&mut self) {
        loop {
            let batch = self.recorder.batch(self.delay);
            let last = self.recorder.is_stopping();
            if batch.is_empty() {
                if last {
                    return;
                }
                continue;
            }
            let taken = self.send(&batch);
            if last && !taken {
                return;
            }
        }
    }

    /// Sends a batch, for as long as it may take; says whether it is there.
    fn send(&mut self, batch: &[Ended]) -> bool {
        let spans = batch.iter().map(|ended| render::span(ended, &self.seed));
        let body = render::request(self.resource.clone(), spans.collect()).encode_to_vec();
        let (begun, mut attempt) = (Instant::now(), 0);
        loop {
            let last = self.recorder.is_stopping();
            let (came_to, why) = self.post(&body, last);
            let said = match came_to {
                Attempt::Taken { rejected } => {
                    self.taken(batch.len() as u64, rejected, &why);
                    return true;
                }
                Attempt::Never => return self.give_up(batch.len(), &why),
                Attempt::Later(said) => said,
            };
            let (elapsed, chance) = (begun.elapsed(), chance());
            let pause = patience::pause(attempt, said, elapsed, self.retry_for, chance);
            match pause.filter(|_| !last) {
                Some(pause) => {
                    self.fails(&why);
                    self.recorder.rest(pause);
                }
                None => return self.give_up(batch.len(), &why),
            }
            attempt += 1;
        }
    }

    /// One attempt, and what there is to say of it.
    fn post(&self, body: &[u8], last: bool) -> (Attempt, String) {
        let timeout = if last {
            self.timeout.min(LAST_WORDS)
        } else {
            self.timeout
        };
        let mut request = self
            .agent
            .post(self.endpoint.clone())
            .config()
            .timeout_global(Some(timeout))
            .build()
            .header(header::CONTENT_TYPE, "application/x-protobuf");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match request.send(body) {
            Ok(mut response) => {
                let status = response.status().as_u16();
                let after = response.headers().get(header::RETRY_AFTER);
                let after = after.and_then(|value| value.to_str().ok()).map(str::to_owned);
                let answer = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
                let answer = answer.read_to_vec().unwrap_or_default();
                answered(status, after.as_deref(), &answer)
            }
            Err(error) => (Attempt::Later(None), error.to_string()),
        }
    }

    fn taken(&mut self, spans: u64, rejected: u64, why: &str) {
        let (figures, rejected) = (&self.recorder.figures, rejected.min(spans));
        figures.exported.fetch_add(spans - rejected, Ordering::Relaxed);
        figures.refused.fetch_add(rejected, Ordering::Relaxed);
        if rejected > 0 {
            self.fails(why);
        } else if std::mem::take(&mut self.failing) {
            tracing::info!("the collector of traces takes spans again");
        }
    }

    fn give_up(&mut self, spans: usize, why: &str) -> bool {
        let refused = &self.recorder.figures.refused;
        refused.fetch_add(spans as u64, Ordering::Relaxed);
        self.fails(why);
        false
    }

    fn fails(&mut self, why: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                endpoint = %self.endpoint,
                why,
                "the collector of traces does not take spans; what cannot be sent for long is dropped and counted"
            );
        }
    }
}

/// What an answer means.
fn answered(status: u16, retry_after: Option<&str>, answer: &[u8]) -> (Attempt, String) {
    let attempt = Attempt::of_status(status, retry_after);
    if attempt != (Attempt::Taken { rejected: 0 }) {
        return (attempt, format!("status {status}"));
    }
    let partial = ExportTraceServiceResponse::decode(answer)
        .ok()
        .and_then(|response| response.partial_success);
    match partial {
        Some(partial) => {
            let rejected = u64::try_from(partial.rejected_spans).unwrap_or_default();
            (Attempt::Taken { rejected }, partial.error_message)
        }
        None => (attempt, String::new()),
    }
}

/// The endpoint, with the usual path if it has none.
fn address(endpoint: &str) -> anyhow::Result<Uri> {
    let uri: Uri = endpoint.parse().context("traces.endpoint")?;
    if !matches!(uri.path(), "" | "/") {
        return Ok(uri);
    }
    let usual = format!("{}{PATH}", endpoint.trim_end_matches('/'));
    usual.parse().context("traces.endpoint")
}

/// `Name: value`, as they were checked when the configuration was read.
fn headers(given: &[String]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in given {
        let (name, value) = line.split_once(':').context("traces.headers: `Name: value`")?;
        let name: HeaderName = name.trim().parse().context("traces.headers")?;
        let mut value: HeaderValue = value.trim().parse().context("traces.headers")?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn seed() -> anyhow::Result<Seed> {
    let mut bytes = [0; 32];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    let mut seed = [0; 4];
    for (seed, bytes) in seed.iter_mut().zip(bytes.chunks_exact(8)) {
        *seed = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    }
    Ok(Seed(seed))
}

/// 0 to 1, well enough spread for pauses.
fn chance() -> f64 {
    let mut byte = [0];
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut byte);
    f64::from(byte[0]) / 255.0
}
