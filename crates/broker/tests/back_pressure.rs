//! A partition and its connections on different threads: whoever waits for a gate or a shared limit is always woken.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use everack_broker::ids::{ConnectionId, ConsumerId, Location, Millis, QueueId, Seq, Ticket};
use everack_broker::partition::{
    Command, Content, Delivery, Effect, Gate, Limits, Partition, Run, SettleOutcome, SharedLimit,
};

#[derive(Clone, Debug)]
struct Nothing;

impl Content for Nothing {
    fn bytes(&self, _: u16, _: u16) -> u64 {
        0
    }
}

const MESSAGES: u64 = 50_000;

/// Far longer than any machine takes for one wake-up, however busy it is.
const STALL: Duration = Duration::from_secs(60);

/// A partition with one queue of `MESSAGES` messages and one consumer; serves until all are settled.
struct Server {
    consumer: ConsumerId,
    partition: Partition<Nothing>,
    commands: Receiver<Command<Nothing>>,
    deliveries: Sender<Delivery<Nothing>>,
    peers: Vec<(ConsumerId, Sender<Command<Nothing>>)>,
}

impl Server {
    fn run(mut self) {
        let (mut effects, mut settled) = (Vec::new(), 0);
        while settled < MESSAGES {
            self.partition.finish(&mut effects);
            for effect in effects.drain(..) {
                match effect {
                    Effect::Deliver(delivery) => {
                        self.deliveries.send(delivery).expect("the connection is there");
                    }
                    Effect::Settled { count, .. } => settled += u64::from(count),
                    Effect::LimitFreed { .. } => self.wake_peers(),
                    _ => {}
                }
            }
            if settled == MESSAGES {
                return;
            }
            let command = self.commands.recv_timeout(STALL).unwrap_or_else(|why| {
                panic!("consumer {} stalls after {settled}: {why}", self.consumer);
            });
            self.partition.apply(command, Millis(0));
            self.commands
                .try_iter()
                .for_each(|command| self.partition.apply(command, Millis(0)));
        }
    }

    fn wake_peers(&self) {
        for (consumer, peer) in &self.peers {
            // A peer that has settled everything has gone.
            let _ = peer.send(Command::Resume { consumer: *consumer });
        }
    }
}

fn partition(consumer: ConsumerId, gate: Arc<Gate>, limit: Option<Arc<SharedLimit>>) -> Partition<Nothing> {
    let mut partition = Partition::new(Limits::default());
    let queue = QueueId(1);
    partition.apply(
        Command::CreateQueue {
            queue,
            durable: false,
            auto_delete: false,
            rules: Box::default(),
        },
        Millis(0),
    );
    for first in 1..=MESSAGES {
        let content = Some(Nothing);
        let run = Run {
            first: Seq(first),
            location: Location::NOWHERE,
            content,
            bytes: 10,
            from: 0,
            to: 1,
        };
        partition.apply(Command::Enqueue { queue, run }, Millis(0));
    }
    let consume = Command::Consume {
        consumer,
        connection: ConnectionId(1),
        queue,
        no_ack: limit.is_none(),
        exclusive: false,
        priority: 0,
        prefetch: 0,
        patience_millis: None,
        gate,
        limit,
        ticket: Ticket(0),
    };
    partition.apply(consume, Millis(0));
    partition
}

#[test]
fn a_gate_never_stalls() {
    let gate = Arc::new(Gate::new(300));
    let (commands, inbox) = channel();
    let (deliveries, outbox) = channel::<Delivery<Nothing>>();
    let consumer = ConsumerId(1);
    let partition = partition(consumer, gate.clone(), None);
    let server = Server {
        consumer,
        partition,
        commands: inbox,
        deliveries,
        peers: Vec::new(),
    };
    let server = thread::spawn(|| server.run());
    for delivery in outbox {
        if gate.sent(delivery.run.weight()) {
            let _ = commands.send(Command::Resume { consumer });
        }
    }
    server.join().expect("the partition serves to the end");
    assert_eq!(gate.unsent(), 0);
}

#[test]
fn a_limit_shared_by_two_partitions_never_stalls() {
    let (limit, gate) = (Arc::new(SharedLimit::new(3)), Arc::new(Gate::new(u64::MAX)));
    let consumers = [ConsumerId(1), ConsumerId(2)];
    let channels = [channel(), channel()];
    let senders = [channels[0].0.clone(), channels[1].0.clone()];
    let (deliveries, outbox) = channel::<Delivery<Nothing>>();
    let mut servers = Vec::new();
    for (at, (_, inbox)) in channels.into_iter().enumerate() {
        let (consumer, other) = (consumers[at], 1 - at);
        let partition = partition(consumer, gate.clone(), Some(limit.clone()));
        let peers = vec![(consumers[other], senders[other].clone())];
        let server = Server {
            consumer,
            partition,
            commands: inbox,
            deliveries: deliveries.clone(),
            peers,
        };
        servers.push(thread::spawn(|| server.run()));
    }
    drop(deliveries);
    for Delivery {
        consumer,
        run,
        first_delivery: first,
        ..
    } in outbox
    {
        let settle = Command::Settle {
            consumer,
            first,
            count: run.count().into(),
            outcome: SettleOutcome::Done,
        };
        // A partition stays until everything of it is settled, or what it holds of the limit would be lost with it.
        senders[(consumer.0 - 1) as usize]
            .send(settle)
            .expect("the partition is there");
    }
    servers
        .into_iter()
        .for_each(|server| server.join().expect("each partition serves to the end"));
}
