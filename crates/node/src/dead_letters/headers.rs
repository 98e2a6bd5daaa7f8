//! What a message says of its deaths: the headers that RabbitMQ writes when it dead-letters one, and the rule that ends circles.
//!
//! `x-death` is an array of tables, one for each pair of queue and reason, the latest first: `count`, `reason`, `queue`, `time`
//! (of the first such death), `exchange`, `routing-keys`, and `original-expiration` if the message had one. The first and the last death also
//! have headers of their own.
//!
//! RabbitMQ lets the array grow with every further queue and reason. Here it has a bound, so that a message on a long way still fits a
//! frame that clients take: the oldest deaths are forgotten first ([`DEATHS_BYTES_MAX`]). The first one is told by its own headers.

use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::table::{Table, Value};
use everack_broker::partition::Death;

/// One death, as the headers tell it.
#[derive(Clone, Copy, Debug)]
pub struct DeathNote<'a> {
    /// What the message died of.
    pub death: Death,
    /// The queue that it was in.
    pub queue: &'a [u8],
    /// The exchange that it had come through.
    pub exchange: &'a [u8],
    /// The key that it was published with.
    pub routing_key: &'a [u8],
    /// The `expiration` that it had, which is taken off it.
    pub expiration: Option<&'a [u8]>,
    /// When, in seconds since 1970.
    pub time_s: u64,
}

/// What `x-death` may take, in bytes. The latest death is always told.
const DEATHS_BYTES_MAX: usize = 64 << 10;
/// What all headers together may take before `x-death` gets less: they share a frame of 128 KiB, the usual limit, with the other
/// properties, which take 3 KiB at most.
const HEADERS_BYTES_MAX: usize = 124 << 10;
/// What the routing keys of one death may take, in bytes. The first one is always told.
const KEYS_BYTES_MAX: usize = 1 << 10;

/// The reason as headers name it.
pub fn reason(death: Death) -> &'static [u8] {
    match death {
        Death::Rejected => b"rejected",
        Death::Expired => b"expired",
        Death::Overflow => b"maxlen",
        Death::DeliveryLimit => b"delivery_limit",
        // No death, so nothing is told of it.
        Death::Due => b"due",
    }
}

/// The headers of a message after one more death.
pub fn record_death(headers: Table, note: &DeathNote<'_>) -> Table {
    let deaths = deaths(&headers);
    let first = deaths.is_empty();
    let mut values: Vec<(ShortString, Value)> = headers
        .iter()
        .filter(|(name, _)| !is_replaced(name.as_bytes(), first))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let parts = [
        ("exchange", note.exchange),
        ("queue", note.queue),
        ("reason", reason(note.death)),
    ];
    for which in if first { &["first", "last"][..] } else { &["last"] } {
        for (part, value) in parts {
            let name = short(&format!("x-{which}-death-{part}"));
            values.push((name, Value::String(value.to_vec())));
        }
    }
    let routing_keys = routing_keys(&headers, note.routing_key);
    let deaths = merged(deaths, note, routing_keys);
    let taken: usize = values
        .iter()
        .map(|(name, value)| name.as_bytes().len() + 1 + size(value))
        .sum();
    let room = HEADERS_BYTES_MAX.saturating_sub(taken).min(DEATHS_BYTES_MAX);
    values.push((short("x-death"), Value::Array(latest(deaths, room))));
    // RabbitMQ's tables are sorted once it has written into them.
    values.sort_by(|(left, _), (right, _)| left.as_bytes().cmp(right.as_bytes()));
    values.into_iter().collect()
}

/// Whether a message that has just died, with these headers, would come to `queue` in a circle: it has died there before, and
/// no client has rejected it since.
pub fn is_cycle(headers: &Table, queue: &[u8]) -> bool {
    let deaths = deaths(headers);
    let Some(there) = deaths
        .iter()
        .position(|death| string(death, "queue") == Some(queue))
    else {
        return false;
    };
    // What is no death of ours was put there by a client: the circle is not of our own making.
    deaths[..=there].iter().all(|death| match death {
        Value::Table(_) => string(death, "reason") != Some(b"rejected"),
        _ => false,
    })
}

fn is_replaced(name: &[u8], first: bool) -> bool {
    name == b"x-death" || name.starts_with(b"x-last-death-") || first && name.starts_with(b"x-first-death-")
}

fn deaths(headers: &Table) -> Vec<Value> {
    match headers.get("x-death") {
        Some(Value::Array(deaths)) => deaths.clone(),
        _ => Vec::new(),
    }
}

