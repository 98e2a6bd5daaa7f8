//! Exchanges, queues and bindings: from methods to commands of the catalog, and from its answers to `*-ok`.
//!
//! A declaration is answered when it is durable. Commands of one connection follow each other without waiting; everything else on
//! the connection waits for them, so that a publish right behind a `nowait` declaration finds the queue.

use std::sync::Arc;

use everack_amqp::error::{Error, ReplyCode};
use everack_amqp::wire::method::{Method, exchange, queue};
use everack_amqp::wire::primitive::ShortString;
use everack_broker::catalog::{
    Access, Binding, Command, DeclareExchange, DeclareQueue, Destination, Queue, Resource,
};
use everack_broker::ids::ConnectionId;
use everack_broker::name::Name;

use super::Session;
use super::replies::means_replies;
use super::waiting::{Cause, Waiting};
use crate::catalog_service::{CatalogAnswer, CatalogRequest};
use crate::notice::Answer;
use crate::request::{Reply, Request};
use crate::translate::{from_amqp, to_amqp};

/// The outcome of a method that may be refused.
pub(super) type Handled = Result<(), Error>;

impl Session {
    pub(super) fn exchange_declare(&mut self, channel: u16, declare: exchange::Declare) -> Handled {
        let command = Command::DeclareExchange(DeclareExchange {
            vhost: self.vhost_name.clone(),
            name: name(&declare.exchange),
            passive: declare.passive,
            kind: name(&declare.kind),
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: from_amqp::arguments(&declare.arguments),
        });
        let ok = (!declare.nowait).then_some(Method::ExchangeDeclareOk(exchange::DeclareOk {}));
        let cause = (exchange::Declare::CLASS, exchange::Declare::METHOD);
        self.command(channel, command, Waiting::Topology { ok, cause })
    }

    pub(super) fn exchange_delete(&mut self, channel: u16, delete: exchange::Delete) -> Handled {
        let command = Command::DeleteExchange {
            vhost: self.vhost_name.clone(),
            name: name(&delete.exchange),
            if_unused: delete.if_unused,
        };
        let ok = (!delete.nowait).then_some(Method::ExchangeDeleteOk(exchange::DeleteOk {}));
        let cause = (exchange::Delete::CLASS, exchange::Delete::METHOD);
        self.command(channel, command, Waiting::Topology { ok, cause })
    }

    pub(super) fn exchange_bind(&mut self, channel: u16, bind: exchange::Bind) -> Handled {
        let binding = Binding {
            source: name(&bind.source),
            destination: Destination::Exchange(name(&bind.destination)),
            routing_key: name(&bind.routing_key),
            arguments: from_amqp::arguments(&bind.arguments),
        };
        let ok = (!bind.nowait).then_some(Method::ExchangeBindOk(exchange::BindOk {}));
        let cause = (exchange::Bind::CLASS, exchange::Bind::METHOD);
        self.bind(channel, binding, ok, cause)
    }

    pub(super) fn exchange_unbind(&mut self, channel: u16, unbind: exchange::Unbind) -> Handled {
        let binding = Binding {
            source: name(&unbind.source),
            destination: Destination::Exchange(name(&unbind.destination)),
            routing_key: name(&unbind.routing_key),
            arguments: from_amqp::arguments(&unbind.arguments),
        };
        let ok = (!unbind.nowait).then_some(Method::ExchangeUnbindOk(exchange::UnbindOk {}));
        let cause = (exchange::Unbind::CLASS, exchange::Unbind::METHOD);
        self.unbind(channel, binding, ok, cause)
    }

    pub(super) fn queue_bind(&mut self, channel: u16, bind: queue::Bind) -> Handled {
        let queue = self.queue_name(channel, &bind.queue)?;
        // A client that names neither means the last queue under its own name.
        let routing_key = if bind.queue.is_empty() && bind.routing_key.is_empty() {
            queue.clone()
        } else {
            name(&bind.routing_key)
        };
        let binding = Binding {
            source: name(&bind.exchange),
            destination: Destination::Queue(queue),
            routing_key,
            arguments: from_amqp::arguments(&bind.arguments),
        };
        let ok = (!bind.nowait).then_some(Method::QueueBindOk(queue::BindOk {}));
        let cause = (queue::Bind::CLASS, queue::Bind::METHOD);
        self.bind(channel, binding, ok, cause)
    }

    pub(super) fn queue_unbind(&mut self, channel: u16, unbind: queue::Unbind) -> Handled {
        let queue = self.queue_name(channel, &unbind.queue)?;
        let routing_key = if unbind.queue.is_empty() && unbind.routing_key.is_empty() {
            queue.clone()
        } else {
            name(&unbind.routing_key)
        };
        let binding = Binding {
            source: name(&unbind.exchange),
            destination: Destination::Queue(queue),
            routing_key,
            arguments: from_amqp::arguments(&unbind.arguments),
        };
        let ok = Some(Method::QueueUnbindOk(queue::UnbindOk {}));
        let cause = (queue::Unbind::CLASS, queue::Unbind::METHOD);
        self.unbind(channel, binding, ok, cause)
    }

