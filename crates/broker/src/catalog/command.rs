//! All that can be asked of the catalog.

use super::binding::Binding;
use super::description::Description;
use super::limit::{UserLimit, VhostLimit};
use super::no_ack_guard::NoAckGuard;
use super::policy::{PolicyDefinition, PolicyKind};
use super::queue_arguments::QueueKind;
use super::unroutable::Unroutable;
use crate::arguments::Arguments;
use crate::ids::{ConnectionId, QueueId};
use crate::name::Name;

/// One change, or the question whether something is there. Whether the asker may is decided before: [`super::Snapshot::authorise`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Creates a virtual host with the exchanges that each has; nothing if it is there.
    DeclareVhost {
        /// Its name.
        vhost: Name,
    },
    /// Deletes a virtual host and all that is in it; nothing if it is not there.
    DeleteVhost {
        /// Its name.
        vhost: Name,
    },
    /// Creates a user, or gives it another password and other tags.
    DeclareUser {
        /// Its name.
        user: Name,
        /// Opaque here.
        password_hash: String,
        /// Such as `administrator`.
        tags: Vec<String>,
    },
    /// Deletes a user and its permissions; nothing if it is not there.
    DeleteUser {
        /// Its name.
        user: Name,
    },
    /// Sets what a user may do in a virtual host. Both must exist.
    SetPermissions {
        /// Whose.
        user: Name,
        /// Where.
        vhost: Name,
        /// Pattern of names that may be declared and deleted.
        configure: String,
        /// Pattern of names that may be published to.
        write: String,
        /// Pattern of names that may be consumed from.
        read: String,
    },
    /// Takes a user's permissions in a virtual host away.
    ClearPermissions {
        /// Whose.
        user: Name,
        /// Where.
        vhost: Name,
    },
    /// Sets which routing keys a user may use on an exchange. The user and the virtual host must exist.
    SetTopicPermission {
        /// Whose.
        user: Name,
        /// Where.
        vhost: Name,
        /// On which exchange.
        exchange: Name,
        /// Pattern of routing keys that may be published with.
        write: String,
        /// Pattern of routing keys that may be bound with.
        read: String,
    },
    /// Takes a user's topic permissions in a virtual host away.
    ClearTopicPermissions {
        /// Whose.
        user: Name,
        /// Where.
        vhost: Name,
        /// On which exchange; none is all of them.
        exchange: Option<Name>,
    },
    /// Sets how much a virtual host may have.
    LimitVhost {
        /// Which, must exist.
        vhost: Name,
        /// Of what.
        limit: VhostLimit,
        /// How many; none is no limit.
        most: Option<u64>,
    },
    /// Sets how much a user may have.
    LimitUser {
        /// Which, must exist.
        user: Name,
        /// Of what.
        limit: UserLimit,
        /// How many; none is no limit.
        most: Option<u64>,
    },
    /// Sets a policy, new or in place of the one of that name.
    SetPolicy {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Who sets it.
        kind: PolicyKind,
        /// What it says.
        definition: PolicyDefinition,
    },
    /// Takes a policy away; nothing if it is not there.
    ClearPolicy {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Of which kind.
        kind: PolicyKind,
    },
    /// Sets all policies of a virtual host, of both kinds, at once: each thing there is governed by the old set or by the new one,
    /// never by some of both. Those that are there and not given are taken away.
    ReplacePolicies {
        /// Where.
        vhost: Name,
        /// All of them; no two of a kind with one name.
        policies: Vec<(PolicyKind, Name, PolicyDefinition)>,
    },
    /// Sets which type queues of a virtual host have that are declared without one, from here on.
    SetDefaultQueueType {
        /// Where.
        vhost: Name,
        /// The type.
        kind: QueueKind,
    },
    /// Sets what becomes of messages that no queue of a virtual host wants. To keep them, it gets a store.
    SetUnroutable {
        /// Where.
        vhost: Name,
        /// What becomes of them.
        fate: Unroutable,
    },
    /// Sets what is done about consumers that do not acknowledge, on the durable queues of a virtual host.
    GuardNoAck {
        /// Where.
        vhost: Name,
        /// What is done.
        guard: NoAckGuard,
    },
    /// Says what a virtual host is for.
    DescribeVhost {
        /// Which, must exist.
        vhost: Name,
        /// In words.
        description: Description,
    },
    /// Sets a parameter of the whole broker, new or in place of the one of that name.
    SetGlobalParameter {
        /// Its name.
        name: Name,
        /// Opaque here: JSON.
        value: String,
    },
    /// Takes a parameter of the whole broker away; nothing if it is not there.
    ClearGlobalParameter {
        /// Its name.
        name: Name,
    },
    /// Remembers what the configuration has declared last, so that what it no longer declares can be told from what it never did.
    RememberDeclared {
        /// Opaque here.
        declared: String,
    },
    /// Carries out all of these in their order, or none: in one step for whoever looks, and after a crash. None of them may be of this
    /// kind.
    Together {
        /// What to carry out.
        commands: Vec<Command>,
    },
    /// Creates an exchange, or checks that one is there and as asked for.
    DeclareExchange(DeclareExchange),
    /// Deletes an exchange with its bindings; nothing if it is not there.
    DeleteExchange {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Only if no binding starts there.
        if_unused: bool,
    },
    /// Creates a queue, or checks that one is there and as asked for.
    DeclareQueue(DeclareQueue),
    /// Deletes a queue with its bindings; nothing if it is not there. Whether it is unused or empty the partition knows.
    DeleteQueue {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Who asks; none for an operator.
        connection: Option<ConnectionId>,
    },
    /// Deletes the very queue, not one that was declared under its name since: it was unused or has expired.
    RemoveQueue {
        /// Which.
        queue: QueueId,
    },
    /// Binds; nothing if that binding is there.
    Bind {
        /// Where.
        vhost: Name,
        /// What to what.
        binding: Binding,
        /// Who asks; none for an operator.
        connection: Option<ConnectionId>,
    },
    /// Unbinds; nothing if that binding is not there.
    Unbind {
        /// Where.
        vhost: Name,
        /// What from what.
        binding: Binding,
        /// Who asks; none for an operator.
        connection: Option<ConnectionId>,
    },
    /// Removes the exclusive queues of a connection that is gone.
    ConnectionClosed {
        /// Which.
        connection: ConnectionId,
    },
}

