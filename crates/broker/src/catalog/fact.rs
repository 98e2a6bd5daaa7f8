//! Facts: what the log and the checkpoint keep of the catalog.
//!
//! A fact says what is so from here on, not what was asked for: replaying facts decides nothing and refuses nothing. Only
//! durable things make facts; bindings that vanish because one of their ends does are not named one by one, exchanges
//! that vanish with their last binding are, since whether a binding was the last depends on ones that were not durable.
//!
//! The format, by serde (postcard in the log: variants by number, integers as varints, byte strings with their length):
//! variants and fields are appended, never reordered or removed. The version of the whole is the data directory's.
//!
//! ```text
//!  0 QueueIds           below                                       ids below this one may have been used
//!  1 VhostDeclared      vhost                                       with the exchanges that every virtual host has
//!  2 VhostDeleted       vhost                                       with all that is in it
//!  3 UserDeclared       user password_hash tags                     new or changed
//!  4 UserDeleted        user                                        with its permissions
//!  5 PermissionsSet     user vhost configure write read             patterns as text
//!  6 PermissionsCleared user vhost
//!  7 ExchangeDeclared   vhost name kind auto_delete internal arguments
//!  8 ExchangeDeleted    vhost name                                  with the bindings from and to it
//!  9 QueueDeclared      vhost name queue partition auto_delete arguments
//! 10 QueueDeleted       vhost name queue                            with the bindings to it
//! 11 Bound              vhost binding{source destination routing_key arguments}
//! 12 Unbound            vhost binding
//! 13 TopicPermissionSet user vhost exchange write read             patterns as text
//! 14 TopicPermissionCleared user vhost exchange
//! 15 VhostLimited       vhost limit most                           most: none is no limit
//! 16 UserLimited        user limit most
//! 17 PolicySet          vhost name kind pattern apply_to priority settings
//! 18 PolicyCleared      vhost name kind
//! 19 UnroutableSet      vhost fate
//! 20 DefaultQueueTypeSet vhost kind
//! 21 NoAckGuarded       vhost guard
//! 22 VhostDescribed     vhost description{text tags}
//! 23 GlobalParameterSet name value                                 value: JSON
//! 24 GlobalParameterCleared name
//! 25 DeclaredRemembered declared                                   what the configuration has declared last
//! ```

use serde::{Deserialize, Serialize};

use super::binding::Binding;
use super::description::Description;
use super::exchange::ExchangeKind;
use super::limit::{UserLimit, VhostLimit};
use super::no_ack_guard::NoAckGuard;
use super::policy::{ApplyTo, PolicyKind};
use super::queue_arguments::QueueKind;
use super::unroutable::Unroutable;
use crate::arguments::Arguments;
use crate::ids::{PartitionId, QueueId};
use crate::name::Name;

/// One thing that is so from here on. See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// Ids of queues below this one may have been used, also by queues that made no fact. Written before they are.
    QueueIds {
        /// The lowest id that was certainly not used.
        below: QueueId,
    },
    /// There is a virtual host.
    VhostDeclared {
        /// Its name.
        vhost: Name,
    },
    /// There is no such virtual host any more.
    VhostDeleted {
        /// Its name.
        vhost: Name,
    },
    /// There is a user, and this is all of it.
    UserDeclared {
        /// Its name.
        user: Name,
        /// Opaque.
        password_hash: String,
        /// Tags.
        tags: Vec<String>,
    },
    /// There is no such user any more.
    UserDeleted {
        /// Its name.
        user: Name,
    },
    /// These are the permissions of a user in a virtual host.
    PermissionsSet {
        /// Whose.
        user: Name,
        /// Where.
        vhost: Name,
        /// Pattern.
        configure: String,
        /// Pattern.
        write: String,
        /// Pattern.
        read: String,
    },
    /// The user has no permissions there any more.
    PermissionsCleared {
        /// Whose.
        user: Name,
        /// Where.
        vhost: Name,
    },
    /// There is a durable exchange.
    ExchangeDeclared {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// How it chooses.
        kind: ExchangeKind,
        /// Whether it goes with its last binding.
        auto_delete: bool,
        /// Whether clients may not publish to it.
        internal: bool,
        /// As declared.
        arguments: Arguments,
    },
    /// There is no such exchange any more.
    ExchangeDeleted {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
    },
    /// There is a durable queue.
    QueueDeclared {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Its id.
        queue: QueueId,
        /// Where its messages are.
        partition: PartitionId,
        /// Whether it goes with its last consumer.
        auto_delete: bool,
        /// As declared.
        arguments: Arguments,
    },
    /// There is no such queue any more.
    QueueDeleted {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Its id.
        queue: QueueId,
    },
    /// There is a binding between two durable ends.
    Bound {
        /// Where.
        vhost: Name,
        /// What to what.
        binding: Binding,
    },
    /// There is no such binding any more.
    Unbound {
        /// Where.
        vhost: Name,
        /// What from what.
        binding: Binding,
    },
    /// These are the topic permissions of a user on an exchange.
    TopicPermissionSet {
        /// Whose.
        user: Name,
        /// Where.
        vhost: Name,
        /// On which exchange.
        exchange: Name,
        /// Pattern.
        write: String,
        /// Pattern.
        read: String,
    },
    /// The user has no topic permissions on that exchange any more.
    TopicPermissionCleared {
        /// Whose.
        user: Name,
        /// Where.
        vhost: Name,
        /// On which exchange.
        exchange: Name,
    },
    /// A virtual host may have so much.
    VhostLimited {
        /// Which.
        vhost: Name,
        /// Of what.
        limit: VhostLimit,
        /// How many; none is no limit.
        most: Option<u64>,
    },
    /// A user may have so much.
    UserLimited {
        /// Which.
        user: Name,
        /// Of what.
        limit: UserLimit,
        /// How many; none is no limit.
        most: Option<u64>,
    },
    /// There is a policy, and this is all of it.
    PolicySet {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Who has set it.
        kind: PolicyKind,
        /// Of names.
        pattern: String,
        /// What it is for.
        apply_to: ApplyTo,
        /// The highest that matches governs.
        priority: i32,
        /// By name.
        settings: Arguments,
    },
    /// There is no such policy any more.
    PolicyCleared {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Of which kind.
        kind: PolicyKind,
    },
    /// This becomes of messages that no queue of a virtual host wants. The store to keep them in is a queue of its own fact.
    UnroutableSet {
        /// Where.
        vhost: Name,
        /// What becomes of them.
        fate: Unroutable,
    },
    /// Queues of this virtual host that are declared without a type have this one. It is in the arguments of those that were.
    DefaultQueueTypeSet {
        /// Where.
        vhost: Name,
        /// The type.
        kind: QueueKind,
    },
    /// This is done about consumers that do not acknowledge, on the durable queues of a virtual host.
    NoAckGuarded {
        /// Where.
        vhost: Name,
        /// What is done.
        guard: NoAckGuard,
    },
    /// This is what a virtual host is for.
    VhostDescribed {
        /// Which.
        vhost: Name,
        /// In words.
        description: Description,
    },
    /// There is a parameter of the whole broker.
    GlobalParameterSet {
        /// Its name.
        name: Name,
        /// Opaque: JSON.
        value: String,
    },
    /// There is no such parameter any more.
    GlobalParameterCleared {
        /// Its name.
        name: Name,
    },
    /// This is what the configuration has declared last.
    DeclaredRemembered {
        /// Opaque.
        declared: String,
    },
}
