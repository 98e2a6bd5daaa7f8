//! Reads every queue from one end to the other, before anybody else may touch it, and puts it all back: what is really there.

use std::rc::Rc;

use everack_amqp::wire::method::{Method, basic, queue};

use super::desk::Desk;
use super::family_audit;
use crate::book::{Event, Fate, Found, Name, TransactionState, family};
use crate::client::{Client, Received, short};
use crate::content;
use crate::node::Core;

/// Reads all queues and has them judged. Nothing is judged if the node dies meanwhile.
pub(super) fn run(core: &Rc<Core>, desk: &mut Desk) -> bool {
    let names: Vec<Name> = desk.book.queues.keys().cloned().collect();
    let mut readings = Vec::new();
    for name in names {
        let rotten = desk.book.rotten.len();
        let reading = if family::place(&name).is_some() {
            family_audit::read(core, &name, rotten, desk)
        } else {
            read(core, &name, rotten)
        };
        let Some(reading) = reading else {
            desk.see(Event::AuditBroken);
            return false;
        };
        readings.push((name, reading));
    }
    desk.book.now_us = core.now_us();
    note(desk, &readings);
    for (name, reading) in readings {
        let (received, counted) = match reading {
            Some((received, counted)) => (Some(received), counted),
            None => (None, 0),
        };
        let found = received.map(|received| received.iter().map(|taken| found(desk, taken)).collect());
        desk.see(Event::Audited(name, found, counted));
    }
    desk.see(Event::AuditEnded);
    true
}

pub(super) type Reading = Option<(Vec<Taken>, u64)>;

/// A message that was read.
pub(super) struct Taken {
    pub(super) received: Received,
    /// Out of which queue.
    pub(super) place: Name,
    /// Not when the queue was read for the first time.
    pub(super) late: bool,
}

/// None if the node is dead, or the disk could not be read. As many gets as there are rotten messages may come back empty although the queue
/// is not: each sets a damaged message aside.
fn read(core: &Rc<Core>, name: &Name, rotten: usize) -> Option<Reading> {
    let mut client = Client::connect(core);
    let counted = count(&mut client, name);
    if core.is_dead() {
        return None;
    }
    let Some(counted) = counted else {
        return Some(None);
    };
    let taken = take_all(core, &mut client, name, rotten, false)?;
    client.vanish();
    (!core.is_dead()).then_some(Some((taken, counted)))
}

/// Takes everything that is ready in a queue, and keeps it.
pub(super) fn take_all(
    core: &Rc<Core>,
    client: &mut Client,
    name: &Name,
    rotten: usize,
    late: bool,
) -> Option<Vec<Taken>> {
    let mut empty = 0;
    loop {
        client.say(basic::Get {
            queue: short(name),
            no_ack: false,
        });
        client.run();
        if core.is_dead() {
            return None;
        }
        if client.answered(|method| matches!(method, Method::ChannelClose(_))) {
            let expires = family::place(name).is_some_and(|place| place.expires_ms.is_some());
            assert!(expires, "{name} was there and is not any more");
            break;
        }
        if client.answered(|method| matches!(method, Method::BasicGetEmpty(_))) {
            empty += 1;
            if empty > rotten || count(client, name).is_none_or(|count| count == 0) {
                break;
            }
        }
    }
    if client.answered(|method| matches!(method, Method::ConnectionClose(_))) {
        // A read has failed.
        return None;
    }
    let taken = std::mem::take(&mut client.received).into_iter();
    let taken = taken.map(|received| Taken {
        received,
        place: name.clone(),
        late,
    });
    Some(taken.collect())
}

/// How many messages the queue tells of; none if it is not there.
pub(super) fn count(client: &mut Client, name: &Name) -> Option<u64> {
    client.say(queue::Declare {
        queue: short(name),
        passive: true,
        ..queue::Declare::default()
    });
    client.run();
    let answers = std::mem::take(&mut client.answers);
    answers.into_iter().find_map(|answer| match answer {
        Method::QueueDeclareOk(ok) => Some(u64::from(ok.message_count)),
        _ => None,
    })
}

fn found(desk: &Desk, taken: &Taken) -> Found {
    let received = &taken.received;
    let number = content::number_of(&received.properties);
    let is_intact = |number| content::is_intact(&desk.book, number, &received.properties, &received.body);
    Found {
        number,
        intact: number.is_some_and(is_intact),
        redelivered: received.redelivered,
        place: taken.place.clone(),
        late: taken.late,
    }
}

/// What became of what nobody knew.
fn note(desk: &mut Desk, readings: &[(Name, Reading)]) {
    let mut survived = 0;
    let mut forgotten = 0;
    for (name, reading) in readings {
        let received = reading.iter().flat_map(|(received, _)| received);
        let numbers = received.filter_map(|taken| content::number_of(&taken.received.properties));
        for number in numbers {
            desk.trace.number(number);
            match desk.book.copy(name, number) {
                None => survived += 1,
                Some(copy) if copy.fate == Fate::Possible && copy.seen_us.is_some() => forgotten += 1,
                Some(_) => (),
            }
        }
    }
    let unknown = desk.book.messages.values();
    let unknown = unknown
        .filter(|publish| publish.resolved_us.is_none() && !publish.withdrawn)
        .count() as u64;
    desk.coverage.add("unconfirmed messages that survived", survived);
    desk.coverage.add(
        "unconfirmed messages that did not",
        unknown.saturating_sub(survived),
    );
    desk.coverage.add("settlements forgotten by a crash", forgotten);
    let in_doubt = desk.book.transactions.values();
    let in_doubt = in_doubt
        .filter(|transaction| transaction.state == TransactionState::InDoubt)
        .count();
    desk.coverage
        .add("transactions in doubt at a crash", in_doubt as u64);
}
