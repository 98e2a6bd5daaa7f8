//! Facts back into a catalog, and a catalog into facts.

use std::sync::Arc;

use super::Catalog;
use super::binding::Binding;
use super::bound::Bound;
use super::description::Description;
use super::exchange::{self, Exchange};
use super::fact::Fact;
use super::no_ack_guard::NoAckGuard;
use super::permission::Permissions;
use super::policy::PolicyDefinition;
use super::queue_arguments::QueueKind;
use super::queue_definition::{self, Queue};
use super::refusal::Refusal;
use super::snapshot::{Snapshot, State};
use super::topic_permission::TopicPermission;
use super::unroutable::Unroutable;
use super::user::User;
use super::vhost::{PREDECLARED, Vhost};
use crate::ids::{PartitionId, QueueId};
use crate::name::Name;

/// A fact that cannot be true after those before it: the log is not what it was, or is not ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the catalog's facts contradict each other: {0}")]
pub struct Contradiction(String);

impl Catalog {
    /// Takes over a fact from a checkpoint or the log. One that says what is so already changes nothing.
    ///
    /// # Errors
    /// The fact cannot be true after those before it; the catalog is as it was.
    pub fn replay(&mut self, fact: Fact) -> Result<(), Contradiction> {
        match fact {
            Fact::QueueIds { below } => self.forget_queue_ids(checked(below)?),
            Fact::VhostDeclared { vhost } => {
                if !self.state.vhosts.contains_key(&vhost) {
                    self.add_vhost(vhost);
                }
            }
            Fact::VhostDeleted { vhost } => {
                self.remove_vhost(&vhost);
            }
            Fact::UserDeclared {
                user,
                password_hash,
                tags,
            } => {
                let known = self.state.users.get(&user);
                let limits = known.map(|known| known.limits).unwrap_or_default();
                let declared = User {
                    name: user.clone(),
                    password_hash,
                    tags,
                    limits,
                };
                self.state.users.insert(user, Arc::new(declared));
            }
            Fact::UserDeleted { user } => {
                self.remove_user(&user);
            }
            Fact::PermissionsSet {
                user,
                vhost,
                configure,
                write,
                read,
            } => {
                self.replay_permissions(user, vhost, &configure, &write, &read)?;
            }
            Fact::PermissionsCleared { user, vhost } => {
                self.state.permissions.remove(&(user, vhost));
            }
            Fact::ExchangeDeclared {
                vhost,
                name,
                kind,
                auto_delete,
                internal,
                arguments,
            } => {
                let declaration = exchange::Declaration {
                    kind,
                    durable: true,
                    auto_delete,
                    internal,
                    arguments,
                };
                self.replay_exchange(&vhost, name, declaration)?;
            }
            Fact::ExchangeDeleted { vhost, name } => {
                self.replay_vhost(&vhost)?.remove_exchange(&name);
            }
            Fact::QueueDeclared {
                vhost,
                name,
                queue,
                partition,
                auto_delete,
                arguments,
            } => {
                let declaration = queue_definition::Declaration {
                    durable: true,
                    auto_delete,
                    owner: None,
                    arguments,
                };
                self.replay_queue(vhost, name, queue, partition, declaration)?;
            }
            Fact::QueueDeleted { queue, .. } => {
                self.drop_queue(queue);
            }
            Fact::Bound { vhost, binding } => self.replay_binding(&vhost, binding)?,
            Fact::Unbound { vhost, binding } => {
                self.replay_vhost(&vhost)?.remove_binding(&binding);
            }
            Fact::GlobalParameterSet { name, value } => drop(self.set_global_parameter(name, value)),
            Fact::GlobalParameterCleared { name } => drop(self.clear_global_parameter(name)),
            Fact::DeclaredRemembered { declared } => drop(self.remember_declared(declared)),
            government @ (Fact::TopicPermissionSet { .. }
            | Fact::TopicPermissionCleared { .. }
            | Fact::VhostLimited { .. }
            | Fact::UserLimited { .. }
            | Fact::PolicySet { .. }
            | Fact::PolicyCleared { .. }
            | Fact::UnroutableSet { .. }
            | Fact::DefaultQueueTypeSet { .. }
            | Fact::NoAckGuarded { .. }
            | Fact::VhostDescribed { .. }) => self.replay_government(government)?,
        }
        self.state.epoch += 1;
        Ok(())
    }