    fn bind(&mut self, channel: u16, binding: Binding, ok: Option<Method>, cause: Cause) -> Handled {
        let (vhost, connection) = (self.vhost_name.clone(), Some(self.link.connection));
        self.command(
            channel,
            Command::Bind {
                vhost,
                binding,
                connection,
            },
            Waiting::Topology { ok, cause },
        )
    }

    fn unbind(&mut self, channel: u16, binding: Binding, ok: Option<Method>, cause: Cause) -> Handled {
        let (vhost, connection) = (self.vhost_name.clone(), Some(self.link.connection));
        self.command(
            channel,
            Command::Unbind {
                vhost,
                binding,
                connection,
            },
            Waiting::Topology { ok, cause },
        )
    }

    pub(super) fn queue_declare(&mut self, channel: u16, declare: queue::Declare) -> Handled {
        let generated = declare.queue.is_empty() && !declare.passive;
        let name = if generated {
            Name::from(self.shared.generate_name("amq.gen-").as_str())
        } else if declare.queue.is_empty() {
            self.queue_name(channel, &declare.queue)?
        } else {
            name(&declare.queue)
        };
        if means_replies(&name) {
            return self.declare_replies(channel, &name.without_line_ends(), declare.nowait);
        }
        let command = Command::DeclareQueue(DeclareQueue {
            vhost: self.vhost_name.clone(),
            name,
            generated,
            passive: declare.passive,
            durable: declare.durable,
            exclusive: declare.exclusive,
            auto_delete: declare.auto_delete,
            arguments: from_amqp::arguments(&declare.arguments),
            connection: Some(self.link.connection),
        });
        self.exclusive |= declare.exclusive;
        self.command(
            channel,
            command,
            Waiting::QueueDeclare {
                nowait: declare.nowait,
            },
        )
    }

    pub(super) fn queue_delete(&mut self, channel: u16, delete: queue::Delete) -> Handled {
        let queue_name = self.queue_name(channel, &delete.queue)?;
        let (vhost, connection) = (self.vhost_name.clone(), Some(self.link.connection));
        let command = Command::DeleteQueue {
            vhost,
            name: queue_name.clone(),
            connection,
        };
        self.authorise(&command)?;
        let nowait = delete.nowait;
        let Some(queue) = self.find_queue(&queue_name) else {
            // Deleting what is not there is fine.
            return self.command(channel, command, Waiting::QueueDelete { nowait, messages: 0 });
        };
        queue.check_access(connection).map_err(to_amqp::error)?;
        let (if_unused, if_empty) = (delete.if_unused, delete.if_empty);
        let reply = self.reply(channel);
        let request = Request::CheckDelete {
            queue: queue.id,
            if_unused,
            if_empty,
            reply,
        };
        self.requests.push((queue.partition, request));
        self.wait(channel, Waiting::CheckDelete { queue, nowait });
        Ok(())
    }

    pub(super) fn queue_purge(&mut self, channel: u16, purge: queue::Purge) -> Handled {
        let queue = self.queue_to_read(channel, &purge.queue)?;
        let reply = self.reply(channel);
        self.requests.push((
            queue.partition,
            Request::Purge {
                queue: queue.id,
                reply,
            },
        ));
        self.wait(
            channel,
            Waiting::Purge {
                queue,
                nowait: purge.nowait,
            },
        );
        Ok(())
    }

    /// Sends a command to the catalog, if the user may.
    fn command(&mut self, channel: u16, command: Command, waiting: Waiting) -> Handled {
        self.authorise(&command)?;
        self.may_grow(&command)?;
        let fate = self.channels.get(&channel).map(|state| state.failed.clone());
        let reply = Some(self.reply(channel));
        self.catalog
            .push(CatalogRequest::Command { command, reply, fate });
        self.wait(channel, waiting);
        Ok(())
    }

    fn authorise(&mut self, command: &Command) -> Handled {
        self.refresh();
        self.snapshot
            .authorise(&self.user, command)
            .map_err(to_amqp::error)
    }