fn string<'a>(death: &'a Value, name: &str) -> Option<&'a [u8]> {
    match death {
        Value::Table(table) => match table.get(name)? {
            Value::String(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// The further keys that `CC` names. Those of `BCC` are nobody's business.
pub fn copies(headers: &Table) -> impl Iterator<Item = &[u8]> {
    let copies = match headers.get("CC") {
        Some(Value::Array(copies)) => copies.as_slice(),
        _ => &[],
    };
    copies.iter().filter_map(|copy| match copy {
        Value::String(key) => Some(key.as_slice()),
        _ => None,
    })
}

/// The key of the publish and the further ones.
fn routing_keys(headers: &Table, routing_key: &[u8]) -> Vec<Value> {
    let keys = std::iter::once(routing_key).chain(copies(headers));
    latest(
        keys.map(|key| Value::String(key.to_vec())).collect(),
        KEYS_BYTES_MAX,
    )
}

/// The first of these, and as many behind it as fit into `room` bytes with it.
fn latest(mut values: Vec<Value>, room: usize) -> Vec<Value> {
    let mut taken = 0;
    let fitting = values.iter().take_while(|value| {
        taken += size(value);
        taken <= room
    });
    let fitting = fitting.count().max(1);
    values.truncate(fitting);
    values
}

/// What a value takes on the wire, in bytes.
fn size(value: &Value) -> usize {
    let mut encoded = Vec::new();
    value.encode(&mut encoded);
    encoded.len()
}

/// The deaths with the latest in front: the same queue and reason counts once more, anything else is new.
fn merged(deaths: Vec<Value>, note: &DeathNote<'_>, routing_keys: Vec<Value>) -> Vec<Value> {
    let (queue, why) = (Some(note.queue), Some(reason(note.death)));
    let is_same = |death: &Value| string(death, "queue") == queue && string(death, "reason") == why;
    let (same, others): (Vec<Value>, Vec<Value>) = deaths.into_iter().partition(is_same);
    let mut latest = match same.into_iter().next() {
        Some(Value::Table(table)) => counted(&table),
        _ => new_death(note, routing_keys),
    };
    latest.sort_by(|(left, _), (right, _)| left.as_bytes().cmp(right.as_bytes()));
    let latest = Value::Table(latest.into_iter().collect());
    std::iter::once(latest).chain(others).collect()
}

fn counted(table: &Table) -> Vec<(ShortString, Value)> {
    let count = match table.get("count") {
        Some(Value::I64(count)) => count.saturating_add(1),
        _ => 1,
    };
    let others = table.iter().filter(|(name, _)| name.as_bytes() != b"count");
    let mut values: Vec<_> = others
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    values.push((short("count"), Value::I64(count)));
    values
}

fn new_death(note: &DeathNote<'_>, routing_keys: Vec<Value>) -> Vec<(ShortString, Value)> {
    let mut values = vec![
        (short("count"), Value::I64(1)),
        (short("exchange"), Value::String(note.exchange.to_vec())),
        (short("queue"), Value::String(note.queue.to_vec())),
        (short("reason"), Value::String(reason(note.death).to_vec())),
        (short("routing-keys"), Value::Array(routing_keys)),
        (short("time"), Value::Timestamp(note.time_s)),
    ];
    if let Some(expiration) = note.expiration {
        values.push((short("original-expiration"), Value::String(expiration.to_vec())));
    }
    values
}

fn short(name: &str) -> ShortString {
    ShortString::new(name).expect("a name in code is short")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: DeathNote<'static> = DeathNote {
        death: Death::Expired,
        queue: b"q",
        exchange: b"x",
        routing_key: b"k",
        expiration: None,
        time_s: 100,
    };

    /// The deaths as `count queue reason time`, and the first and last one.
    fn told(headers: &Table) -> String {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let deaths = deaths(headers).into_iter().map(|death| {
            let Value::Table(table) = &death else {
                return "?".to_owned();
            };
            let (Some(Value::I64(count)), Some(Value::Timestamp(time))) =
                (table.get("count"), table.get("time"))
            else {
                return "?".to_owned();
            };
            let part = |name| text(string(&death, name).unwrap_or_default());
            format!("{count} {} {} {time}", part("queue"), part("reason"))
        });
        let own = |name: &str| match headers.get(name) {
            Some(Value::String(value)) => text(value),
            _ => "-".to_owned(),
        };
        let ends = ["first", "last"].map(|which| {
            let parts = ["queue", "reason", "exchange"].map(|part| own(&format!("x-{which}-death-{part}")));
            parts.join(" ")
        });
        format!("{} | {}", deaths.collect::<Vec<_>>().join(", "), ends.join(" | "))
    }

    fn check(notes: &[DeathNote<'_>], expected: &str) {
        let headers = notes.iter().fold(Table::new(), record_death);
        assert_eq!(told(&headers), expected);
    }

    #[test]
    fn deaths_are_counted_by_queue_and_reason() {
        let later = |death, queue, time_s| DeathNote {
            death,
            queue,
            time_s,
            ..NOTE
        };
        check(&[NOTE], "1 q expired 100 | q expired x | q expired x");
        check(
            &[NOTE, later(Death::Rejected, b"r", 200)],
            "1 r rejected 200, 1 q expired 100 | q expired x | r rejected x",
        );
        check(
            &[
                NOTE,
                later(Death::Rejected, b"r", 200),
                later(Death::Expired, b"q", 300),
            ],
            "2 q expired 100, 1 r rejected 200 | q expired x | q expired x",
        );
        check(
            &[NOTE, later(Death::Overflow, b"q", 200)],
            "1 q maxlen 200, 1 q expired 100 | q expired x | q maxlen x",
        );
        check(
            &[later(Death::DeliveryLimit, b"", 1)],
            "1  delivery_limit 1 |  delivery_limit x |  delivery_limit x",
        );
    }

    #[test]
    fn a_death_is_told_as_rabbitmq_does() {
        let note = DeathNote {
            expiration: Some(b"50"),
            ..NOTE
        };
        let before = Table::new()
            .with("zeta", Value::I32(1))
            .with("CC", Value::Array(vec![Value::String(b"cc".to_vec())]))
            .with("BCC", Value::Array(vec![Value::String(b"bcc".to_vec())]))
            .with("x-death", Value::Void);
        let headers = record_death(before, &note);
        let names: Vec<_> = headers.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(
            names,
            [
                "BCC",
                "CC",
                "x-death",
                "x-first-death-exchange",
                "x-first-death-queue",
                "x-first-death-reason",
                "x-last-death-exchange",
                "x-last-death-queue",
                "x-last-death-reason",
                "zeta"
            ]
        );
        let text = |text: &str| Value::String(text.into());
        let death = Table::new()
            .with("count", Value::I64(1))
            .with("exchange", text("x"))
            .with("original-expiration", text("50"))
            .with("queue", text("q"))
            .with("reason", text("expired"))
            .with("routing-keys", Value::Array(vec![text("k"), text("cc")]))
            .with("time", Value::Timestamp(100));
        assert_eq!(
            headers.get("x-death"),
            Some(&Value::Array(vec![Value::Table(death)]))
        );
    }

    /// The longest names there are, and as many keys as a frame holds.
    #[test]
    fn headers_do_not_outgrow_a_frame_on_a_long_way() {
        let copies = vec![Value::String(vec![b'c'; 200]); 500];
        for own in [
            Value::Void,
            Value::Array(copies),
            Value::String(vec![b'o'; 120 << 10]),
        ] {
            let mut headers = Table::new().with("CC", own);
            let mut own_bytes = Vec::new();
            headers.encode(&mut own_bytes);
            for hop in 0..200 {
                let queue = format!("{hop:0>255}");
                let note = DeathNote {
                    queue: queue.as_bytes(),
                    exchange: &[b'x'; 255],
                    routing_key: &[b'k'; 255],
                    expiration: Some(b"86400000"),
                    ..NOTE
                };
                headers = record_death(headers, &note);
                let mut bytes = Vec::new();
                headers.encode(&mut bytes);
                let bound = (own_bytes.len() + 4096).max(HEADERS_BYTES_MAX + 4096);
                assert!(bytes.len() <= bound, "{} bytes after {hop} deaths", bytes.len());
                let told = deaths(&headers);
                assert_eq!(
                    string(&told[0], "queue"),
                    Some(queue.as_bytes()),
                    "the latest is told"
                );
                assert!(is_cycle(&headers, queue.as_bytes()));
            }
            let first = headers.get("x-first-death-queue");
            assert_eq!(first, Some(&Value::String(format!("{:0>255}", 0).into_bytes())));
            assert!(
                !is_cycle(&headers, &[b'0'; 255]),
                "what was long ago is forgotten"
            );
        }
    }

    #[test]
    fn a_usual_way_is_told_in_full() {
        let queues: Vec<_> = (0..300).map(|hop| format!("orders.stage-{hop}")).collect();
        let notes = queues.iter().map(|queue| DeathNote {
            queue: queue.as_bytes(),
            exchange: b"orders.dlx",
            routing_key: b"order.created",
            ..NOTE
        });
        let headers = notes.fold(Table::new(), |headers, note| record_death(headers, &note));
        assert_eq!(deaths(&headers).len(), 300);
        assert!(is_cycle(&headers, b"orders.stage-0"));
    }

    #[test]
    fn a_circle_without_a_rejection_is_one() {
        let at = |queue, death| DeathNote { queue, death, ..NOTE };
        let check = |notes: &[DeathNote<'_>], queue: &[u8], expected| {
            let headers = notes.iter().fold(Table::new(), record_death);
            assert_eq!(is_cycle(&headers, queue), expected, "{}", told(&headers));
        };
        let (expired, rejected) = (Death::Expired, Death::Rejected);
        check(&[at(b"a", expired)], b"b", false);
        check(&[at(b"a", expired)], b"a", true);
        check(&[at(b"a", rejected)], b"a", false);
        check(&[at(b"a", expired), at(b"b", expired)], b"a", true);
        check(&[at(b"a", expired), at(b"b", rejected)], b"a", false);
        check(&[at(b"a", rejected), at(b"b", expired)], b"a", false);
        check(&[at(b"a", rejected), at(b"b", expired)], b"b", true);
        check(
            &[at(b"c", rejected), at(b"a", expired), at(b"b", expired)],
            b"a",
            true,
        );
        let foreign = Table::new().with("x-death", Value::Array(vec![Value::Void]));
        assert!(!is_cycle(&record_death(foreign, &at(b"b", expired)), b"a"));
    }
}
