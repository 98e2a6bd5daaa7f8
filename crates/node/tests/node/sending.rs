//! Messages that an operator sends to another queue: in one place at any time, through a crash too.

use std::rc::Rc;
use std::sync::{Arc, Mutex};

use everack_broker::arguments::{Arguments, Value};
use everack_broker::catalog::Queue;
use everack_broker::ids::Seq;
use everack_broker::partition::Store;
use everack_node::report::{Inquirer, MovedReport, Report, Unmoved};
use everack_node::request::{Goal, Request, SendOff};

use crate::desk::{Desk, arguments, batch};
use crate::parking::depth;

#[derive(Debug, Default)]
struct Ear(Mutex<Vec<Report>>);

impl Inquirer for Ear {
    fn told(&self, report: Report) {
        self.0.lock().unwrap().push(report);
    }
}

impl Ear {
    fn heard(&self) -> Option<MovedReport> {
        match self.0.lock().unwrap().pop()? {
            Report::Moved(report) => Some(report),
            other => panic!("{other:?}"),
        }
    }
}

/// Two queues in different partitions.
fn apart(desk: &Desk, terms: Arguments) -> (Arc<Queue>, Arc<Queue>) {
    let source = desk.declare("source");
    let targets = (0..).map(|number| desk.declare_with(&format!("target{number}"), terms.clone()));
    let target = targets
        .take(64)
        .find(|target| target.partition != source.partition);
    (source, target.expect("one of them is in another partition"))
}

fn order(desk: &Desk, source: &Queue, goal: Option<Goal>, ranges: &[(u64, u64)], most: u64) -> Arc<Ear> {
    let ear = Arc::new(Ear::default());
    let ranges = ranges.iter().map(|&(first, end)| (Seq(first), Seq(end)));
    let send = SendOff {
        queue: source.id,
        store: None::<Store>,
        ranges: ranges.collect(),
        most,
        goal,
        preview: false,
        inquirer: ear.clone(),
    };
    desk.ask_of(source, Request::SendOff(send));
    ear
}

fn again(desk: &Desk, queue: &Queue) -> u64 {
    desk.restart().ready(queue)
}

fn bodies(desk: &Rc<Desk>, queue: &Queue) -> Vec<Vec<u8>> {
    let consumer = desk.consumer(queue);
    std::iter::from_fn(|| desk.get(queue, consumer)).collect()
}

#[test]
fn what_is_sent_is_in_one_place_at_any_time() {
    let desk = Desk::new();
    let (source, target) = apart(&desk, Arguments::default());
    desk.publish(batch(&[b"one", b"two", b"three"]), &[&source]);
    desk.commit();
    let ear = order(&desk, &source, Some(Goal::Queue(target.id)), &[(1, 3)], 10);
    // It is framed: nobody gets it here any more, and nobody there yet; after a crash it never was.
    assert_eq!((desk.ready(&source), desk.ready(&target)), (1, 0));
    assert_eq!(depth(&desk, &source).dead, 2);
    assert_eq!((again(&desk, &source), again(&desk, &target)), (3, 0));
    assert!(ear.heard().is_none(), "told once it is durable");
    desk.write(1);
    assert_eq!((again(&desk, &source), again(&desk, &target)), (1, 2));
    desk.tell_some(1);
    assert_eq!((again(&desk, &source), again(&desk, &target)), (1, 2));
    desk.commit();
    assert_eq!((desk.ready(&source), desk.ready(&target)), (1, 2));
    let report = ear.heard().expect("it is durable");
    assert_eq!((report.messages, report.next, report.refused), (2, None, None));
    let counters = depth(&desk, &source).counters;
    assert_eq!((counters.moved, counters.live()), (2, 1));
    assert!(desk.look_after(|_| ()));
    for desk in [desk.restart(), desk] {
        assert_eq!(bodies(&desk, &target), [b"one", b"two"]);
        assert_eq!(bodies(&desk, &source), [b"three"]);
    }
}

#[test]
fn what_finds_no_room_is_back_at_its_place() {
    let desk = Desk::new();
    let narrow = [
        ("x-max-length", Value::Long(1)),
        ("x-overflow", Value::from("reject-publish")),
    ];
    let (source, target) = apart(&desk, arguments(&narrow));
    desk.publish(batch(&[b"one", b"two", b"three"]), &[&source]);
    desk.commit();
    let goal = Some(Goal::Queue(target.id));
    let ear = order(&desk, &source, goal, &[(0, u64::MAX)], 10);
    let report = ear.heard().expect("nothing of it is written");
    assert_eq!((report.messages, report.stayed), (0, 3));
    assert_eq!(report.refused, Some(Unmoved::NoRoom));
    assert_eq!((desk.ready(&source), depth(&desk, &source).dead), (3, 0));
    let ear = order(&desk, &source, goal, &[(0, u64::MAX)], 1);
    desk.commit();
    let report = ear.heard().expect("one fits");
    assert_eq!((report.messages, report.next), (1, Some(Seq(2))));
    assert_eq!((desk.ready(&source), desk.ready(&target)), (2, 1));
    assert_eq!(bodies(&desk, &source), [b"two".as_slice(), b"three"]);
}

#[test]
fn a_target_that_is_gone_takes_nothing_with_it() {
    let desk = Desk::new();
    let (source, target) = apart(&desk, Arguments::default());
    desk.publish(batch(&[b"one"]), &[&source]);
    desk.commit();
    let command = everack_broker::catalog::Command::RemoveQueue { queue: target.id };
    desk.command(command);
    desk.commit();
    let ear = order(&desk, &source, Some(Goal::Queue(target.id)), &[(0, 9)], 10);
    let report = ear.heard().expect("there is nothing to write");
    assert_eq!((report.messages, report.refused), (0, Some(Unmoved::NoWay)));
    assert_eq!(desk.ready(&source), 1);
}

#[test]
fn what_is_thrown_away_is_told_when_that_is_durable() {
    let desk = Desk::new();
    let source = desk.declare("source");
    desk.publish(batch(&[b"one", b"two"]), &[&source]);
    desk.commit();
    let ear = order(&desk, &source, None, &[(1, 2)], 10);
    assert!(ear.heard().is_none());
    desk.commit();
    assert_eq!(ear.heard().map(|report| report.messages), Some(1));
    let counters = depth(&desk, &source).counters;
    assert_eq!((counters.purged, counters.live()), (1, 1));
    assert_eq!(bodies(&desk.restart(), &source), [b"two"]);
}
