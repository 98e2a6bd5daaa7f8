//! A survey as text for people, or as JSON for programs.

use std::io::{self, Write};

use super::survey::Survey;

/// One JSON object on one line.
pub(super) fn json(survey: &Survey, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, survey)?;
    writeln!(out)
}

/// A page of text.
pub(super) fn text(survey: &Survey, out: &mut impl Write) -> io::Result<()> {
    let Survey { log, topology, .. } = survey;
    writeln!(out, "{}, {}", survey.directory, size(survey.bytes))?;
    let end = if log.closed_cleanly {
        "closed cleanly"
    } else {
        "not closed"
    };
    writeln!(
        out,
        "log          {} segments, {} records, {}, {end}",
        log.segments,
        number(log.records),
        size(log.bytes)
    )?;
    let kinds = &log.by_kind;
    let counts = [
        ("enqueued", kinds.enqueued),
        ("settled", kinds.settled),
        ("returned", kinds.returned),
        ("moved", kinds.moved),
        ("failed", kinds.failed),
        ("parked", kinds.parked),
        ("unparked", kinds.unparked),
        ("counted", kinds.counted),
        ("aside", kinds.aside),
        ("rejected", kinds.rejected),
        ("quarantined", kinds.quarantined),
        ("expiring", kinds.expiring),
        ("topology", kinds.topology),
        ("transactions", kinds.transaction_ends),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{kind} {}", number(*count)))
        .collect();
    if !counts.is_empty() {
        writeln!(out, "             {}", counts.join(", "))?;
    }
    for checkpoint in &survey.checkpoints {
        match &checkpoint.covers {
            Some(covers) => writeln!(
                out,
                "checkpoint   {}, {}, covers the log up to {covers}",
                checkpoint.file,
                size(checkpoint.bytes)
            )?,
            None => writeln!(out, "checkpoint   {}, not usable", checkpoint.file)?,
        }
    }
    writeln!(
        out,
        "topology     {} vhosts, {} users, {} exchanges, {} queues (what is durable)",
        topology.vhosts, topology.users, topology.exchanges, topology.queues
    )?;
    writeln!(out, "messages     {}", number(survey.messages))?;
    queues(survey, out)?;
    survey
        .notes
        .iter()
        .try_for_each(|note| writeln!(out, "note         {note}"))?;
    survey
        .faults
        .iter()
        .try_for_each(|fault| writeln!(out, "FAULT        {fault}"))?;
    match survey.faults.len() {
        0 => writeln!(out, "sound: everything was read, and every checksum is right"),
        faults => writeln!(
            out,
            "NOT SOUND: {faults} faults; keep a copy of the directory before you start a broker on it"
        ),
    }
}

fn queues(survey: &Survey, out: &mut impl Write) -> io::Result<()> {
    let width = survey
        .queues
        .iter()
        .map(|queue| queue.name.chars().count())
        .max()
        .unwrap_or(0)
        .min(60);
    for queue in &survey.queues {
        let messages = format!("{} messages", number(queue.messages));
        write!(
            out,
            "queue        {:width$}  {messages:>22}  {:>10}  vhost {}",
            queue.name,
            size(queue.bytes),
            queue.vhost
        )?;
        if queue.unreadable > 0 {
            write!(out, "  {} UNREADABLE", number(queue.unreadable))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// With a comma at every third digit.
fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes in the largest unit that leaves at least one of it.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (value, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(value), expected);
        }
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_610_612_736, "1.5 GiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
