//! What a run found out: for a person, and as one line of JSON.

use std::fmt;

use serde::Serialize;

use crate::board::Totals;
use crate::histogram::Histogram;
use crate::measure::Stretch;
use crate::setup::Server;
use crate::worker::Harvest;
use crate::workload::Workload;

/// What is known at the end of a run.
pub struct Run {
    /// What was run.
    pub workload: Workload,
    /// Where, without the password.
    pub url: String,
    /// Who answered.
    pub server: Server,
    /// Ids were written and looked at.
    pub checked: bool,
    /// The measured time.
    pub stretch: Stretch,
    /// Everything from the first message to the last.
    pub totals: Totals,
    /// How it ended.
    pub ending: Ending,
    /// Ready messages in the queues after that.
    pub left_in_queues: Option<u64>,
    /// Latencies and returns.
    pub harvest: Harvest,
}

/// A run's figures. Times are in microseconds unless a name says otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was run.
    pub workload: Workload,
    /// Where, without the password.
    pub url: String,
    /// Product and version.
    pub broker: String,
    /// How long was measured.
    pub seconds: f64,
    /// Messages published a second.
    pub published_per_second: f64,
    /// Messages received a second (deliveries).
    pub received_per_second: f64,
    /// Body bytes received a second.
    pub received_bytes_per_second: f64,
    /// Publish to confirm, by the publisher's clock.
    pub confirm_us: Option<Latency>,
    /// Publish to delivery; with a rate, from when the message was due.
    pub end_to_end_us: Option<Latency>,
    /// The broker's process, if known.
    pub broker_process: Option<BrokerProcess>,
    /// CPU of the generator, microseconds a message.
    pub generator_cpu_us_per_message: f64,
    /// CPU cores that everybody else on this machine kept busy meanwhile: how noisy the figures are.
    pub others_cpu_cores: f64,
    /// CPU cores that the hypervisor took away meanwhile.
    pub stolen_cpu_cores: f64,
    /// Messages published and not received at the end of the measured time.
    pub backlog: i64,
    /// Where messages were piled up first and drained then: the two halves. Rates are those of the halves, CPU is of both.
    pub pile: Option<Pile>,
    /// Everything from the first message to the last.
    pub balance: Balance,
    /// What must not be. Empty when the run is sound.
    pub problems: Vec<String>,
}

/// What a pile of messages costs to build, to hold, and to take down.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pile {
    /// How many.
    pub messages: u64,
    /// How fast they were published.
    pub published_per_second: f64,
    /// The broker's CPU for that, microseconds a message.
    pub publish_cpu_us_per_message: Option<f64>,
    /// The broker's memory with all of them in its queues.
    pub resident_bytes: Option<u64>,
    /// How fast they were drained.
    pub drained_per_second: f64,
    /// The broker's CPU for that, microseconds a delivery.
    pub drain_cpu_us_per_message: Option<f64>,
}

impl Pile {
    /// From the two halves of a run.
    pub fn new(messages: u64, copies: u64, publish: &Stretch, drain: &Stretch) -> Self {
        let deliveries = messages * copies;
        let cpu = |stretch: &Stretch, count: u64| {
            stretch
                .broker
                .map(|usage| usage.cpu_seconds() * 1e6 / count as f64)
        };
        Self {
            messages,
            published_per_second: messages as f64 / publish.seconds,
            publish_cpu_us_per_message: cpu(publish, messages),
            resident_bytes: publish.broker.map(|usage| usage.resident_bytes),
            drained_per_second: deliveries as f64 / drain.seconds,
            drain_cpu_us_per_message: cpu(drain, deliveries),
        }
    }
}

impl fmt::Display for Pile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpu = |us: Option<f64>| us.map_or(String::new(), |us| format!(" at {} us CPU", significant(us)));
        write!(
            f,
            "{} messages piled up at {}/s{}",
            self.messages,
            rate(self.published_per_second),
            cpu(self.publish_cpu_us_per_message)
        )?;
        if let Some(bytes) = self.resident_bytes {
            write!(f, ", held in {:.0} MiB", bytes as f64 / (1 << 20) as f64)?;
        }
        let drained = rate(self.drained_per_second);
        write!(
            f,
            ", drained at {drained}/s{}",
            cpu(self.drain_cpu_us_per_message)
        )
    }
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half of all took no longer.
    pub p50: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// What the broker's process used.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BrokerProcess {
    /// CPU cores, on average.
    pub cpu_cores: f64,
    /// CPU-seconds per million messages received (published, where nobody consumes) = microseconds a message.
    pub cpu_us_per_message: f64,
    /// The part of it in the kernel.
    pub system_us_per_message: f64,
    /// Times a thread of it went to sleep, a message.
    pub sleeps_per_message: f64,
    /// Memory at the end of the measured time.
    pub resident_bytes: u64,
    /// The most memory seen.
    pub resident_bytes_max: u64,
}

