//! Reads every queue from one end to the other, before anybody else may touch it, and puts it all back: what is really there.

use std::rc::Rc;

use everack_amqp::wire::method::{Method, basic, queue};

use super::desk::Desk;
use crate::book::{Event, Fate, Found, Name, TransactionState};
use crate::client::{Client, Received, short};
use crate::content;
use crate::node::Core;

/// Reads all queues and has them judged. Nothing is judged if the node dies meanwhile.
pub(super) fn run(core: &Rc<Core>, desk: &mut Desk) -> bool {
    let names: Vec<Name> = desk.book.queues.keys().cloned().collect();
    let mut readings = Vec::new();
    for name in names {
        let Some(reading) = read(core, &name, desk.book.rotten.len()) else {
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
        let found = received.map(|received| received.iter().map(|received| found(desk, received)).collect());
        desk.see(Event::Audited(name, found, counted));
    }
    desk.see(Event::AuditEnded);
    true
}

type Reading = Option<(Vec<Received>, u64)>;

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
        if client.answered(|method| matches!(method, Method::BasicGetEmpty(_))) {
            empty += 1;
            if empty > rotten || count(&mut client, name).is_none_or(|count| count == 0) {
                break;
            }
        }
    }
    if client.answered(|method| matches!(method, Method::ConnectionClose(_))) {
        // A read has failed.
        return None;
    }
    let received = std::mem::take(&mut client.received);
    client.vanish();
    (!core.is_dead()).then_some(Some((received, counted)))
}

/// How many messages the queue tells of; none if it is not there.
fn count(client: &mut Client, name: &Name) -> Option<u64> {
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

fn found(desk: &Desk, received: &Received) -> Found {
    let number = content::number_of(&received.properties);
    let is_intact = |number| content::is_intact(&desk.book, number, &received.properties, &received.body);
    Found {
        number,
        intact: number.is_some_and(is_intact),
        redelivered: received.redelivered,
    }
}

/// What became of what nobody knew.
fn note(desk: &mut Desk, readings: &[(Name, Reading)]) {
    let mut survived = 0;
    let mut forgotten = 0;
    for (name, reading) in readings {
        let received = reading.iter().flat_map(|(received, _)| received);
        for number in received.filter_map(|received| content::number_of(&received.properties)) {
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
