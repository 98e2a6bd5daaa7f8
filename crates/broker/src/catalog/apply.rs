//! Commands: what may be done, what follows from it, and which facts survive.
//!
//! Each command checks everything before it changes anything, so that a refusal leaves no trace.

use std::sync::Arc;

use super::Catalog;
use super::binding::{self, Binding, Destination};
use super::command::{Command, DeclareExchange, DeclareQueue};
use super::delayed;
use super::exchange::{self, ALTERNATE, Exchange, ExchangeKind};
use super::fact::Fact;
use super::outcome::Outcome;
use super::permission::Permissions;
use super::queue_arguments::{QueueKind, QueueSettings};
use super::queue_definition::{self, Queue};
use super::refusal::{Refusal, RefusalKind, check_length, check_name, resource};
use super::topic_permission::TopicPermission;
use super::unroutable::UNROUTABLE_STORE;
use super::user::User;
use super::vhost::Vhost;
use crate::ids::{ConnectionId, QueueId};
use crate::name::Name;

impl Command {
    /// Refuses what is wrong whatever the catalog holds and whoever asks.
    pub(crate) fn check_form(&self) -> Result<(), Refusal> {
        match self {
            Command::DeclareExchange(declare) => {
                if !declare.passive {
                    ExchangeKind::parse(&declare.kind)?;
                }
                if declare.name.is_empty() {
                    Err(Refusal::default_exchange())
                } else {
                    Ok(())
                }
            }
            Command::DeleteExchange { name, .. } if name.is_empty() => Err(Refusal::default_exchange()),
            Command::DeleteExchange { vhost, name, .. } if name.starts_with(b"amq.") => {
                let exchange = resource("exchange", name, vhost);
                Err(Refusal::access_refused(format!(
                    "deletion of system {exchange} not allowed"
                )))
            }
            Command::DeleteQueue { vhost, name, .. } if name.as_bytes() == UNROUTABLE_STORE.as_bytes() => {
                let queue = resource("queue", name, vhost);
                Err(Refusal::access_refused(format!(
                    "deletion of system {queue} not allowed"
                )))
            }
            Command::DeclareQueue(declare) if !declare.passive => check_queue_name(declare),
            Command::Bind { binding, .. } | Command::Unbind { binding, .. } => {
                binding.check_ends()?;
                check_length("routing key", &binding.routing_key)
            }
            Command::DeclareVhost { vhost } => check_length("vhost name", vhost),
            Command::DeclareUser { user, .. } => check_length("user name", user),
            Command::SetPolicy { name, .. } => check_length("policy name", name),
            Command::ReplacePolicies { policies, .. } => policies
                .iter()
                .try_for_each(|(_, name, _)| check_length("policy name", name)),
            Command::SetTopicPermission { exchange, .. } => check_length("exchange name", exchange),
            Command::SetGlobalParameter { name, .. } => check_length("parameter name", name),
            Command::Together { commands } => commands.iter().try_for_each(|command| match command {
                Command::Together { .. } => Err(Refusal::new(
                    RefusalKind::CommandInvalid,
                    "commands that are carried out together cannot hold others",
                )),
                command => command.check_form(),
            }),
            _ => Ok(()),
        }
    }
}

fn check_queue_name(declare: &DeclareQueue) -> Result<(), Refusal> {
    if declare.generated {
        check_generated_name(declare)?;
        return check_length("queue name", &declare.name);
    }
    if declare.name.is_empty() {
        return Err(Refusal::precondition_failed("queue name is empty"));
    }
    check_name("queue", &declare.name)
}

/// Only classic queues may be named by the broker.
fn check_generated_name(declare: &DeclareQueue) -> Result<(), Refusal> {
    match QueueKind::asked_for(&declare.arguments) {
        kind @ QueueKind::Quorum if declare.generated => {
            let kind = kind.module_name();
            let text = format!("Cannot declare a server-named queue for type {kind}");
            Err(Refusal::precondition_failed(text))
        }
        _ => Ok(()),
    }
}