/// See [`Command::DeclareExchange`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclareExchange {
    /// Where.
    pub vhost: Name,
    /// Its name.
    pub name: Name,
    /// Only ask whether it is there; what follows does not count then.
    pub passive: bool,
    /// The name of its type.
    pub kind: Name,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether clients may not publish to it.
    pub internal: bool,
    /// Its arguments.
    pub arguments: Arguments,
}

/// See [`Command::DeclareQueue`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclareQueue {
    /// Where.
    pub vhost: Name,
    /// Its name.
    pub name: Name,
    /// Whether the name is one that the broker made up, since the client gave none. Only those may begin with `amq.`.
    pub generated: bool,
    /// Only ask whether it is there; what follows does not count then, but for the connection.
    pub passive: bool,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it is for this connection alone and goes with it.
    pub exclusive: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its arguments.
    pub arguments: Arguments,
    /// Who asks; none for an operator, who cannot declare exclusive queues.
    pub connection: Option<ConnectionId>,
}

impl Command {
    /// Where a command for exchanges, queues and bindings is carried out.
    pub fn vhost(&self) -> Option<&Name> {
        match self {
            Command::DeclareExchange(declare) => Some(&declare.vhost),
            Command::DeclareQueue(declare) => Some(&declare.vhost),
            Command::DeleteExchange { vhost, .. }
            | Command::DeleteQueue { vhost, .. }
            | Command::Bind { vhost, .. }
            | Command::Unbind { vhost, .. } => Some(vhost),
            _ => None,
        }
    }

    /// The command as it is carried out: names without line ends, arguments of bindings in order.
    pub(crate) fn normalized(self) -> Self {
        match self {
            Command::DeclareExchange(declare) => {
                let name = declare.name.without_line_ends();
                Command::DeclareExchange(DeclareExchange { name, ..declare })
            }
            Command::DeleteExchange {
                vhost,
                name,
                if_unused,
            } => Command::DeleteExchange {
                vhost,
                name: name.without_line_ends(),
                if_unused,
            },
            Command::DeclareQueue(declare) => {
                let name = declare.name.without_line_ends();
                Command::DeclareQueue(DeclareQueue { name, ..declare })
            }
            Command::DeleteQueue {
                vhost,
                name,
                connection,
            } => Command::DeleteQueue {
                vhost,
                name: name.without_line_ends(),
                connection,
            },
            Command::Bind {
                vhost,
                binding,
                connection,
            } => Command::Bind {
                vhost,
                binding: binding.normalized(),
                connection,
            },
            Command::Unbind {
                vhost,
                binding,
                connection,
            } => Command::Unbind {
                vhost,
                binding: binding.normalized(),
                connection,
            },
            Command::Together { commands } => Command::Together {
                commands: commands.into_iter().map(Command::normalized).collect(),
            },
            other => other,
        }
    }
}
