//! A catalog with one virtual host, short ways to say commands, and the checks that every case makes.

use std::sync::Arc;

use crate::arguments::{Arguments, Value};
use crate::catalog::{
    Binding, Catalog, Command, DeclareExchange, DeclareQueue, Destination, Fact, Options, Outcome, Queue,
    Refusal, RefusalKind, VhostView,
};
use crate::ids::ConnectionId;
use crate::name::Name;
use crate::routing::{Headers, NoHeaders};

/// What the refusal of a command must be.
pub(super) type Expected<'a> = (RefusalKind, &'a str);

pub(super) struct Harness {
    pub(super) catalog: Catalog,
}

pub(super) const OWNER: ConnectionId = ConnectionId(1);
pub(super) const STRANGER: ConnectionId = ConnectionId(2);

pub(super) fn arguments(values: &[(&str, Value)]) -> Arguments {
    values.iter().cloned().collect()
}

pub(super) fn exchange(name: &str, kind: &str) -> DeclareExchange {
    DeclareExchange {
        vhost: "/".into(),
        name: name.into(),
        kind: kind.into(),
        durable: true,
        ..DeclareExchange::default()
    }
}

pub(super) fn queue(name: &str) -> DeclareQueue {
    DeclareQueue {
        vhost: "/".into(),
        name: name.into(),
        durable: true,
        connection: Some(OWNER),
        ..DeclareQueue::default()
    }
}

/// `q` means a queue, `x:name` an exchange.
pub(super) fn binding(source: &str, key: &str, destination: &str) -> Binding {
    let destination = match destination.strip_prefix("x:") {
        Some(exchange) => Destination::Exchange(exchange.into()),
        None => Destination::Queue(destination.into()),
    };
    Binding {
        source: source.into(),
        destination,
        routing_key: key.into(),
        arguments: Arguments::default(),
    }
}

impl Harness {
    pub(super) fn new() -> Self {
        let mut harness = Harness {
            catalog: Catalog::new(Options {
                partitions: 3,
                hash_key: 42,
            }),
        };
        harness.done(Command::DeclareVhost { vhost: "/".into() });
        harness
    }

    /// Applies a command and checks the invariants, and that a refusal left no trace.
    pub(super) fn apply(&mut self, command: Command) -> Result<Outcome, Refusal> {
        let before = self.dump();
        let epoch = self.catalog.snapshot().epoch();
        let result = self.catalog.apply(command.clone());
        self.catalog
            .validate()
            .unwrap_or_else(|findings| panic!("after {command:?}: {findings:?}"));
        let changed = result.as_ref().is_ok_and(|outcome| outcome.changed);
        let differs = self.dump() != before;
        // Of several the later may undo what the earlier did.
        let undone = changed && matches!(command, Command::Together { .. });
        assert!(differs == changed || undone, "{command:?} gave {result:?}");
        assert_eq!(
            self.catalog.snapshot().epoch() != epoch,
            changed,
            "{command:?} gave {result:?}"
        );
        result
    }

    pub(super) fn done(&mut self, command: Command) -> Outcome {
        let text = format!("{command:?}");
        self.apply(command)
            .unwrap_or_else(|refusal| panic!("{text} was refused: {refusal}"))
    }

    pub(super) fn refused(&mut self, command: Command, (kind, text): Expected<'_>) {
        let shown = format!("{command:?}");
        let refusal = self.apply(command).expect_err(&shown);
        assert_eq!((refusal.kind, refusal.text.as_str()), (kind, text), "{shown}");
    }

    pub(super) fn exchange(&mut self, name: &str, kind: &str) -> Outcome {
        self.done(Command::DeclareExchange(exchange(name, kind)))
    }

    pub(super) fn queue(&mut self, name: &str) -> Arc<Queue> {
        self.done(Command::DeclareQueue(queue(name)))
            .queue
            .expect("a declaration returns the queue")
    }

    pub(super) fn bind(&mut self, source: &str, key: &str, destination: &str) -> Outcome {
        self.done(bind(binding(source, key, destination)))
    }

    pub(super) fn unbind(&mut self, source: &str, key: &str, destination: &str) -> Outcome {
        self.done(unbind(binding(source, key, destination)))
    }

