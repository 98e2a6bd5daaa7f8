//! What the report says, whatever it is written in.

use super::facts::Facts;
use super::timeline::Timeline;
use crate::faults::Fault;
use crate::verdict::{Finding, Flaw, Verdict, millis};

/// Faults that are listed one by one.
const FAULTS_MAX: usize = 1000;

/// The report.
pub(super) struct Page {
    pub(super) title: String,
    pub(super) clean: bool,
    /// The verdict in a sentence or two.
    pub(super) lead: String,
    pub(super) tiles: Vec<Tile>,
    pub(super) tables: Vec<Table>,
    pub(super) broken: Vec<Broken>,
    pub(super) limits: &'static [&'static str],
    pub(super) faults: Table,
}

/// A figure of the verdict.
pub(super) struct Tile {
    pub(super) name: String,
    pub(super) count: u64,
    pub(super) meaning: &'static str,
}

/// Names and values.
pub(super) struct Table {
    pub(super) title: String,
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

/// A broken message with its history.
pub(super) struct Broken {
    pub(super) title: String,
    pub(super) note: String,
    pub(super) history: Vec<String>,
}

/// What the verdict does not say.
const LIMITS: &[&str] = &[
    "It covers what these clients did in this run, against one broker at one address. It does not show that something cannot happen.",
    "A SIGKILL leaves what the broker had handed to the kernel. Only a `between` fault that takes unsynced writes away is a power failure.",
    "A message without a confirm is unknown, and may come or not; an ack counts as received only if the broker answered a later method of its channel.",
    "Order is judged for first deliveries to one consumer. Between consumers, and for what was given back, no broker promises any.",
];

impl Flaw {
    fn meaning(self) -> &'static str {
        match self {
            Self::Lost => "confirmed, and nobody could settle it",
            Self::Damaged => "came with bytes that nobody sent",
            Self::Phantom => "came, and nobody had published it there",
            Self::Reordered => "overtaken by a later one of its publisher",
            Self::Duplicated => {
                "came again, without a crash, after its ack was received or while it was held"
            }
            Self::Resurrected => "came again after a crash although its ack was received long enough before",
            Self::Torn => "transactions of which only a part came",
        }
    }
}

impl Page {
    pub(super) fn new(
        verdict: &Verdict,
        facts: &Facts,
        timeline: &Timeline,
        history: impl Fn(&Finding) -> Vec<String>,
    ) -> Self {
        let tile = |flaw: Flaw| Tile {
            name: flaw.name().to_owned(),
            count: verdict.count(flaw),
            meaning: flaw.meaning(),
        };
        let broken = |finding: &Finding| Broken {
            title: match finding.id {
                Some(id) => format!("`{id}` {}", finding.flaw.name()),
                None => finding.flaw.name().to_owned(),
            },
            note: match finding.queue {
                Some(queue) => format!("{}; queue {queue}", finding.note),
                None => finding.note.clone(),
            },
            history: history(finding),
        };
        Self {
            title: format!("Loss audit: {}", broker(facts)),
            clean: verdict.is_clean(),
            lead: lead(verdict),
            tiles: Flaw::ALL.into_iter().map(tile).collect(),
            tables: vec![
                seen(verdict, facts),
                settlements(verdict),
                lives(verdict, timeline),
                run(facts),
            ],
            broken: verdict.findings.named().into_iter().map(broken).collect(),
            limits: LIMITS,
            faults: faults(timeline),
        }
    }
}

fn broker(facts: &Facts) -> String {
    let product = match facts.product.as_str() {
        "" => "a broker that does not say who it is",
        product => product,
    };
    format!("{product} {}, {} queues", facts.version, facts.queue_type)
}

fn lead(verdict: &Verdict) -> String {
    let backlog = match verdict.backlog {
        Some((min, max)) => format!(", with {} to {} messages waiting at each", count(min), count(max)),
        None => String::new(),
    };
    let what = format!(
        "{} messages were confirmed, and the broker was ended {} times{backlog}.",
        count(verdict.confirmed),
        count(verdict.crashes)
    );
    if verdict.is_clean() {
        return format!("{what} Every one of them was there.");
    }
    let broken: Vec<String> = Flaw::ALL
        .into_iter()
        .filter(|flaw| verdict.count(*flaw) > 0)
        .map(|flaw| format!("{} {}", count(verdict.count(flaw)), flaw.name()))
        .collect();
    let queues = match verdict.queues_gone {
        0 => String::new(),
        gone => format!(" {} durable queues were gone after a start.", count(gone)),
    };
    let broken = match broken.is_empty() {
        true => String::new(),
        false => format!(" What it had promised was broken: {}.", broken.join(", ")),
    };
    format!("{what}{broken}{queues}")
}

fn table(title: &str, rows: Vec<(&str, String)>) -> Table {
    Table {
        title: title.to_owned(),
        head: Vec::new(),
        rows: rows
            .into_iter()
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect(),
    }
}