impl Catalog {
    /// Carries out a command. The caller logs the facts of the outcome, and only when they are durable publishes the
    /// snapshot and answers.
    ///
    /// # Errors
    /// A refusal leaves no trace.
    pub fn apply(&mut self, command: Command) -> Result<Outcome, Refusal> {
        let command = command.normalized();
        command.check_form()?;
        let outcome = match command {
            Command::DeclareVhost { vhost } => self.declare_vhost(vhost),
            Command::DeleteVhost { vhost } => self.delete_vhost(&vhost),
            Command::DeclareUser {
                user,
                password_hash,
                tags,
            } => self.declare_user(user, password_hash, tags),
            Command::DeleteUser { user } => self.delete_user(user),
            Command::SetPermissions {
                user,
                vhost,
                configure,
                write,
                read,
            } => self.set_permissions(user, vhost, configure, write, read)?,
            Command::ClearPermissions { user, vhost } => self.clear_permissions(user, vhost),
            Command::SetTopicPermission {
                user,
                vhost,
                exchange,
                write,
                read,
            } => self.set_topic_permission(TopicPermission::new(user, vhost, exchange, write, read)?)?,
            Command::ClearTopicPermissions {
                user,
                vhost,
                exchange,
            } => self.clear_topic_permissions(&user, &vhost, exchange.as_ref()),
            Command::LimitVhost { vhost, limit, most } => self.limit_vhost(vhost, limit, most)?,
            Command::LimitUser { user, limit, most } => self.limit_user(user, limit, most)?,
            Command::SetPolicy {
                vhost,
                name,
                kind,
                definition,
            } => self.set_policy(vhost, name, kind, definition)?,
            Command::ClearPolicy { vhost, name, kind } => self.clear_policy(vhost, name, kind)?,
            Command::ReplacePolicies { vhost, policies } => self.replace_policies(vhost, policies)?,
            Command::SetDefaultQueueType { vhost, kind } => self.set_default_kind(vhost, kind)?,
            Command::SetUnroutable { vhost, fate } => self.set_unroutable(vhost, fate)?,
            Command::GuardNoAck { vhost, guard } => self.guard_no_ack(vhost, guard)?,
            Command::DescribeVhost { vhost, description } => self.describe_vhost(vhost, description)?,
            Command::SetGlobalParameter { name, value } => self.set_global_parameter(name, value),
            Command::ClearGlobalParameter { name } => self.clear_global_parameter(name),
            Command::RememberDeclared { declared } => self.remember_declared(declared),
            Command::Together { commands } => self.together(commands)?,
            Command::DeclareExchange(declare) => self.declare_exchange(declare)?,
            Command::DeleteExchange {
                vhost,
                name,
                if_unused,
            } => self.delete_exchange(&vhost, &name, if_unused)?,
            Command::DeclareQueue(declare) => self.declare_queue(declare)?,
            Command::DeleteQueue {
                vhost,
                name,
                connection,
            } => self.delete_queue(&vhost, &name, connection)?,
            Command::RemoveQueue { queue } => {
                let stays = self.stays(queue);
                self.remove_queues(Some(queue).filter(|_| !stays))
            }
            Command::Bind {
                vhost,
                binding,
                connection,
            } => self.bind(vhost, binding, connection)?,
            Command::Unbind {
                vhost,
                binding,
                connection,
            } => self.unbind(vhost, binding, connection)?,
            Command::ConnectionClosed { connection } => self.close_connection(connection),
        };
        self.state.epoch += u64::from(outcome.changed);
        Ok(outcome)
    }

    fn declare_vhost(&mut self, vhost: Name) -> Outcome {
        if self.state.vhosts.contains_key(&vhost) {
            return Outcome::unchanged();
        }
        self.add_vhost(vhost.clone());
        Outcome::changed([Fact::VhostDeclared { vhost }])
    }

    fn delete_vhost(&mut self, vhost: &Name) -> Outcome {
        let Some(removed_queues) = self.remove_vhost(vhost) else {
            return Outcome::unchanged();
        };
        let facts = [Fact::VhostDeleted { vhost: vhost.clone() }];
        Outcome {
            removed_queues,
            ..Outcome::changed(facts)
        }
    }

    fn declare_user(&mut self, user: Name, password_hash: String, tags: Vec<String>) -> Outcome {
        let known = self.state.users.get(&user);
        let declared = User {
            name: user.clone(),
            password_hash: password_hash.clone(),
            tags: tags.clone(),
            limits: known.map(|known| known.limits).unwrap_or_default(),
        };
        if known.is_some_and(|known| **known == declared) {
            return Outcome::unchanged();
        }
        self.state.users.insert(user.clone(), Arc::new(declared));
        Outcome::changed([Fact::UserDeclared {
            user,
            password_hash,
            tags,
        }])
    }