    /// The catalog has answered the oldest command of this connection.
    pub(super) fn catalog_answer(&mut self, channel: u16, answer: CatalogAnswer) {
        // The counts of a queue are asked for in between: what comes behind them is answered behind them.
        if self
            .waiting
            .front()
            .is_some_and(|(_, waiting)| !waiting.is_topology())
        {
            self.early.push_back((channel, answer));
            return;
        }
        let Some(waiting) = self.answered(channel) else {
            return;
        };
        match answer {
            CatalogAnswer::Done { queue, changed } => self.topology_done(channel, waiting, queue, changed),
            CatalogAnswer::Refused(refusal) => {
                let error = to_amqp::error(refusal).caused_by(waiting.cause());
                self.fail_channel(channel, error);
            }
            CatalogAnswer::Skipped => (),
        }
    }

    fn topology_done(&mut self, channel: u16, waiting: Waiting, queue: Option<Arc<Queue>>, created: bool) {
        match (waiting, queue) {
            (Waiting::Topology { ok: Some(ok), .. }, _) => self.connection.reply(channel, &ok),
            (Waiting::QueueDeclare { nowait }, Some(queue)) => {
                self.queue_declared(channel, queue, created, nowait)
            }
            (
                Waiting::QueueDelete {
                    nowait: false,
                    messages,
                },
                _,
            ) => {
                let ok = queue::DeleteOk {
                    message_count: count(messages),
                };
                self.connection.reply(channel, &Method::QueueDeleteOk(ok));
            }
            _ => (),
        }
    }

    /// A queue that was there already has counts to tell.
    fn queue_declared(&mut self, channel: u16, queue: Arc<Queue>, created: bool, nowait: bool) {
        if let Some(state) = self.channels.get_mut(&channel) {
            state.last_queue = Some(queue.name.clone());
        }
        if nowait {
            return;
        }
        if created {
            self.declare_ok(channel, &queue.name, 0, 0);
            return;
        }
        let reply = self.reply(channel);
        self.requests.push((
            queue.partition,
            Request::Status {
                queue: queue.id,
                reply,
            },
        ));
        self.wait_first(channel, Waiting::Status { queue });
    }

    pub(super) fn declare_ok(&mut self, channel: u16, queue: &Name, messages: u64, consumers: u64) {
        let queue = ShortString::new(queue.as_bytes()).unwrap_or_default();
        let ok = queue::DeclareOk {
            queue,
            message_count: count(messages),
            consumer_count: count(consumers),
        };
        self.connection.reply(channel, &Method::QueueDeclareOk(ok));
    }

    /// The partition allows the deletion; now the catalog carries it out.
    pub(super) fn delete_allowed(
        &mut self,
        channel: u16,
        queue: &Queue,
        nowait: bool,
        messages: u64,
    ) -> Handled {
        // The queue that was looked at: another may have been declared under its name since.
        let command = Command::RemoveQueue { queue: queue.id };
        self.command(channel, command, Waiting::QueueDelete { nowait, messages })
    }

    pub(super) fn delete_refused(queue: &Queue, answer: &Answer) -> Error {
        let why = if matches!(answer, Answer::InUse) {
            "in use"
        } else {
            "not empty"
        };
        let text = format!("queue '{}' in vhost '{}' {why}", queue.name, queue.vhost);
        Error::new(ReplyCode::PreconditionFailed, text)
    }

    /// The queue that a method means: the one it names, or the last one declared on the channel.
    pub(super) fn queue_name(&self, channel: u16, given: &ShortString) -> Result<Name, Error> {
        if !given.is_empty() {
            return Ok(name(given));
        }
        let last = self
            .channels
            .get(&channel)
            .and_then(|state| state.last_queue.clone());
        last.ok_or_else(|| Error::new(ReplyCode::NotFound, "no previously declared queue"))
    }

    pub(super) fn find_queue(&mut self, name: &Name) -> Option<Arc<Queue>> {
        self.refresh();
        self.vhost.as_ref()?.queue(name).cloned()
    }

    /// A queue to consume, get or purge: the user may read it, it is there, and it is not another connection's.
    pub(super) fn queue_to_read(&mut self, channel: u16, given: &ShortString) -> Result<Arc<Queue>, Error> {
        let name = self.queue_name(channel, given)?;
        self.refresh();
        self.require(Access::Read, Resource::Queue(&name))?;
        let Some(vhost) = &self.vhost else {
            return Err(self.vhost_gone());
        };
        vhost
            .require_queue(&name, Some(self.link.connection))
            .cloned()
            .map_err(to_amqp::error)
    }

    pub(super) fn reply(&self, channel: u16) -> Reply {
        Reply {
            link: self.link.clone(),
            channel,
        }
    }

    /// The command that removes what this connection has for itself.
    pub(super) fn connection_closed(connection: ConnectionId) -> CatalogRequest {
        CatalogRequest::Command {
            command: Command::ConnectionClosed { connection },
            reply: None,
            fate: None,
        }
    }
}

pub(super) fn name(text: &ShortString) -> Name {
    Name::new(text.as_bytes())
}

/// Counts on the wire have 32 bits.
fn count(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