/// What became of the messages under way when the measurement was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Everything published was confirmed and received.
    Drained,
    /// Something is missing and nothing comes any more.
    Stalled,
    /// They were still coming when the time for it was up.
    TimeUp,
    /// They were not waited for.
    Cut,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drained => "drained",
            Self::Stalled => "NOT drained, nothing comes any more",
            Self::TimeUp => "not drained in time",
            Self::Cut => "not drained",
        })
    }
}

/// Messages of the whole run, warm-up and drain included.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Balance {
    /// Published.
    pub published: u64,
    /// Acked by the broker.
    pub confirmed: u64,
    /// Nacked by the broker.
    pub nacked: u64,
    /// Sent back as unroutable.
    pub returned: u64,
    /// Delivered.
    pub received: u64,
    /// Of these flagged as redelivered.
    pub redelivered: u64,
    /// Acknowledged by consumers.
    pub acked: u64,
    /// Seconds that publishers were held by `connection.blocked`, all added up.
    pub blocked_seconds: f64,
    /// How it ended.
    pub ending: Ending,
    /// Ids were looked at.
    pub checked: bool,
}

impl Report {
    /// Puts a run into figures.
    pub fn new(run: Run) -> Self {
        let Stretch { seconds, totals, .. } = run.stretch;
        let messages = if run.workload.consumers == 0 {
            totals.published
        } else {
            totals.received
        };
        let per_message = |seconds: f64| {
            if messages == 0 {
                0.0
            } else {
                seconds * 1e6 / messages as f64
            }
        };
        let broker_process = run.stretch.broker.map(|usage| BrokerProcess {
            cpu_cores: usage.cpu_seconds() / seconds,
            cpu_us_per_message: per_message(usage.cpu_seconds()),
            system_us_per_message: per_message(usage.system_seconds),
            sleeps_per_message: per_message(usage.sleeps as f64) / 1e6,
            resident_bytes: usage.resident_bytes,
            resident_bytes_max: run.stretch.resident_bytes_max.max(usage.resident_bytes),
        });
        let broker_cpu = run.stretch.broker.map_or(0.0, |usage| usage.cpu_seconds());
        let others = run.stretch.machine.busy_seconds - run.stretch.generator_cpu_seconds - broker_cpu;
        Self {
            broker: format!("{} {}", run.server.product, run.server.version),
            seconds,
            published_per_second: totals.published as f64 / seconds,
            received_per_second: totals.received as f64 / seconds,
            received_bytes_per_second: totals.received_bytes as f64 / seconds,
            confirm_us: Latency::new(&run.harvest.confirm),
            end_to_end_us: Latency::new(&run.harvest.end_to_end),
            broker_process,
            generator_cpu_us_per_message: per_message(run.stretch.generator_cpu_seconds),
            others_cpu_cores: (others / seconds).max(0.0),
            stolen_cpu_cores: run.stretch.machine.stolen_seconds / seconds,
            backlog: run.stretch.backlog,
            pile: None,
            balance: Balance::new(&run),
            problems: problems(&run),
            workload: run.workload,
            url: run.url,
        }
    }

    /// The report as one line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("a report is plain data")
    }
}

impl Latency {
    fn new(histogram: &Histogram) -> Option<Self> {
        let us = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        (histogram.total() > 0).then(|| Self {
            p50: us(histogram.quantile(0.5)),
            p99: us(histogram.quantile(0.99)),
            p999: us(histogram.quantile(0.999)),
            max: us(histogram.max()),
        })
    }
}

impl Balance {
    fn new(run: &Run) -> Self {
        let totals = &run.totals;
        Self {
            published: totals.published,
            confirmed: totals.confirmed,
            nacked: totals.nacked,
            returned: totals.returned,
            received: totals.received,
            redelivered: totals.redelivered,
            acked: totals.acked,
            blocked_seconds: totals.blocked_ns as f64 / 1e9,
            ending: run.ending,
            checked: run.checked,
        }
    }
}

/// What the counters say that a sound broker would not let them say.
fn problems(run: &Run) -> Vec<String> {
    let totals = &run.totals;
    let mut problems = Vec::new();
    if totals.returned > 0 {
        let text = run.harvest.returned.as_deref().unwrap_or("no text");
        problems.push(format!(
            "{} messages came back as unroutable: {text}",
            totals.returned
        ));
    }
    if totals.nacked > 0 {
        problems.push(format!("the broker nacked {} publishes", totals.nacked));
    }
    if totals.out_of_order > 0 {
        problems.push(format!(
            "{} deliveries were duplicates or out of order",
            totals.out_of_order
        ));
    }
    match run.ending {
        Ending::Drained => unbalanced(run, &mut problems),
        Ending::Stalled => missing(run, &mut problems),
        Ending::TimeUp | Ending::Cut => {}
    }
    problems
}