    fn delete_user(&mut self, user: Name) -> Outcome {
        if !self.remove_user(&user) {
            return Outcome::unchanged();
        }
        Outcome::changed([Fact::UserDeleted { user }])
    }

    fn set_permissions(
        &mut self,
        user: Name,
        vhost: Name,
        configure: String,
        write: String,
        read: String,
    ) -> Result<Outcome, Refusal> {
        if !self.state.users.contains_key(&user) {
            return Err(Refusal::not_found(format!("user '{user}'")));
        }
        self.vhost(&vhost)?;
        let permissions = Permissions::new(user.clone(), vhost.clone(), &configure, &write, &read)?;
        let key = (user.clone(), vhost.clone());
        if self
            .state
            .permissions
            .get(&key)
            .is_some_and(|known| **known == permissions)
        {
            return Ok(Outcome::unchanged());
        }
        self.state.permissions.insert(key, Arc::new(permissions));
        Ok(Outcome::changed([Fact::PermissionsSet {
            user,
            vhost,
            configure,
            write,
            read,
        }]))
    }

    fn clear_permissions(&mut self, user: Name, vhost: Name) -> Outcome {
        if self
            .state
            .permissions
            .remove(&(user.clone(), vhost.clone()))
            .is_none()
        {
            return Outcome::unchanged();
        }
        Outcome::changed([Fact::PermissionsCleared { user, vhost }])
    }

    fn declare_exchange(&mut self, declare: DeclareExchange) -> Result<Outcome, Refusal> {
        let DeclareExchange {
            vhost,
            name,
            passive,
            kind,
            durable,
            auto_delete,
            internal,
            arguments,
        } = declare;
        let existing = self.vhost(&vhost)?.exchanges.get(&name);
        let described = || resource("exchange", &name, &vhost);
        if passive {
            return existing
                .map(|_| Outcome::unchanged())
                .ok_or_else(|| Refusal::not_found(described()));
        }
        let kind = ExchangeKind::parse(&kind)?;
        let declaration = exchange::Declaration {
            kind,
            durable,
            auto_delete,
            internal,
            arguments,
        };
        if let Some(existing) = existing {
            existing.check_equivalence(&vhost, &declaration)?;
            return Ok(Outcome::unchanged());
        }
        check_name("exchange", &name)?;
        exchange::check_exchange_argument(ALTERNATE, &declaration.arguments, &described())?;
        let chooses_as = match kind {
            ExchangeKind::Delayed => delayed::delayed_kind(&declaration.arguments)?,
            kind => kind,
        };
        if chooses_as == ExchangeKind::ConsistentHash {
            exchange::check_hash_arguments(&declaration.arguments, &described())?;
        }

        let arguments = declaration.arguments.clone();
        self.add_exchange(&vhost, Exchange::new(name.clone(), declaration))?;
        let mut outcome = Outcome::changed([]);
        if kind == ExchangeKind::Delayed {
            outcome = self.open_room(&vhost, &name);
        }
        let fact = Fact::ExchangeDeclared {
            vhost,
            name,
            kind,
            auto_delete,
            internal,
            arguments,
        };
        outcome.facts.extend(durable.then_some(fact));
        Ok(outcome)
    }

    /// Makes the room in which the messages of a new exchange wait, unless one of that name has left it.
    fn open_room(&mut self, vhost: &Name, exchange: &Name) -> Outcome {
        let name = delayed::room_of(exchange);
        let known = self
            .vhost(vhost)
            .is_ok_and(|vhost| vhost.rooms.contains_key(&name));
        if known {
            return Outcome::changed([]);
        }
        let room = DeclareQueue {
            vhost: vhost.clone(),
            name,
            durable: true,
            ..DeclareQueue::default()
        };
        self.create_queue(room, queue_definition::Declaration::of_the_broker())
    }

    /// Whether a queue may not go by itself: the store of what nobody wants, and rooms whose exchange is there.
    fn stays(&self, queue: QueueId) -> bool {
        let Some(queue) = self.state.queues.get(&queue) else {
            return false;
        };
        let vhost = self.state.vhosts.get(&queue.vhost);
        let waited_for = queue
            .waits_for()
            .and_then(|exchange| vhost?.exchanges.get(exchange));
        queue.is_store() || waited_for.is_some_and(|exchange| exchange.room.is_some())
    }

