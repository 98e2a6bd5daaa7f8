//! Limits, topic permissions and what becomes of unroutable messages: what operators set about virtual hosts and users that are
//! there; and what the policies in force make of queues and exchanges, at once.

use std::sync::Arc;

use super::Catalog;
use super::command::DeclareQueue;
use super::exchange::Exchange;
use super::fact::Fact;
use super::limit::{UserLimit, VhostLimit};
use super::no_ack_guard::NoAckGuard;
use super::outcome::Outcome;
use super::policy::{Governed, Policy, PolicyKind};
use super::policy_settings;
use super::queue_definition::{self, Queue};
use super::refusal::Refusal;
use super::topic_permission::TopicPermission;
use super::unroutable::{UNROUTABLE_STORE, Unroutable};
use super::user::User;
use super::vhost::Vhost;
use crate::arguments::Arguments;
use crate::name::Name;

/// Which policies govern a queue or an exchange, and what they set together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Governance {
    /// The policy.
    pub policy: Option<Name>,
    /// The operator policy.
    pub operator_policy: Option<Name>,
    /// What both set.
    pub settings: Arguments,
    /// What the operator policy sets of that: it stands whatever others say.
    pub bounds: Arguments,
    /// What is done about consumers that do not acknowledge; of queues only.
    pub no_ack: NoAckGuard,
}

impl Governance {
    /// Declared arguments as they are in effect.
    pub(super) fn effective(&self, declared: &Arguments) -> Arguments {
        policy_settings::effective(declared, &self.settings, &self.bounds)
    }
}

impl Catalog {
    /// Looks again at what governs everything in a virtual host. Returns the queues for which something changes, in the order
    /// of their ids.
    pub(super) fn govern_again(&mut self, vhost: &Name) -> Vec<Arc<Queue>> {
        let view = self.vhost_mut(vhost).expect("the virtual host was found before");
        govern_exchanges(view);
        let mut changed: Vec<Arc<Queue>> = view
            .queues
            .values()
            .filter_map(|queue| {
                let governance = view.governance(Governed::Queue(&queue.name, queue.kind()));
                (governance != queue.governance).then(|| Arc::new(queue.governed(governance)))
            })
            .collect();
        changed.sort_unstable_by_key(|queue| queue.id);
        for queue in &changed {
            view.queues.insert(queue.name.clone(), queue.clone());
        }
        for queue in &changed {
            self.state.queues.insert(queue.id, queue.clone());
        }
        changed
    }

    pub(super) fn set_unroutable(&mut self, vhost: Name, fate: Unroutable) -> Result<Outcome, Refusal> {
        let view = self.vhost_mut(&vhost)?;
        let has_store = view.store().is_some();
        if view.unroutable == fate {
            return Ok(Outcome::unchanged());
        }
        view.unroutable = fate;
        let regulated_queues = self.govern_again(&vhost);
        let mut outcome = Outcome {
            regulated_queues,
            ..Outcome::changed([Fact::UnroutableSet {
                vhost: vhost.clone(),
                fate,
            }])
        };
        if matches!(fate, Unroutable::Keep { .. }) && !has_store {
            let store = DeclareQueue {
                vhost,
                name: UNROUTABLE_STORE.into(),
                durable: true,
                ..DeclareQueue::default()
            };
            let created = self.create_queue(store, queue_definition::Declaration::of_the_broker());
            outcome.facts.extend(created.facts);
            outcome.queue = created.queue;
            outcome.created_queues = created.created_queues;
        }
        Ok(outcome)
    }

    pub(super) fn guard_no_ack(&mut self, vhost: Name, guard: NoAckGuard) -> Result<Outcome, Refusal> {
        let view = self.vhost_mut(&vhost)?;
        if view.no_ack == guard {
            return Ok(Outcome::unchanged());
        }
        view.no_ack = guard;
        let regulated_queues = self.govern_again(&vhost);
        Ok(Outcome {
            regulated_queues,
            ..Outcome::changed([Fact::NoAckGuarded { vhost, guard }])
        })
    }

    /// Takes over what became of unroutable messages; the store has a fact of its own.
    pub(super) fn replay_unroutable(&mut self, vhost: &Name, fate: Unroutable) -> Result<(), Refusal> {
        self.vhost_mut(vhost)?.unroutable = fate;
        self.govern_again(vhost);
        Ok(())
    }

    pub(super) fn set_topic_permission(&mut self, permission: TopicPermission) -> Result<Outcome, Refusal> {
        if !self.state.users.contains_key(&permission.user) {
            return Err(Refusal::not_found(format!("user '{}'", permission.user)));
        }
        self.vhost(&permission.vhost)?;
        let key = (
            permission.user.clone(),
            permission.vhost.clone(),
            permission.exchange.clone(),
        );
        let known = self.state.topic_permissions.get(&key);
        if known.is_some_and(|known| **known == permission) {
            return Ok(Outcome::unchanged());
        }
        let fact = permission.fact();
        self.state.topic_permissions.insert(key, Arc::new(permission));
        Ok(Outcome::changed([fact]))
    }

