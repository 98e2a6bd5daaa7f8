//! The stories: one for each operation of the storage, each with a prelude that makes the operation possible and does not count, and one
//! in which everything happens.
//!
//! Segments have 16 KiB and 8 KiB of messages stay in memory ([`PLAN`](crate::node::PLAN)), so that little is needed for a segment to roll, to be read back, to be
//! rewritten and to go.

use crate::story::Teller;
use everack_amqp::wire::table::{Table, Value};
use everack_broker::partition::Store;

/// A story.
pub struct Tale {
    /// What it is about.
    pub name: &'static str,
    /// What has to happen before.
    pub prelude: fn(&mut Teller),
    /// The operation, and only that.
    pub operation: fn(&mut Teller),
}

/// All of them.
pub const TALES: [Tale; 22] = [
    Tale {
        name: "append",
        prelude: nothing,
        operation: append,
    },
    Tale {
        name: "fan out",
        prelude: nothing,
        operation: fan_out,
    },
    Tale {
        name: "roll",
        prelude: nothing,
        operation: roll,
    },
    Tale {
        name: "larger than a segment",
        prelude: some_orders,
        operation: large,
    },
    Tale {
        name: "settle",
        prelude: many_orders,
        operation: settle,
    },
    Tale {
        name: "return",
        prelude: many_orders,
        operation: give_back,
    },
    Tale {
        name: "checkpoint",
        prelude: many_orders,
        operation: checkpoint,
    },
    Tale {
        name: "retire",
        prelude: dead_segments,
        operation: checkpoint,
    },
    Tale {
        name: "rewrite",
        prelude: mostly_dead_segments,
        operation: checkpoint,
    },
    Tale {
        name: "recycle",
        prelude: retired_segments,
        operation: roll,
    },
    Tale {
        name: "prepare",
        prelude: some_orders,
        operation: prepare,
    },
    Tale {
        name: "purge",
        prelude: many_orders,
        operation: purge,
    },
    Tale {
        name: "delete queue",
        prelude: many_orders,
        operation: delete_queue,
    },
    Tale {
        name: "transaction",
        prelude: many_orders,
        operation: transactions,
    },
    Tale {
        name: "topology",
        prelude: some_orders,
        operation: topology,
    },
    Tale {
        name: "move",
        prelude: work_in_hand,
        operation: dead_letters,
    },
    Tale {
        name: "expire",
        prelude: mortal_work,
        operation: expire,
    },
    Tale {
        name: "limit",
        prelude: narrow,
        operation: limit,
    },
    Tale {
        name: "delay",
        prelude: work_for_later,
        operation: delay,
    },
    Tale {
        name: "park",
        prelude: strict,
        operation: park,
    },
    Tale {
        name: "retain",
        prelude: retaining,
        operation: retain,
    },
    Tale {
        name: "stop",
        prelude: many_orders,
        operation: Teller::stop,
    },
];

/// A short life in which everything happens.
pub const LIFE: Tale = Tale {
    name: "life",
    prelude: nothing,
    operation: life,
};

fn nothing(_: &mut Teller) {}

fn some_orders(teller: &mut Teller) {
    for _ in 0..4 {
        teller.publish_to("amq.fanout", "", &["orders", "audit"], 200);
    }
}

fn many_orders(teller: &mut Teller) {
    some_orders(teller);
    teller.publish_many("orders", 4, 700);
    teller.publish_many("audit", 3, 80);
    teller.publish_many("gone", 5, 400);
    teller.settle_some("orders", 2);
}

/// Segments in which nothing is left.
fn dead_segments(teller: &mut Teller) {
    for _ in 0..4 {
        teller.publish_many("bulk", 6, 900);
    }
    teller.settle_some("orders", 1);
    teller.purge("bulk");
    teller.publish_many("bulk", 8, 900);
}

