//! What clients do with queues that have rules of their own, and with their heirs.

use everack_amqp::wire::table::{Table, Value};

use super::delays;
use super::desk::Desk;
use crate::book::family::{self, Overflow, Place};
use crate::book::{Address, Class, Name, Presence};
use crate::random::Random;

/// Which families a history has: none in some, so that the rest has its turn.
pub(super) fn draw(random: &mut Random) -> Vec<&'static str> {
    let heads: Vec<&'static str> = family::PLACES
        .iter()
        .map(|place| place.name)
        .filter(|name| !family::is_heir(name))
        .collect();
    let count = if random.once_in(3) {
        0
    } else {
        random.between(1, 2)
    };
    let mut drawn: Vec<&'static str> = (0..count).map(|_| *random.pick(&heads)).collect();
    drawn.sort_unstable();
    drawn.dedup();
    drawn
}

/// A queue of one of the families.
pub(super) fn place(random: &mut Random, desk: &Desk) -> Name {
    let head = random.pick(&desk.families);
    let places: Vec<&Place> = family::places(head).filter(|place| !place.closed).collect();
    Name::from(random.pick(&places).name)
}

/// What the queue is there for, as far as clients rely on it.
fn class(place: &Place) -> Class {
    if place.expires_ms.is_some() {
        Class::Fleeting
    } else {
        Class::Durable
    }
}

/// A queue of a family that nobody has declared, or that was deleted.
pub(super) fn missing(desk: &Desk) -> Option<(Name, Class)> {
    let mut places = desk.families.iter().flat_map(|head| family::places(head));
    let place = places
        .find(|place| presence(desk, place.name) != Presence::Present && !desk.busy.contains(place.name))?;
    Some((Name::from(place.name), class(place)))
}

fn presence(desk: &Desk, name: &str) -> Presence {
    let queue = desk.book.queues.get(&*family::family(name));
    let heir = |queue: &crate::book::Queue| queue.heirs.get(name).map(|heir| heir.there);
    let known = queue.and_then(|queue| match family::is_heir(name) {
        true => heir(queue),
        false => Some(queue.there.now()),
    });
    match (known, queue) {
        // An heir without a head has nobody to inherit from: the book begins with the head.
        (_, None) if family::is_heir(name) => Presence::Present,
        (known, _) => known.unwrap_or_default(),
    }
}

/// An heir to be deleted, now and then.
pub(super) fn heir(random: &mut Random, desk: &Desk) -> Option<Name> {
    let places = desk.families.iter().flat_map(|head| family::places(head));
    let heirs = places.filter(|place| family::is_heir(place.name));
    let heirs = heirs.filter(|place| !family::held_back_heirs().any(|stays| stays == place.name));
    let there = heirs.filter(|place| presence(desk, place.name) == Presence::Present);
    let there: Vec<&Place> = there
        .filter(|place| desk.book.queues.contains_key(&*family::family(place.name)))
        .collect();
    if there.is_empty() || !random.once_in(2) {
        return None;
    }
    Some(Name::from(random.pick(&there).name))
}

/// Whether failed deliveries count in a queue.
pub(super) fn counts_failures(name: &str) -> bool {
    family::place(name).is_some_and(|place| place.quorum)
}

/// Where failures count, there have to be some.
pub(super) fn more_failures(desk: &Desk) -> u64 {
    if desk.families.iter().any(|name| counts_failures(name)) {
        8
    } else {
        0
    }
}

/// The arguments of a declaration.
pub(super) fn arguments(name: &str) -> Table {
    let Some(place) = family::place(name) else {
        return Table::new();
    };
    let mut table = Table::new();
    let mut put = |name: &str, value: Value| {
        table = std::mem::take(&mut table).with(name, value);
    };
    let text = |text: &str| Value::from(text);
    if let Some(heir) = place.heir {
        let exchange = if place.held_back { delays::LATER } else { "" };
        put("x-dead-letter-exchange", text(exchange));
        put("x-dead-letter-routing-key", text(heir));
    }
    if place.quorum {
        put("x-queue-type", text("quorum"));
    }
    if place.overflow != Overflow::DropHead {
        let overflow = match place.overflow {
            Overflow::RejectToHeir => "reject-publish-dlx",
            _ => "reject-publish",
        };
        put("x-overflow", text(overflow));
    }
    if place.single_active {
        put("x-single-active-consumer", Value::Bool(true));
    }
    if place.retry_ms.is_some() {
        put("x-delayed-retry-type", text("all"));
    }
    let numbers = [
        ("x-message-ttl", place.ttl_ms.map(|ms| ms as i64)),
        ("x-max-length", place.messages_max.map(|max| max as i64)),
        ("x-max-priority", place.priority_max.map(i64::from)),
        ("x-delivery-limit", place.delivery_limit),
        ("x-delayed-retry-min", place.retry_ms.map(|ms| ms as i64)),
        ("x-expires", place.expires_ms.map(|ms| ms as i64)),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            put(name, Value::I64(number));
        }
    }
    table
}

/// Expiration and priority of a message to this address.
pub(super) fn extras(address: &Address, random: &mut Random) -> (Option<u64>, Option<u8>) {
    let place = match address {
        Address::Queue(name) => family::place(name),
        Address::Exchange(..) => None,
    };
    let Some(place) = place else {
        return (None, None);
    };
    let expiration = match random.below(5) {
        _ if !place.expirations => None,
        0 => Some(5),
        1 => Some(40),
        2 => Some(3_000),
        3 => Some(600_000),
        _ => None,
    };
    let priority = place.priority_max.and_then(|_| {
        let priority = random.below(8) as u8;
        (priority > 0).then_some(priority)
    });
    (expiration, priority)
}

/// Adds to the coverage where a message came from.
pub(super) fn note_delivery(desk: &mut Desk, name: &str) {
    let Some(place) = family::place(name) else {
        return;
    };
    desk.hit("messages of queues with rules");
    if family::is_heir(place.name) {
        desk.hit("dead letters delivered");
    }
    if family::held_back_heirs().any(|heir| heir == place.name) {
        desk.hit("dead letters delivered that were held back");
    }
}