    /// Facts about what governs things that are there.
    fn replay_government(&mut self, fact: Fact) -> Result<(), Contradiction> {
        let contradicts = |refusal: Refusal| Contradiction(refusal.text);
        match fact {
            Fact::TopicPermissionSet {
                user,
                vhost,
                exchange,
                write,
                read,
            } => {
                let permission = TopicPermission::new(user, vhost, exchange, write, read);
                let set = permission.and_then(|permission| self.set_topic_permission(permission));
                set.map(drop).map_err(contradicts)
            }
            Fact::TopicPermissionCleared {
                user,
                vhost,
                exchange,
            } => {
                self.clear_topic_permissions(&user, &vhost, Some(&exchange));
                Ok(())
            }
            Fact::VhostLimited { vhost, limit, most } => self
                .limit_vhost(vhost, limit, most)
                .map(drop)
                .map_err(contradicts),
            Fact::UserLimited { user, limit, most } => {
                self.limit_user(user, limit, most).map(drop).map_err(contradicts)
            }
            Fact::PolicySet {
                vhost,
                name,
                kind,
                pattern,
                apply_to,
                priority,
                settings,
            } => {
                let definition = PolicyDefinition {
                    pattern,
                    apply_to,
                    priority,
                    settings,
                };
                self.set_policy(vhost, name, kind, definition)
                    .map(drop)
                    .map_err(contradicts)
            }
            Fact::UnroutableSet { vhost, fate } => self.replay_unroutable(&vhost, fate).map_err(contradicts),
            Fact::DefaultQueueTypeSet { vhost, kind } => {
                self.set_default_kind(vhost, kind).map(drop).map_err(contradicts)
            }
            Fact::NoAckGuarded { vhost, guard } => {
                self.guard_no_ack(vhost, guard).map(drop).map_err(contradicts)
            }
            Fact::VhostDescribed { vhost, description } => self
                .describe_vhost(vhost, description)
                .map(drop)
                .map_err(contradicts),
            Fact::PolicyCleared { vhost, name, kind } => self
                .clear_policy(vhost, name, kind)
                .map(drop)
                .map_err(contradicts),
            other => unreachable!("{other:?} is about the things themselves"),
        }
    }

    /// All facts of which the durable part of the catalog can be rebuilt: a checkpoint.
    pub fn facts(&self) -> impl Iterator<Item = Fact> + '_ {
        self.state.facts()
    }

    fn replay_vhost(&mut self, vhost: &Name) -> Result<&mut Vhost, Contradiction> {
        self.vhost_mut(vhost)
            .map_err(|_| Contradiction(format!("there is no virtual host '{vhost}'")))
    }

    fn replay_permissions(
        &mut self,
        user: Name,
        vhost: Name,
        configure: &str,
        write: &str,
        read: &str,
    ) -> Result<(), Contradiction> {
        self.replay_vhost(&vhost)?;
        if !self.state.users.contains_key(&user) {
            return Err(Contradiction(format!("there is no user '{user}'")));
        }
        let permissions = Permissions::new(user.clone(), vhost.clone(), configure, write, read);
        let permissions = permissions.map_err(|refusal| Contradiction(refusal.text))?;
        self.state
            .permissions
            .insert((user, vhost), Arc::new(permissions));
        Ok(())
    }

    fn replay_exchange(
        &mut self,
        vhost: &Name,
        name: Name,
        declaration: exchange::Declaration,
    ) -> Result<(), Contradiction> {
        let vhost = self.replay_vhost(vhost)?;
        if let Some(existing) = vhost.exchanges.get(&name) {
            let same = existing.check_equivalence(&vhost.name, &declaration);
            return same.map_err(|refusal| Contradiction(refusal.text));
        }
        let vhost = vhost.name.clone();
        let added = self.add_exchange(&vhost, Exchange::new(name, declaration));
        added.map_err(|refusal| Contradiction(refusal.text))
    }

    fn replay_queue(
        &mut self,
        vhost: Name,
        name: Name,
        id: QueueId,
        partition: PartitionId,
        declaration: queue_definition::Declaration,
    ) -> Result<(), Contradiction> {
        let view = self.replay_vhost(&vhost)?;
        let by_name = view.queues.get(&name).or_else(|| view.rooms.get(&name));
        let by_name = by_name.map(|queue| queue.id);
        let by_id = self
            .state
            .queues
            .get(&id)
            .map(|queue| (&queue.vhost, &queue.name));
        match (by_name, by_id) {
            (None, None) => {}
            (Some(known), Some(_)) if known == id => return Ok(()),
            (Some(known), _) => {
                return Err(Contradiction(format!(
                    "queue '{name}' in vhost '{vhost}' is {known}, not {id}"
                )));
            }
            (None, Some((vhost, name))) => {
                return Err(Contradiction(format!(
                    "{id} is queue '{name}' in vhost '{vhost}' already"
                )));
            }
        }
        if partition.0 >= PARTITIONS_END {
            return Err(Contradiction(format!(
                "queue '{name}' in vhost '{vhost}' cannot be in partition {partition}"
            )));
        }
        self.forget_queue_ids(QueueId(checked(id)?.0 + 1));
        self.add_queue(id, partition, vhost, name, declaration);
        Ok(())
    }

    fn replay_binding(&mut self, vhost: &Name, binding: Binding) -> Result<(), Contradiction> {
        let vhost = self.replay_vhost(vhost)?;
        if vhost.has_binding(&binding) {
            return Ok(());
        }
        let missing = |binding| Contradiction(format!("an end is missing of the binding {binding:?}"));
        vhost.add_binding(binding.normalized()).map_err(missing)
    }
}

/// Ids are counted up from 1: one that is as large as this was never given out, and would leave none to give.
fn checked(id: QueueId) -> Result<QueueId, Contradiction> {
    if id.0 >= QUEUE_IDS_END {
        return Err(Contradiction(format!("{id} cannot be the id of a queue")));
    }
    Ok(id)
}