/// Segments in which a little is left.
fn mostly_dead_segments(teller: &mut Teller) {
    for _ in 0..5 {
        teller.publish_to("amq.fanout", "", &["orders", "audit"], 300);
        teller.publish_many("bulk", 8, 1000);
    }
    teller.settle_some("bulk", 6);
    teller.purge("bulk");
    teller.publish_many("bulk", 2, 300);
    teller.settle_some("audit", 2);
}

fn retired_segments(teller: &mut Teller) {
    dead_segments(teller);
    teller.look_after();
}

fn append(teller: &mut Teller) {
    for bytes in [0, 10, 300, 1500, 40] {
        teller.publish_to("", "orders", &["orders"], bytes + 8);
    }
    teller.publish_many("audit", 5, 100);
    teller.publish_many("bulk", 12, 60);
}

fn fan_out(teller: &mut Teller) {
    for bytes in [20, 700, 90, 2000] {
        teller.publish_to("amq.fanout", "", &["orders", "audit"], bytes);
    }
}

fn roll(teller: &mut Teller) {
    for _ in 0..6 {
        teller.publish_many("bulk", 5, 1100);
        teller.publish_to("", "orders", &["orders"], 500);
    }
}

fn large(teller: &mut Teller) {
    teller.publish_to("", "bulk", &["bulk"], 20_000);
    teller.publish_to("", "orders", &["orders"], 30);
    teller.publish_to("amq.fanout", "", &["orders", "audit"], 17_000);
    teller.settle_some("bulk", 1);
}

fn settle(teller: &mut Teller) {
    teller.settle_some("orders", 3);
    teller.settle_some("audit", 2);
    teller.settle_some("gone", 1);
    teller.settle_some("orders", 2);
}

fn give_back(teller: &mut Teller) {
    teller.leave_some("orders", 3);
    teller.leave_some("audit", 1);
    teller.settle_some("orders", 2);
    teller.leave_some("orders", 1);
}

fn checkpoint(teller: &mut Teller) {
    teller.look_after();
    teller.publish_to("", "orders", &["orders"], 100);
    teller.look_after();
}

fn prepare(teller: &mut Teller) {
    teller.prepare();
    teller.publish_many("bulk", 9, 1500);
    teller.prepare();
}

fn purge(teller: &mut Teller) {
    teller.purge("orders");
    teller.publish_many("orders", 2, 50);
    teller.purge("gone");
    teller.purge("orders");
}

fn delete_queue(teller: &mut Teller) {
    teller.delete("gone");
    teller.publish_to("amq.fanout", "", &["orders", "audit"], 40);
    teller.delete("audit");
    teller.publish_to("amq.fanout", "", &["orders"], 40);
}

fn transactions(teller: &mut Teller) {
    for _ in 0..3 {
        teller.transaction();
    }
}

/// What dies in `work` goes to `dead`. Some work is there.
fn work_in_hand(teller: &mut Teller) {
    let letters = Table::new()
        .with("x-dead-letter-exchange", Value::String(Vec::new()))
        .with("x-dead-letter-routing-key", Value::String(b"dead".to_vec()))
        .with("x-max-length", Value::I32(5));
    teller.declare_with("work", letters);
    teller.declare("dead");
    teller.publish_many("work", 4, 300);
}

fn mortal_work(teller: &mut Teller) {
    work_in_hand(teller);
    teller.reject_some("work", "dead", 4);
    teller.publish_mortal("work", 3, 400);
    teller.look_after();
}

fn narrow(teller: &mut Teller) {
    teller.declare_with("narrow", Table::new().with("x-max-length", Value::I32(3)));
    teller.publish_beyond("narrow", None, 3, 3);
}

/// What goes through `waits` comes to `later` in its time. Some of it waits, some has come.
fn work_for_later(teller: &mut Teller) {
    teller.declare("later");
    teller.declare_delayed("waits");
    teller.bind("waits", "later", true);
    teller.publish_for_later("waits", "later", 3, 300);
    teller.come_due();
    teller.publish_for_later("waits", "later", 2, 200);
}