    fn delete_exchange(&mut self, vhost: &Name, name: &Name, if_unused: bool) -> Result<Outcome, Refusal> {
        let Some(exchange) = self.vhost(vhost)?.exchanges.get(name) else {
            return Ok(Outcome::unchanged());
        };
        if if_unused && !exchange.is_unused() {
            return Err(Refusal::precondition_failed(format!(
                "{} in use",
                resource("exchange", name, vhost)
            )));
        }
        let mut outcome = Outcome::changed([]);
        let vhost = self.vhost_mut(vhost)?;
        remove_exchanges(vhost, name, &mut outcome);
        Ok(outcome)
    }

    fn declare_queue(&mut self, declare: DeclareQueue) -> Result<Outcome, Refusal> {
        let existing = self.vhost(&declare.vhost)?.queues.get(&declare.name).cloned();
        let described = resource("queue", &declare.name, &declare.vhost);
        if declare.passive {
            let queue = existing.ok_or_else(|| Refusal::not_found(&described))?;
            queue.check_access(declare.connection)?;
            return Ok(Outcome {
                queue: Some(queue.clone()),
                ..Outcome::unchanged()
            });
        }
        let declare = self.vhost(&declare.vhost)?.with_type(declare);
        check_generated_name(&declare)?;
        let declaration = declaration_of(&declare)?;
        if let Some(queue) = existing {
            queue.check_equivalence(&declaration)?;
            return Ok(Outcome {
                queue: Some(queue.clone()),
                ..Outcome::unchanged()
            });
        }
        exchange::check_exchange_argument("x-dead-letter-exchange", &declare.arguments, &described)?;
        let settings = QueueSettings::parse(&declare.arguments, &described)?;
        settings.check_properties(
            declaration.durable,
            declare.exclusive,
            declare.auto_delete,
            &described,
        )?;
        self.may_hold_another(&declare.vhost, &declare.name)?;
        Ok(self.create_queue(declare, declaration))
    }

    pub(super) fn create_queue(
        &mut self,
        declare: DeclareQueue,
        declaration: queue_definition::Declaration,
    ) -> Outcome {
        let DeclareQueue {
            vhost,
            name,
            auto_delete,
            arguments,
            ..
        } = declare;
        let mut outcome = Outcome::changed([]);
        let id = self.take_queue_id(&mut outcome.facts);
        let partition = self.choose_partition();
        if declaration.durable {
            let (vhost, name) = (vhost.clone(), name.clone());
            outcome.facts.push(Fact::QueueDeclared {
                vhost,
                name,
                queue: id,
                partition,
                auto_delete,
                arguments,
            });
        }
        let queue = self.add_queue(id, partition, vhost, name, declaration);
        outcome.created_queues.push(queue.clone());
        outcome.queue = Some(queue);
        outcome
    }

    fn delete_queue(
        &mut self,
        vhost: &Name,
        name: &Name,
        connection: Option<ConnectionId>,
    ) -> Result<Outcome, Refusal> {
        let Some(queue) = self.vhost(vhost)?.queues.get(name) else {
            return Ok(Outcome::unchanged());
        };
        queue.check_access(connection)?;
        let id = queue.id;
        Ok(self.remove_queues([id]))
    }

    fn close_connection(&mut self, connection: ConnectionId) -> Outcome {
        let own = (connection, QueueId(0))..=(connection, QueueId(u64::MAX));
        let queues: Vec<QueueId> = self.state.exclusive.range(own).map(|(_, queue)| *queue).collect();
        self.remove_queues(queues)
    }

    /// Removes those of the queues that are there, and what goes with them.
    fn remove_queues(&mut self, queues: impl IntoIterator<Item = QueueId>) -> Outcome {
        let mut outcome = Outcome::unchanged();
        for id in queues {
            let Some((queue, sources)) = self.drop_queue(id) else {
                continue;
            };
            outcome.changed = true;
            if queue.durable {
                let (vhost, name) = (queue.vhost.clone(), queue.name.clone());
                outcome.facts.push(Fact::QueueDeleted {
                    vhost,
                    name,
                    queue: id,
                });
            }
            let vhost = self
                .vhost_mut(&queue.vhost)
                .expect("a queue is in a virtual host");
            remove_unused(vhost, sources, &mut outcome);
            outcome.removed_queues.push(queue);
        }
        outcome
    }