/// Nothing moves any more, and something has not arrived.
fn missing(run: &Run, problems: &mut Vec<String>) {
    let totals = &run.totals;
    let unconfirmed = totals.published.saturating_sub(totals.confirmed + totals.nacked);
    if run.workload.window > 0 && unconfirmed > 0 {
        problems.push(format!("{unconfirmed} publishes were never confirmed"));
    }
    let absent = run.due().saturating_sub(totals.received);
    if run.workload.consumers > 0 && absent > 0 {
        problems.push(format!("{absent} of {} deliveries never came", run.due()));
    }
}

/// Everything has arrived, and the books must balance.
fn unbalanced(run: &Run, problems: &mut Vec<String>) {
    let totals = &run.totals;
    if run.workload.consumers == 0 {
        return;
    }
    let fresh = totals.received - totals.redelivered;
    if fresh != run.due() {
        let due = run.due();
        problems.push(format!(
            "{due} deliveries were due, {fresh} came that were not redeliveries"
        ));
    } else if run.checked && totals.redelivered + totals.returned + totals.nacked == 0 {
        let due_ids = totals.published_ids.wrapping_mul(run.workload.copies());
        if totals.received_ids != due_ids {
            problems.push("the ids received are not the ids published".to_owned());
        }
    }
    if let Some(left @ 1..) = run.left_in_queues {
        problems.push(format!(
            "{left} messages are still in the queues after everything was received"
        ));
    }
}

impl Run {
    /// How many deliveries are due for all that was published and accepted.
    fn due(&self) -> u64 {
        let accepted = self.totals.published - self.totals.returned - self.totals.nacked;
        accepted * self.workload.copies()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} on {} at {}, {:.1} s",
            self.workload.name, self.broker, self.url, self.seconds
        )?;
        writeln!(
            f,
            "  published {}/s, received {}/s ({:.1} MB/s), backlog {}",
            rate(self.published_per_second),
            rate(self.received_per_second),
            self.received_bytes_per_second / 1e6,
            self.backlog
        )?;
        if let Some(pile) = &self.pile {
            writeln!(f, "  {pile}")?;
        }
        for (what, latency) in [("confirm", &self.confirm_us), ("end to end", &self.end_to_end_us)] {
            if let Some(latency) = latency {
                writeln!(f, "  {what}: {latency}")?;
            }
        }
        if let Some(broker) = &self.broker_process {
            writeln!(f, "  broker: {broker}")?;
        }
        writeln!(
            f,
            "  generator {:.3} us CPU a message; others {:.2} cores, stolen {:.2}",
            self.generator_cpu_us_per_message, self.others_cpu_cores, self.stolen_cpu_cores
        )?;
        write!(f, "  {}", self.balance)?;
        for problem in &self.problems {
            write!(f, "\n  PROBLEM: {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {}, p99 {}, p99.9 {}, max {}",
            micros(self.p50),
            micros(self.p99),
            micros(self.p999),
            micros(self.max)
        )
    }
}

impl fmt::Display for BrokerProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} us CPU a message ({} in the kernel), {:.2} cores, {:.4} sleeps a message, {:.0} MiB (max {:.0})",
            significant(self.cpu_us_per_message),
            significant(self.system_us_per_message),
            self.cpu_cores,
            self.sleeps_per_message,
            self.resident_bytes as f64 / (1 << 20) as f64,
            self.resident_bytes_max as f64 / (1 << 20) as f64
        )
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            published,
            confirmed,
            received,
            acked,
            redelivered,
            blocked_seconds,
            ..
        } = self;
        write!(
            f,
            "in all: published {published}, confirmed {confirmed}, received {received}, acked {acked}"
        )?;
        if *redelivered > 0 {
            write!(f, ", redelivered {redelivered}")?;
        }
        let ids = if self.checked { ", ids checked" } else { "" };
        if *blocked_seconds > 0.0 {
            write!(f, ", blocked for {blocked_seconds:.2} s")?;
        }
        write!(f, "; {}{ids}", self.ending)
    }
}

/// A rate as a person reads it: 17.2M, 148k, 950.
pub fn rate(per_second: f64) -> String {
    match per_second {
        value if value >= 999_500.0 => format!("{:.2}M", value / 1e6),
        value if value >= 9_995.0 => format!("{:.0}k", value / 1e3),
        value if value >= 999.5 => format!("{:.1}k", value / 1e3),
        value => format!("{value:.0}"),
    }
}

/// Three significant digits or so.
pub fn significant(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

/// Microseconds with a unit that fits.
pub fn micros(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{:.2} s", us / 1e6),
        us if us >= 1e4 => format!("{:.0} ms", us / 1e3),
        us if us >= 1e3 => format!("{:.1} ms", us / 1e3),
        us => format!("{us:.0} us"),
    }
}