    pub(super) fn view(&self) -> VhostView {
        self.catalog
            .snapshot()
            .vhost(b"/")
            .expect("the harness declares it")
    }

    /// The names of the queues that a message goes to, in order.
    pub(super) fn route(&self, exchange: &str, key: &str) -> Vec<String> {
        self.route_with(exchange, key, &NoHeaders)
    }

    pub(super) fn route_with(&self, exchange: &str, key: &str, headers: &dyn Headers) -> Vec<String> {
        let snapshot = self.catalog.snapshot();
        let route = self
            .view()
            .route(exchange.as_bytes(), key.as_bytes(), headers)
            .expect("the exchange is there");
        let name = |target: &crate::routing::Target| {
            let queue = snapshot.queue(target.queue).expect("a target is a queue");
            assert_eq!(*target, queue.target());
            queue.name.to_string()
        };
        let mut names: Vec<String> = route.targets.iter().map(name).collect();
        names.sort();
        names
    }

    /// Everything that a snapshot shows, in one text.
    pub(super) fn dump(&self) -> String {
        let snapshot = self.catalog.snapshot();
        let mut lines = Vec::new();
        for vhost in snapshot.vhosts() {
            lines.push(format!(
                "{} {:?} {:?} {:?} {:?} {:?}",
                vhost.name(),
                vhost.description(),
                vhost.limits(),
                vhost.unroutable(),
                vhost.default_queue_type(),
                vhost.no_ack_guard()
            ));
            lines.extend(
                vhost
                    .policies()
                    .map(|policy| format!("{} {policy:?}", vhost.name())),
            );
            for exchange in vhost.exchanges() {
                let (name, kind, arguments) = (&exchange.name, exchange.kind, &exchange.arguments);
                let flags = (exchange.durable, exchange.auto_delete, exchange.internal);
                let governed = (&exchange.governance, &exchange.alternate);
                lines.push(format!(
                    "{} exchange {name:?} {kind} {flags:?} {arguments:?} {governed:?}",
                    vhost.name()
                ));
                lines.extend(
                    exchange
                        .bindings()
                        .map(|binding| format!("{} {binding:?}", vhost.name())),
                );
            }
        }
        lines.extend(snapshot.queues().map(|queue| format!("{queue:?}")));
        lines.extend(snapshot.users().map(|user| format!("{user:?}")));
        lines.extend(
            snapshot
                .all_permissions()
                .map(|permissions| format!("{permissions:?}")),
        );
        lines.extend(
            snapshot
                .topic_permissions()
                .map(|permission| format!("{permission:?}")),
        );
        lines.extend(
            snapshot
                .global_parameters()
                .map(|parameter| format!("{parameter:?}")),
        );
        lines.push(format!("{:?}", snapshot.declared()));
        lines.sort();
        lines.join("\n")
    }

    /// A catalog made of facts, as a restart makes it.
    pub(super) fn restarted(facts: impl IntoIterator<Item = Fact>) -> Self {
        let mut harness = Harness {
            catalog: Catalog::new(Options {
                partitions: 3,
                hash_key: 43,
            }),
        };
        for fact in facts {
            harness
                .catalog
                .replay(fact.clone())
                .unwrap_or_else(|error| panic!("{fact:?}: {error}"));
        }
        harness
            .catalog
            .validate()
            .unwrap_or_else(|findings| panic!("after replay: {findings:?}"));
        harness
    }
}

pub(super) fn bind(binding: Binding) -> Command {
    Command::Bind {
        vhost: "/".into(),
        binding,
        connection: Some(OWNER),
    }
}

pub(super) fn unbind(binding: Binding) -> Command {
    Command::Unbind {
        vhost: "/".into(),
        binding,
        connection: Some(OWNER),
    }
}

pub(super) fn delete_exchange(name: &str) -> Command {
    Command::DeleteExchange {
        vhost: "/".into(),
        name: name.into(),
        if_unused: false,
    }
}

pub(super) fn delete_queue(name: &str, connection: ConnectionId) -> Command {
    Command::DeleteQueue {
        vhost: "/".into(),
        name: name.into(),
        connection: Some(connection),
    }
}

pub(super) fn names(removed: &[(Name, Name)]) -> Vec<String> {
    removed.iter().map(|(_, name)| name.to_string()).collect()
}
