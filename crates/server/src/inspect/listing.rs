//! Single records, and single messages of a queue, one line each.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use everack_amqp::content::Batch;
use everack_broker::catalog::Fact;
use everack_broker::partition::Aside;
use everack_node::partition::admission::Deadline;
use everack_node::record::{self, Counted, Placed, Range, Record, RecordFact, SetAside};
use everack_storage::{Found, Position};

use super::UNSOUND;
use super::directory::{Directory, Recall};
use super::survey::Contents;
use crate::output::tolerate_closed_pipe;

/// How much of a body is shown, in bytes.
const BODY_SHOWN: usize = 60;

/// Prints every record of the log, and every place that cannot be read.
pub(super) fn records(directory: &Directory, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let mut sound = true;
    let replayed = directory.reader.replay(Position::ZERO, |found| match found {
        Found::Record { position, payload } => {
            let described = match record::decode(payload) {
                Ok(record) => describe(&record),
                Err(error) => {
                    sound = false;
                    error.to_string()
                }
            };
            writeln!(out, "{position:>16} {:>9} B  {described}", payload.len())
        }
        Found::Damage(damage) => {
            sound = false;
            writeln!(
                out,
                "{:>16} {:>9} B  DAMAGE {damage}",
                damage.position, damage.bytes
            )
        }
    });
    match replayed {
        Ok(_) => {}
        Err(everack_storage::ReplayError::Visit(error)) => tolerate_closed_pipe(Err(error))?,
        Err(error) => return Err(error.into()),
    }
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNSOUND)
    })
}

fn describe(record: &Record) -> String {
    let placed = |placed: &[Placed]| {
        let one = |Placed { target, .. }: &Placed| {
            span(target.queue.0, target.first.0, u64::from(target.to - target.from))
        };
        placed.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let ranges = |ranges: &[Range]| {
        let one = |range: &Range| span(range.queue.0, range.first.0, u64::from(range.count));
        ranges.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let fact = match &record.fact {
        RecordFact::Enqueued(list) => format!("enqueued     {}", placed(list)),
        RecordFact::Moved(list) => format!("moved        {}", placed(list)),
        RecordFact::Settled(list) => format!("settled      {}", ranges(list)),
        RecordFact::Returned(list) => format!("returned     {}", ranges(list)),
        RecordFact::Failed(list) => format!("failed       {}", ranges(list)),
        RecordFact::Parked(list) => format!("parked       {}", ranges(list)),
        RecordFact::Unparked(list) => format!("unparked     {}", ranges(list)),
        RecordFact::Counted(list) => format!("counted      {}", counted(list)),
        RecordFact::Aside(list) => format!("aside        {}", asides(list)),
        RecordFact::Rejected(list) => format!("rejected     {}", ranges(list)),
        RecordFact::Quarantined(list) => format!("quarantined  {}", ranges(list)),
        RecordFact::Expiring(list) => format!("expiring     {}", deadlines(list)),
        RecordFact::Topology(facts) => {
            format!(
                "topology     {}",
                facts.iter().map(topology).collect::<Vec<_>>().join(", ")
            )
        }
        RecordFact::Whole => "whole".to_owned(),
    };
    match record.transaction {
        Some(transaction) => format!("{fact}  (transaction {transaction:x})"),
        None => fact,
    }
}

fn deadlines(list: &[Deadline]) -> String {
    let one = |deadline: &Deadline| {
        let messages = span(deadline.queue.0, deadline.first.0, u64::from(deadline.count));
        format!("{messages} at {} ms", deadline.at)
    };
    list.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn counted(list: &[Counted]) -> String {
    let one = |counted: &Counted| {
        let messages = span(counted.queue.0, counted.first.0, u64::from(counted.count));
        let Counted {
            deliveries, failures, ..
        } = counted;
        format!("{messages} back {deliveries} times, failed {failures}")
    };
    list.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn asides(list: &[SetAside]) -> String {
    let one = |set: &SetAside| {
        let messages = span(set.queue.0, set.first.0, u64::from(set.count));
        let until = set.until.map(|until| format!(" until {until} ms"));
        let place = match set.aside {
            None => "back in place".to_owned(),
            Some(Aside::Parked(death)) => format!("parked ({death:?})"),
            Some(Aside::Retained) => "retained".to_owned(),
        };
        format!("{messages} {place}{}", until.unwrap_or_default())
    };
    list.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A fact, but for a password's hash: what is printed ends up in tickets and chats.
fn topology(fact: &Fact) -> String {
    match fact {
        Fact::UserDeclared { user, tags, .. } => format!("UserDeclared {{ user: {user:?}, tags: {tags:?} }}"),
        other => format!("{other:?}"),
    }
}

fn span(queue: u64, first: u64, count: u64) -> String {
    match count {
        1 => format!("queue {queue} message {first}"),
        _ => format!(
            "queue {queue} messages {first} to {}",
            (first + count).saturating_sub(1)
        ),
    }
}

/// Prints the messages that a queue holds, oldest first.
pub(super) fn messages(
    directory: &Directory,
    vhost: &str,
    name: &str,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let Recall { recovered, .. } = directory.recover(|_, _| {})?;
    let snapshot = recovered.catalog.snapshot();
    let view = snapshot
        .vhost(vhost.as_bytes())
        .with_context(|| format!("there is no vhost {vhost:?}"))?;
    let queue = view
        .queue(name.as_bytes())
        .with_context(|| format!("there is no durable queue {name:?} in it"))?;
    let image = recovered.queues.into_iter().find(|(_, id, _)| *id == queue.id);
    let Some((_, _, image)) = image else {
        return Ok(ExitCode::SUCCESS);
    };
    let returns = image.returns.clone();
    let (mut contents, mut sound) = (Contents::new(&directory.reader), true);
    for run in image.into_runs() {
        let position = Position(run.location.0);
        let batch = match contents.of(&run) {
            Ok(batch) => batch,
            Err(error) => {
                sound = false;
                writeln!(
                    out,
                    "{}  at {position}  UNREADABLE: {error}",
                    span(queue.id.0, run.first.0, run.count())
                )?;
                continue;
            }
        };
        for (seq, entry) in (run.first.0..).zip(run.from..run.to) {
            let returned = returns.of(everack_broker::ids::Seq(seq));
            let line = message(batch, usize::from(entry));
            if writeln!(out, "{seq:>12}  at {position}  returned {returned}  {line}").is_err() {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNSOUND)
    })
}

fn message(batch: &Batch, entry: usize) -> String {
    let body = batch.body(entry);
    let shown = &body[..body.len().min(BODY_SHOWN)];
    let more = if body.len() > BODY_SHOWN { "…" } else { "" };
    format!(
        "exchange \"{}\" key \"{}\" {} B  \"{}\"{more}",
        batch.exchange(entry).escape_ascii(),
        batch.routing_key(entry).escape_ascii(),
        body.len(),
        shown.escape_ascii()
    )
}