const QUEUE_IDS_END: u64 = 1 << 62;
/// Partitions are counted up from 0, and there are never so many: each of them is a machine that a start has to build.
const PARTITIONS_END: u16 = 1024;

impl Snapshot {
    /// All facts of which the durable part of the catalog can be rebuilt: a checkpoint, which may be written while the
    /// catalog goes on.
    pub fn facts(&self) -> impl Iterator<Item = Fact> + '_ {
        self.0.facts()
    }
}

impl State {
    /// In an order that depends on nothing but the content.
    fn facts(&self) -> impl Iterator<Item = Fact> + '_ {
        let ids = [Fact::QueueIds {
            below: self.queue_ids_below,
        }];
        let users = self.users.values().map(|user| Fact::UserDeclared {
            user: user.name.clone(),
            password_hash: user.password_hash.clone(),
            tags: user.tags.clone(),
        });
        let vhosts = self.vhosts.values().flat_map(|vhost| vhost_facts(vhost));
        let permissions = self.permissions.values().map(|permissions| permissions.fact());
        let topics = self
            .topic_permissions
            .values()
            .map(|permission| permission.fact());
        let limits = self.users.values().flat_map(|user| {
            user.limits.iter().map(|(limit, most)| Fact::UserLimited {
                user: user.name.clone(),
                limit,
                most: Some(most),
            })
        });
        let parameters = self.global_parameters.iter();
        let parameters = parameters.map(|(name, value)| Fact::GlobalParameterSet {
            name: name.clone(),
            value: value.to_string(),
        });
        let declared = self.declared.iter().map(|declared| Fact::DeclaredRemembered {
            declared: declared.to_string(),
        });
        ids.into_iter()
            .chain(parameters)
            .chain(declared)
            .chain(users)
            .chain(limits)
            .chain(vhosts)
            .chain(permissions)
            .chain(topics)
    }
}

fn vhost_facts(vhost: &Vhost) -> impl Iterator<Item = Fact> + '_ {
    let declared = [Fact::VhostDeclared {
        vhost: vhost.name.clone(),
    }];

    let limits = vhost.limits.iter().map(|(limit, most)| Fact::VhostLimited {
        vhost: vhost.name.clone(),
        limit,
        most: Some(most),
    });
    let fate = vhost.unroutable;
    let unroutable = (fate != Unroutable::default()).then(|| Fact::UnroutableSet {
        vhost: vhost.name.clone(),
        fate,
    });
    let kind = vhost.default_kind;
    let default_kind = (kind != QueueKind::default()).then(|| Fact::DefaultQueueTypeSet {
        vhost: vhost.name.clone(),
        kind,
    });
    let guard = vhost.no_ack;
    let guarded = (guard != NoAckGuard::default()).then(|| Fact::NoAckGuarded {
        vhost: vhost.name.clone(),
        guard,
    });
    let described = (*vhost.description != Description::default()).then(|| Fact::VhostDescribed {
        vhost: vhost.name.clone(),
        description: (*vhost.description).clone(),
    });
    // Before all that they govern, so that nothing has to be looked at twice.
    let policies = vhost.policies.values().map(|policy| policy.fact(&vhost.name));

    let given = |name: &[u8]| PREDECLARED.iter().any(|(given, _)| given.as_bytes() == name);
    let mut exchanges: Vec<&Arc<Exchange>> = vhost
        .exchanges
        .values()
        .filter(|exchange| exchange.durable && !given(&exchange.name))
        .collect();
    exchanges.sort_unstable_by(|left, right| left.name.cmp(&right.name));

    let mut queues: Vec<&Arc<Queue>> = vhost.all_queues().filter(|queue| queue.durable).collect();
    queues.sort_unstable_by_key(|queue| queue.id);

    let bindings = vhost.exchanges.values().flat_map(|exchange| exchange.bound());
    let durable = |binding: &&Arc<Bound>| vhost.is_durable(binding.source(), binding.destination());
    let mut bindings: Vec<&Arc<Bound>> = bindings.filter(durable).collect();
    bindings.sort_unstable();

    let exchanges = exchanges.into_iter().map(|exchange| Fact::ExchangeDeclared {
        vhost: vhost.name.clone(),
        name: exchange.name.clone(),
        kind: exchange.kind,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        arguments: exchange.arguments.clone(),
    });
    let queues = queues.into_iter().map(|queue| Fact::QueueDeclared {
        vhost: vhost.name.clone(),
        name: queue.name.clone(),
        queue: queue.id,
        partition: queue.partition,
        auto_delete: queue.auto_delete,
        arguments: queue.arguments.clone(),
    });
    let bindings = bindings.into_iter().map(|binding| Fact::Bound {
        vhost: vhost.name.clone(),
        binding: binding.binding(),
    });
    declared
        .into_iter()
        .chain(limits)
        .chain(unroutable)
        .chain(default_kind)
        .chain(guarded)
        .chain(described)
        .chain(policies)
        .chain(exchanges)
        .chain(queues)
        .chain(bindings)
}
