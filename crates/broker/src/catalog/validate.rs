//! All that must hold in a catalog, checked from the ground up. For tests, simulation and a start after recovery.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Catalog;
use super::binding::Destination;
use super::bound::Bound;
use super::exchange::Exchange;
use super::policy::Governed;
use super::unroutable::Unroutable;
use super::vhost::{PREDECLARED, Vhost};
use crate::ids::QueueId;
use crate::routing::bucket::Member;

/// Collects what does not hold.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.0.push(otherwise());
        }
    }
}

impl Catalog {
    /// Checks every invariant.
    ///
    /// # Errors
    /// What does not hold, one sentence each.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut findings = Findings::default();
        self.check_queues(&mut findings);
        self.check_permissions(&mut findings);
        for (name, vhost) in &self.state.vhosts {
            findings.check(*name == vhost.name, || {
                format!("vhost '{name}' is called '{}'", vhost.name)
            });
            check_vhost(vhost, &mut findings);
        }
        if findings.0.is_empty() {
            Ok(())
        } else {
            Err(findings.0)
        }
    }

    fn check_queues(&self, findings: &mut Findings) {
        let state = &self.state;
        findings.check(self.queue_id_next <= state.queue_ids_below, || {
            "the next queue id is not reserved".into()
        });
        let by_name: BTreeSet<QueueId> = state
            .vhosts
            .values()
            .flat_map(|vhost| vhost.all_queues())
            .map(|queue| queue.id)
            .collect();
        let by_id: BTreeSet<QueueId> = state.queues.keys().copied().collect();
        let mut named = state.vhosts.values().flat_map(|vhost| vhost.all_queues());
        let same = named.all(|queue| {
            state
                .queues
                .get(&queue.id)
                .is_some_and(|known| Arc::ptr_eq(known, queue))
        });
        findings.check(same, || {
            "a queue is another one by its id than by its name".into()
        });
        findings.check(by_name == by_id, || {
            "the queues by name are not the queues by id".into()
        });

        let mut exclusive = BTreeSet::new();
        let mut partition_queues = vec![0; self.partition_queues.len()];
        for (id, queue) in &state.queues {
            findings.check(*id == queue.id, || format!("queue {} is known as {id}", queue.id));
            findings.check(*id < self.queue_id_next, || {
                format!("queue {id} has an id that was not given out")
            });
            findings.check(!(queue.durable && queue.is_exclusive()), || {
                format!("queue {id} is durable and exclusive")
            });
            exclusive.extend(queue.owner.map(|owner| (owner, *id)));
            match partition_queues.get_mut(usize::from(queue.partition.0)) {
                Some(count) => *count += 1,
                None => findings.check(false, || {
                    format!("queue {id} is in a partition that is not counted")
                }),
            }
        }
        findings.check(partition_queues == self.partition_queues, || {
            "queues are miscounted by partition".into()
        });
        findings.check(exclusive == state.exclusive.iter().copied().collect(), || {
            "the exclusive queues by owner are not the exclusive queues".into()
        });
    }

    fn check_permissions(&self, findings: &mut Findings) {
        for ((user, vhost), permissions) in &self.state.permissions {
            let known = self.state.users.contains_key(user) && self.state.vhosts.contains_key(vhost);
            findings.check(known, || {
                format!("permissions of '{user}' in '{vhost}', one of which is not there")
            });
            let same = *user == permissions.user && *vhost == permissions.vhost;
            findings.check(same, || {
                format!("permissions of '{user}' in '{vhost}' are those of another")
            });
        }
        for ((user, vhost, exchange), permission) in &self.state.topic_permissions {
            let known = self.state.users.contains_key(user) && self.state.vhosts.contains_key(vhost);
            let same = (user, vhost, exchange) == (&permission.user, &permission.vhost, &permission.exchange);
            findings.check(known && same, || {
                format!("topic permissions of '{user}' in '{vhost}' are those of another, or of nobody")
            });
        }
        for (name, user) in &self.state.users {
            findings.check(*name == user.name, || {
                format!("user '{name}' is called '{}'", user.name)
            });
        }
    }
}