    /// Clears them on one exchange, or on all.
    pub(super) fn clear_topic_permissions(
        &mut self,
        user: &Name,
        vhost: &Name,
        exchange: Option<&Name>,
    ) -> Outcome {
        let concerned = |key: &(Name, Name, Name)| {
            key.0 == *user && key.1 == *vhost && exchange.is_none_or(|exchange| key.2 == *exchange)
        };
        let cleared = self.remove_topic_permissions(concerned);
        if cleared.is_empty() {
            return Outcome::unchanged();
        }
        let facts = cleared
            .into_iter()
            .map(|(user, vhost, exchange)| Fact::TopicPermissionCleared {
                user,
                vhost,
                exchange,
            });
        Outcome::changed(facts)
    }

    pub(super) fn remove_topic_permissions(
        &mut self,
        concerned: impl Fn(&(Name, Name, Name)) -> bool,
    ) -> Vec<(Name, Name, Name)> {
        let permissions = &mut self.state.topic_permissions;
        let keys: Vec<_> = permissions.keys().filter(|key| concerned(key)).cloned().collect();
        keys.iter().for_each(|key| drop(permissions.remove(key)));
        keys
    }

    pub(super) fn limit_vhost(
        &mut self,
        vhost: Name,
        limit: VhostLimit,
        most: Option<u64>,
    ) -> Result<Outcome, Refusal> {
        let limits = &mut self.vhost_mut(&vhost)?.limits;
        if limits.most(limit) == most {
            return Ok(Outcome::unchanged());
        }
        limits.set(limit, most);
        Ok(Outcome::changed([Fact::VhostLimited { vhost, limit, most }]))
    }

    pub(super) fn limit_user(
        &mut self,
        user: Name,
        limit: UserLimit,
        most: Option<u64>,
    ) -> Result<Outcome, Refusal> {
        let Some(known) = self.state.users.get_mut(&user) else {
            return Err(Refusal::not_found(format!("user '{user}'")));
        };
        if known.limits.most(limit) == most {
            return Ok(Outcome::unchanged());
        }
        let known: &mut User = Arc::make_mut(known);
        known.limits.set(limit, most);
        Ok(Outcome::changed([Fact::UserLimited { user, limit, most }]))
    }

    /// Refuses a new queue where a virtual host has as many as it may.
    pub(super) fn may_hold_another(&self, vhost: &Name, queue: &Name) -> Result<(), Refusal> {
        let view = self.vhost(vhost)?;
        let Some(most) = view.limits.most(VhostLimit::Queues) else {
            return Ok(());
        };
        if ((view.queues.len() - usize::from(view.store().is_some())) as u64) < most {
            return Ok(());
        }
        Err(Refusal::precondition_failed(format!(
            "cannot declare queue '{queue}': queue limit in vhost '{vhost}' ({most}) is reached"
        )))
    }
}

/// Gives exchanges that are governed otherwise than before their new settings.
fn govern_exchanges(vhost: &mut Vhost) {
    let changed: Vec<(Name, Governance)> = vhost
        .exchanges
        .values()
        .filter_map(|exchange| {
            let governance = vhost.governance(Governed::Exchange(&exchange.name));
            (governance != exchange.governance).then(|| (exchange.name.clone(), governance))
        })
        .collect();
    for (name, governance) in changed {
        let exchange = vhost.exchanges.get_mut(&name).expect("it was just there");
        let exchange: &mut Exchange = Arc::make_mut(exchange);
        exchange.govern(governance);
    }
}

impl Vhost {
    /// What governs that.
    pub(super) fn governance(&self, what: Governed<'_>) -> Governance {
        if matches!(what, Governed::Queue(name, _) if name == UNROUTABLE_STORE.as_bytes()) {
            return Governance {
                no_ack: self.no_ack,
                ..self.unroutable.governance()
            };
        }
        // The default exchange has no alternate, and nothing else about an exchange can be set.
        if matches!(what, Governed::Exchange(b"")) {
            return Governance::default();
        }
        let (policy, operator) = (
            self.highest(PolicyKind::User, what),
            self.highest(PolicyKind::Operator, what),
        );
        let settings = |policy: &Arc<Policy>| policy.definition.settings.clone();
        let bounds = operator.map(settings);
        let settings = policy_settings::merged(policy.map(settings).as_ref(), bounds.as_ref());
        Governance {
            no_ack: match what {
                Governed::Queue(..) => self.no_ack.under(&settings),
                Governed::Exchange(_) => NoAckGuard::default(),
            },
            settings,
            bounds: bounds.unwrap_or_default(),
            policy: policy.map(|policy| policy.name.clone()),
            operator_policy: operator.map(|policy| policy.name.clone()),
        }
    }

    /// Of those that match the one with the highest priority, of equals the first by name.
    fn highest(&self, kind: PolicyKind, what: Governed<'_>) -> Option<&Arc<Policy>> {
        let of_kind = self.policies.values().filter(|policy| policy.kind == kind);
        let matching = of_kind.filter(|policy| policy.matches(what));
        matching.min_by_key(|policy| std::cmp::Reverse(policy.definition.priority))
    }
}
