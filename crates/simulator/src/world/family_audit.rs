//! Reads a queue with rules and all its heirs, and puts everything back. What is read is kept in hand until all of them are empty for good, so
//! that nothing moves between two looks: dead letters find their heirs declared and room with them, what waits has its time, and what is
//! parked is redriven.

use std::rc::Rc;
use std::sync::Arc;

use everack_amqp::wire::method::{Method, basic, queue};
use everack_broker::ids::Seq;
use everack_broker::partition::{ParkedFate, Store};
use everack_node::report::{Inquirer, Report};
use everack_node::request::{Request, Unpark};

use super::audit::{self, Reading, Taken};
use super::desk::Desk;
use super::families;
use crate::book::{Event, Name, family};
use crate::client::{Client, short};
use crate::node::Core;

/// Longer than dead letters without a target are left alone, and than anything waits for its next try.
const PAUSE_US: u64 = 1_300_000;
/// Every queue is empty by then, or never.
const PASSES_MAX: usize = 60;

/// None if the node is dead, or the disk could not be read.
pub(super) fn read(core: &Rc<Core>, name: &Name, rotten: usize, desk: &mut Desk) -> Option<Reading> {
    let mut client = Client::connect(core);
    let there = audit::count(&mut client, name);
    if core.is_dead() {
        return None;
    }
    if there.is_none() {
        return Some(None);
    }
    let places: Vec<Name> = family::places(name).map(|place| Name::from(place.name)).collect();
    for heir in places.iter().filter(|place| family::is_heir(place)) {
        declare(core, &mut client, heir)?;
        desk.see(Event::HeirDeclared(heir.clone()));
    }
    let taken = empty(core, &mut client, &places, rotten)?;
    client.say(basic::Nack {
        delivery_tag: 0,
        multiple: true,
        requeue: true,
    });
    client.run();
    client.vanish();
    let late = taken.iter().filter(|taken| taken.late && taken.place == *name);
    desk.coverage
        .add("messages that waited, or were parked", late.count() as u64);
    let count = taken.len() as u64;
    (!core.is_dead()).then_some(Some((taken, count)))
}

/// All that is in these queues, in as many passes as it takes.
fn empty(core: &Rc<Core>, client: &mut Client, places: &[Name], rotten: usize) -> Option<Vec<Taken>> {
    let mut all = Vec::new();
    for pass in 0..PASSES_MAX {
        let before = all.len();
        for place in places {
            all.append(&mut audit::take_all(core, client, place, rotten, pass > 0)?);
        }
        // Nobody may pause where the queue goes when it is unused.
        let hurries = places
            .iter()
            .any(|place| family::place(place).is_some_and(|place| place.expires_ms.is_some()));
        if hurries || pass > 1 && all.len() == before {
            break;
        }
        core.set_now(core.now_us() + PAUSE_US);
        places.iter().for_each(|place| redrive(core, place));
        core.pump();
        if core.is_dead() {
            return None;
        }
    }
    Some(all)
}

fn declare(core: &Rc<Core>, client: &mut Client, heir: &Name) -> Option<()> {
    client.say(queue::Declare {
        queue: short(heir),
        durable: true,
        arguments: families::arguments(heir),
        ..queue::Declare::default()
    });
    client.run();
    let declared = client.answered(|method| matches!(method, Method::QueueDeclareOk(_)));
    assert!(declared || core.is_dead(), "{heir} can be declared");
    (!core.is_dead()).then_some(())
}

/// What has failed too often goes back to its place, as an operator would have it.
fn redrive(core: &Rc<Core>, place: &Name) {
    let snapshot = core.shared.snapshot();
    let vhost = snapshot.vhost(b"/");
    let queue = vhost.as_ref().and_then(|vhost| vhost.queue(place.as_bytes()));
    let Some(queue) = queue else { return };
    let unpark = Unpark {
        queue: queue.id,
        store: Store::Parked,
        first: Seq(0),
        end: Seq(u64::MAX),
        fate: ParkedFate::Redrive,
        preview: false,
        inquirer: Arc::new(Nobody),
    };
    core.post(usize::from(queue.partition.0), Request::Unpark(unpark));
}

/// Does not care what became of it.
#[derive(Debug)]
struct Nobody;

impl Inquirer for Nobody {
    fn told(&self, _report: Report) {}
}