fn check_vhost(vhost: &Vhost, findings: &mut Findings) {
    for (name, kind) in PREDECLARED {
        let exchange = vhost.exchanges.get(name.as_bytes());
        findings.check(
            exchange.is_some_and(|exchange| exchange.kind == kind && exchange.durable),
            || format!("exchange '{name}' is missing in '{}'", vhost.name),
        );
    }
    for (name, queue) in &vhost.queues {
        let same = *name == queue.name && vhost.name == queue.vhost;
        findings.check(same, || {
            format!("queue '{name}' in '{}' is called '{}'", vhost.name, queue.name)
        });
        let governance = vhost.governance(Governed::Queue(name, queue.kind()));
        findings.check(governance == queue.governance, || {
            format!(
                "queue '{name}' is governed by {:?}, not {governance:?}",
                queue.governance
            )
        });
    }
    for (name, room) in &vhost.rooms {
        let right =
            *name == room.name && vhost.name == room.vhost && room.waits_for().is_some() && room.durable;
        findings.check(right, || format!("room '{name}' in '{}' is {room:?}", vhost.name));
    }
    let kept = matches!(vhost.unroutable, Unroutable::Keep { .. });
    findings.check(!kept || vhost.store().is_some_and(|store| store.durable), || {
        format!("'{}' keeps unroutable messages and has no store", vhost.name)
    });
    let by_source: BTreeSet<&Arc<Bound>> = vhost
        .exchanges
        .values()
        .flat_map(|exchange| exchange.bound())
        .collect();
    let by_destination: BTreeSet<&Arc<Bound>> = vhost
        .inbound
        .values()
        .flat_map(|inbound| inbound.iter().map(|(binding, ())| binding))
        .collect();
    findings.check(by_source == by_destination, || {
        format!("bindings of '{}' differ by source and destination", vhost.name)
    });
    for (destination, inbound) in &vhost.inbound {
        findings.check(!inbound.is_empty(), || {
            format!("no binding leads to {destination:?}, yet it is indexed")
        });
        let right = inbound
            .iter()
            .all(|(binding, ())| binding.destination() == destination);
        findings.check(right, || {
            format!("a binding to elsewhere is indexed under {destination:?}")
        });
    }
    for (name, exchange) in &vhost.exchanges {
        check_exchange(vhost, exchange, findings);
        findings.check(*name == exchange.name, || {
            format!("exchange '{name}' is called '{}'", exchange.name)
        });
    }
}

fn check_exchange(vhost: &Vhost, exchange: &Exchange, findings: &mut Findings) {
    let name = &exchange.name;
    let room = exchange.room.as_ref();
    findings.check(room.is_none_or(|room| vhost.rooms.contains_key(room)), || {
        format!("exchange '{name}' has no room for what waits")
    });
    for binding in exchange.bound() {
        let member = binding.member();
        findings.check(binding.source() == name, || {
            format!("exchange '{name}' has the binding {binding:?}")
        });
        findings.check(binding.arguments.sorted() == binding.arguments, || {
            format!("{binding:?} is not sorted")
        });
        let leads_there = match (binding.destination(), member) {
            (Destination::Queue(queue), Member::Queue(route)) => vhost
                .queues
                .get(queue)
                .is_some_and(|queue| member.target() == Some(queue.target()) && queue.route == *route),
            (Destination::Exchange(to), Member::Exchange) => vhost.exchanges.contains_key(to),
            _ => false,
        };
        findings.check(leads_there, || format!("{binding:?} leads to {member:?}"));
    }
    let counted = exchange.bound().count() == exchange.binding_count;
    findings.check(counted, || {
        format!("the bindings of exchange '{name}' are miscounted")
    });
    let governance = vhost.governance(Governed::Exchange(name));
    findings.check(governance == exchange.governance, || {
        format!(
            "exchange '{name}' is governed by {:?}, not {governance:?}",
            exchange.governance
        )
    });
    findings.check(!name.is_empty() || exchange.is_unused(), || {
        "the default exchange has bindings".into()
    });
    findings.check(exchange.table.is_pruned(), || {
        format!("the table of exchange '{name}' keeps what leads nowhere")
    });
}