fn seen(verdict: &Verdict, facts: &Facts) -> Table {
    let rows = vec![
        ("messages published", count(verdict.intended)),
        ("confirmed", count(verdict.confirmed)),
        (
            "confirmed a second of load",
            count(verdict.messages_per_second() as u64),
        ),
        (
            "without an answer",
            format!(
                "{}, of which {} came all the same",
                count(verdict.unknown),
                count(verdict.unconfirmed_delivered)
            ),
        ),
        (
            "refused by the broker",
            format!(
                "{}, of which {} came all the same",
                count(verdict.refused),
                count(verdict.refused_delivered)
            ),
        ),
        ("deliveries", count(verdict.delivered)),
        (
            "flagged as redelivered",
            format!(
                "{}; {} came again without the flag",
                count(verdict.redelivered),
                count(verdict.unflagged)
            ),
        ),
        (
            "transactions that came in one queue and not in another, where nobody promised more",
            count(verdict.torn_over_queues),
        ),
        ("durable queues gone after a start", count(verdict.queues_gone)),
        ("left in queues that did not give it out", count(verdict.stuck)),
        ("connections lost without a fault", count(facts.connections_lost)),
        (
            "longest sync of the journal",
            format!("{:.1} ms", millis(verdict.sync_longest)),
        ),
    ];
    table("What was seen", rows)
}

fn settlements(verdict: &Verdict) -> Table {
    let bound = match verdict.settle_bound {
        Some(bound) => format!(
            "{:.1} ms (the bound, and what the journal itself needed at most)",
            millis(bound)
        ),
        None => "none: this broker promises nothing".into(),
    };
    let rows = vec![
        (
            "received acks that came back after a crash",
            count(verdict.resurrected),
        ),
        (
            "the oldest of them, before the crash",
            format!("{:.3} ms", millis(verdict.resurrected_oldest)),
        ),
        ("may come back up to", bound),
        (
            "older than the bound and the longest fdatasync alone",
            count(verdict.resurrected_beyond_sync),
        ),
        (
            "acks that may not have arrived, and came back",
            count(verdict.in_flight),
        ),
    ];
    table("Settlements", rows)
}

fn lives(verdict: &Verdict, timeline: &Timeline) -> Table {
    let restarts = timeline.restarts();
    let at = |share: f64| match restarts.len() {
        0 => "-".to_owned(),
        n => format!("{:.0} ms", restarts[((n - 1) as f64 * share).round() as usize]),
    };
    let rows = vec![
        ("lives of the broker that were ended", count(verdict.crashes)),
        ("of these by itself", count(verdict.deaths)),
        ("pauses", count(verdict.pauses)),
        (
            "from a fault to the first answer",
            format!(
                "{} median, {} at most in 19 of 20, {} at most",
                at(0.5),
                at(0.95),
                at(1.0)
            ),
        ),
    ];
    table("Lives", rows)
}

fn run(facts: &Facts) -> Table {
    let machine = &facts.machine;
    let rows = vec![
        ("command", format!("`{}`", facts.command)),
        ("seed", facts.seed.to_string()),
        ("broker", broker(facts)),
        ("begun", utc(facts.begun)),
        (
            "machine",
            format!(
                "{} cores {}, {:.1} GiB, Linux {}",
                machine.cores,
                machine.processor,
                machine.memory_bytes as f64 / f64::from(1 << 30),
                machine.kernel
            ),
        ),
        ("file system of the journal", machine.file_system.clone()),
    ];
    table("What was run", rows)
}

fn faults(timeline: &Timeline) -> Table {
    let row = |(number, strike): (usize, &super::timeline::Strike)| {
        let back = strike.back.map_or("not back".into(), |back| {
            format!("{:.0} ms", (back - strike.at) as f64 / 1e3)
        });
        vec![
            (number + 1).to_string(),
            format!("{:.3} s", strike.at as f64 / 1e6),
            strike.fault.map_or("died by itself", Fault::name).to_owned(),
            count(strike.backlog),
            back,
        ]
    };
    let all = timeline.strikes.len();
    let title = match all {
        0..=FAULTS_MAX => format!("Faults ({all})"),
        _ => format!("Faults (the first {FAULTS_MAX} of {all})"),
    };
    Table {
        title,
        head: vec!["", "at", "fault", "messages waiting", "until it answered"],
        rows: timeline
            .strikes
            .iter()
            .enumerate()
            .take(FAULTS_MAX)
            .map(row)
            .collect(),
    }
}

/// A number with its thousands set apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Seconds since 1970 as a date and time.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // The civil calendar, counted in eras of 400 years from a first of March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_dates_for_people() {
        let counts: Vec<String> = [0, 999, 1000, 1_234_567].into_iter().map(count).collect();
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_795_442_399), "2026-11-23 13:59:59 UTC");
    }
}