    fn bind(
        &mut self,
        vhost_name: Name,
        binding: Binding,
        connection: Option<ConnectionId>,
    ) -> Result<Outcome, Refusal> {
        let vhost = self.vhost(&vhost_name)?;
        let source = vhost.exchanges.get(&binding.source);
        let source =
            source.ok_or_else(|| Refusal::not_found(resource("exchange", &binding.source, &vhost_name)))?;
        let queue = check_destination(vhost, &binding.destination)?;
        binding::check_for(source.chooses_as(), &binding, queue.map(|queue| queue.kind()))?;
        if let Some(queue) = queue {
            queue.check_access(connection)?;
        }
        if vhost.has_binding(&binding) {
            return Ok(Outcome::unchanged());
        }
        let durable = vhost.is_durable(&binding.source, &binding.destination);
        self.vhost_mut(&vhost_name)?
            .add_binding(binding.clone())
            .expect("both ends were found");
        Ok(Outcome::changed(durable.then_some(Fact::Bound {
            vhost: vhost_name,
            binding,
        })))
    }

    fn unbind(
        &mut self,
        vhost_name: Name,
        binding: Binding,
        connection: Option<ConnectionId>,
    ) -> Result<Outcome, Refusal> {
        let vhost = self.vhost(&vhost_name)?;
        if !vhost.has_binding(&binding) {
            return Ok(Outcome::unchanged());
        }
        if let Some(queue) = check_destination(vhost, &binding.destination)? {
            queue.check_access(connection)?;
        }
        let durable = vhost.is_durable(&binding.source, &binding.destination);
        let vhost = self.vhost_mut(&vhost_name)?;
        vhost.remove_binding(&binding);
        let source = binding.source.clone();
        let mut outcome = Outcome::changed(durable.then_some(Fact::Unbound {
            vhost: vhost_name,
            binding,
        }));
        remove_unused(vhost, vec![source], &mut outcome);
        Ok(outcome)
    }
}

/// What a declaration of a queue amounts to: an exclusive queue goes with its connection, hence is never durable.
fn declaration_of(declare: &DeclareQueue) -> Result<queue_definition::Declaration, Refusal> {
    let owner = if declare.exclusive {
        declare.connection
    } else {
        None
    };
    if declare.exclusive && owner.is_none() {
        return Err(Refusal::precondition_failed(
            "an exclusive queue is declared by a connection",
        ));
    }
    Ok(queue_definition::Declaration {
        durable: declare.durable && !declare.exclusive,
        auto_delete: declare.auto_delete,
        owner,
        arguments: declare.arguments.clone(),
    })
}

/// The destination is there; returns it if it is a queue.
fn check_destination<'a>(
    vhost: &'a Vhost,
    destination: &Destination,
) -> Result<Option<&'a Arc<Queue>>, Refusal> {
    let not_found = || Refusal::not_found(destination.describe(&vhost.name));
    match destination {
        Destination::Queue(name) => vhost.queues.get(name).map(Some).ok_or_else(not_found),
        Destination::Exchange(name) => vhost.exchanges.get(name).map(|_| None).ok_or_else(not_found),
    }
}

/// Removes an exchange that is there, then those that were kept only by leading to it.
fn remove_exchanges(vhost: &mut Vhost, name: &Name, outcome: &mut Outcome) {
    let mut pending = vec![name.clone()];
    while let Some(name) = pending.pop() {
        let Some((exchange, sources)) = vhost.remove_exchange(&name) else {
            continue;
        };
        pending.extend(
            sources
                .into_iter()
                .filter(|source| has_had_its_time(vhost, source)),
        );
        if exchange.durable {
            outcome.facts.push(Fact::ExchangeDeleted {
                vhost: vhost.name.clone(),
                name: name.clone(),
            });
        }
        outcome.removed_exchanges.push((vhost.name.clone(), name));
    }
}

/// Removes those exchanges that have just lost their last binding and were declared to go with it.
fn remove_unused(vhost: &mut Vhost, sources: Vec<Name>, outcome: &mut Outcome) {
    for source in sources {
        if has_had_its_time(vhost, &source) {
            remove_exchanges(vhost, &source, outcome);
        }
    }
}

fn has_had_its_time(vhost: &Vhost, exchange: &Name) -> bool {
    vhost
        .exchanges
        .get(exchange)
        .is_some_and(|exchange| exchange.auto_delete && exchange.is_unused())
}