fn delay(teller: &mut Teller) {
    teller.publish_for_later("waits", "later", 3, 400);
    teller.settle_some("later", 2);
    teller.look_after();
    teller.come_due();
    teller.settle_some("later", 3);
    teller.publish_for_later("waits", "later", 2, 100);
    teller.look_after();
}

fn dead_letters(teller: &mut Teller) {
    teller.reject_some("work", "dead", 2);
    teller.publish_beyond("work", Some("dead"), 5, 5);
    teller.look_after();
    teller.reject_some("work", "dead", 3);
    teller.settle_some("dead", 2);
}

fn expire(teller: &mut Teller) {
    teller.publish_mortal("work", 2, 100);
    teller.outlive("work", Some("dead"));
    teller.publish_mortal("orders", 2, 100);
    teller.look_after();
    teller.outlive("orders", None);
}

fn limit(teller: &mut Teller) {
    teller.publish_beyond("narrow", None, 3, 4);
    teller.look_after();
    teller.publish_beyond("narrow", None, 3, 2);
}

/// A queue that parks whatever fails once. Some have.
fn strict(teller: &mut Teller) {
    let strict = Table::new().with("x-delivery-limit", Value::I32(0));
    teller.declare_with("strict", strict);
    teller.publish_many("strict", 6, 300);
    teller.park_some("strict", 2);
}

fn park(teller: &mut Teller) {
    teller.park_some("strict", 2);
    teller.bring_back("strict", Store::Parked);
    teller.park_some("strict", 3);
    teller.look_after();
    teller.bring_back("strict", Store::Parked);
    teller.park_some("strict", 1);
    teller.discard("strict", Store::Parked);
    teller.settle_some("strict", 2);
}

fn retaining(teller: &mut Teller) {
    teller.retain_all();
    teller.publish_many("orders", 6, 300);
    teller.poll_some("orders", 2);
}

fn retain(teller: &mut Teller) {
    teller.poll_some("orders", 2);
    teller.bring_back("orders", Store::Retained);
    teller.poll_some("orders", 3);
    teller.look_after();
    teller.bring_back("orders", Store::Retained);
    teller.poll_some("orders", 1);
    teller.discard("orders", Store::Retained);
    teller.settle_some("orders", 2);
}

fn topology(teller: &mut Teller) {
    teller.declare("late");
    teller.bind("amq.fanout", "late", true);
    teller.publish_to("amq.fanout", "", &["orders", "audit", "late"], 60);
    teller.bind("amq.fanout", "audit", false);
    teller.publish_to("amq.fanout", "", &["orders", "late"], 60);
    teller.bind("amq.direct", "bulk", true);
    teller.declare("later");
    teller.delete("late");
    teller.publish_to("amq.direct", "bulk", &["bulk"], 60);
    teller.declare("late");
}

/// Orders come in and are worked on; a backlog makes the log roll; a queue goes, a transaction comes; the upkeep has its way in between.
fn life(teller: &mut Teller) {
    some_orders(teller);
    teller.settle_some("orders", 2);
    teller.leave_some("orders", 1);
    for _ in 0..3 {
        teller.publish_to("", "orders", &["orders"], 50);
    }
    teller.look_after();
    for part in 0..8 {
        teller.publish_many("bulk", 6, 900);
        if part == 4 {
            // A segment whose own messages will all be gone holds this settlement of an older one.
            teller.settle_some("orders", 1);
        }
    }
    teller.settle_some("bulk", 5);
    teller.purge("bulk");
    teller.publish_many("bulk", 2, 300);
    teller.look_after();
    teller.look_after();
    teller.settle_some("audit", 1);
    teller.publish_many("gone", 3, 100);
    teller.delete("gone");
    teller.transaction();
    teller.publish_many("orders", 2, 700);
    teller.settle_some("orders", 3);
    teller.look_after();
    teller.publish_to("amq.fanout", "", &["orders", "audit"], 20);
}
