//! A delivery that is taken from who holds it: what the log keeps of that.

use std::sync::{Arc, Mutex};

use everack_broker::catalog::Queue;
use everack_broker::ids::{ConsumerId, Seq};
use everack_broker::partition::{Cursor, SettleOutcome};
use everack_node::report::{HandedOn, Inquirer, Report};
use everack_node::request::{HandOn, Request, Settle};

use crate::desk::{Desk, batch};
use crate::parking::depth;

#[derive(Debug, Default)]
struct Ear(Mutex<Vec<Report>>);

impl Inquirer for Ear {
    fn told(&self, report: Report) {
        self.0.lock().unwrap().push(report);
    }
}

fn hand_on(desk: &Desk, queue: &Queue, delivery: Option<Cursor>, preview: bool) -> HandedOn {
    let ear = Arc::new(Ear::default());
    let hand_on = HandOn {
        queue: queue.id,
        message: Seq(1),
        delivery,
        preview,
        inquirer: ear.clone(),
    };
    desk.ask_of(queue, Request::HandOn(hand_on));
    let report = ear.0.lock().unwrap().pop();
    match report {
        Some(Report::HandedOn(report)) => report.fate,
        other => panic!("{other:?}"),
    }
}

fn acknowledge(desk: &Desk, queue: &Queue, consumer: ConsumerId, count: u32) {
    let settle = Settle {
        consumer,
        first: 0,
        count,
        outcome: SettleOutcome::Done,
    };
    desk.ask_of(queue, Request::Settle(settle));
    desk.commit();
}

#[test]
fn what_the_old_holder_says_of_it_is_not_logged_and_what_the_new_one_says_is() {
    for settled_by_new in [false, true] {
        let desk = Desk::new();
        let queue = desk.declare("q");
        desk.publish(batch(&[b"a", b"b"]), &[&queue]);
        desk.commit();
        let (old, new) = (desk.consumer(&queue), desk.consumer(&queue));
        assert_eq!(hand_on(&desk, &queue, None, false), HandedOn::NotHeld);
        desk.get(&queue, old).expect("a");
        desk.get(&queue, old).expect("b");
        let meant = |number| Some(Cursor { holder: old, number });
        let HandedOn::Elsewhere(found) = hand_on(&desk, &queue, meant(1), false) else {
            panic!("another delivery was meant")
        };
        assert_eq!((found.consumer, found.delivery), (old, 0));
        assert_eq!(hand_on(&desk, &queue, meant(0), true), HandedOn::Preview(found));
        assert_eq!(depth(&desk, &queue).unsettled, 2);
        let taken = HandedOn::Taken {
            from: found,
            to: None,
        };
        assert_eq!(hand_on(&desk, &queue, meant(0), false), taken);
        assert_eq!(desk.get(&queue, new).as_deref(), Some(&b"a"[..]));
        acknowledge(&desk, &queue, old, 2);
        let counters = depth(&desk, &queue).counters;
        assert_eq!((counters.live(), counters.settled()), (1, 1));
        if settled_by_new {
            acknowledge(&desk, &queue, new, 1);
        }
        let desk = desk.restart();
        let queue = desk.queue("q").expect("it is durable");
        let left = desk.get(&queue, desk.consumer(&queue));
        let expected = (!settled_by_new).then(|| b"a".to_vec());
        assert_eq!(left, expected);
        assert_eq!(desk.ready(&queue), 0);
    }
}
