//! The policies of a virtual host: set one by one, or all at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Catalog;
use super::fact::Fact;
use super::outcome::Outcome;
use super::policy::{Policy, PolicyDefinition, PolicyKind};
use super::refusal::Refusal;
use super::vhost::Vhost;
use crate::name::Name;

impl Catalog {
    pub(super) fn set_policy(
        &mut self,
        vhost: Name,
        name: Name,
        kind: PolicyKind,
        definition: PolicyDefinition,
    ) -> Result<Outcome, Refusal> {
        let known = self.vhost(&vhost)?.policies.get(&(kind, name.clone()));
        let policy = Policy::new(name, kind, definition)?;
        if known.is_some_and(|known| **known == policy) {
            return Ok(Outcome::unchanged());
        }
        let fact = policy.fact(&vhost);
        self.put_policy(&vhost, policy);
        let regulated_queues = self.govern_again(&vhost);
        Ok(Outcome {
            regulated_queues,
            ..Outcome::changed([fact])
        })
    }

    pub(super) fn clear_policy(
        &mut self,
        vhost: Name,
        name: Name,
        kind: PolicyKind,
    ) -> Result<Outcome, Refusal> {
        let key = (kind, name);
        if self.vhost_mut(&vhost)?.policies.remove(&key).is_none() {
            return Ok(Outcome::unchanged());
        }
        let regulated_queues = self.govern_again(&vhost);
        let (kind, name) = key;
        Ok(Outcome {
            regulated_queues,
            ..Outcome::changed([Fact::PolicyCleared { vhost, name, kind }])
        })
    }

    /// Puts a policy in whose virtual host is there.
    pub(super) fn put_policy(&mut self, vhost: &Name, policy: Policy) {
        let vhost = self.vhost_mut(vhost).expect("the virtual host was found before");
        let key = (policy.kind, policy.name.clone());
        vhost.policies.insert(key, Arc::new(policy));
    }

    /// Puts a whole set of policies in place of the one that is there, in one step: nothing is ever governed by some of both, and
    /// one policy that makes no sense refuses all of them.
    pub(super) fn replace_policies(
        &mut self,
        vhost: Name,
        policies: Vec<(PolicyKind, Name, PolicyDefinition)>,
    ) -> Result<Outcome, Refusal> {
        let view = self.vhost(&vhost)?;
        let wanted = read_set(view, policies)?;
        let gone = view.policies.keys().filter(|key| !wanted.contains_key(key));
        let mut facts: Vec<Fact> = gone
            .map(|(kind, name)| Fact::PolicyCleared {
                vhost: vhost.clone(),
                name: name.clone(),
                kind: *kind,
            })
            .collect();
        let new = wanted
            .iter()
            .filter(|(key, policy)| view.policies.get(*key) != Some(*policy));
        facts.extend(new.map(|(_, policy)| policy.fact(&vhost)));
        if facts.is_empty() {
            return Ok(Outcome::unchanged());
        }
        self.vhost_mut(&vhost)?.policies = wanted.into_iter().collect();
        let regulated_queues = self.govern_again(&vhost);
        Ok(Outcome {
            regulated_queues,
            ..Outcome::changed(facts)
        })
    }
}

/// Checks each policy of a set. One that is there already is taken as it is, so that its pattern is not compiled again.
fn read_set(
    view: &Vhost,
    policies: Vec<(PolicyKind, Name, PolicyDefinition)>,
) -> Result<BTreeMap<(PolicyKind, Name), Arc<Policy>>, Refusal> {
    let mut set = BTreeMap::new();
    for (kind, name, definition) in policies {
        let key = (kind, name.clone());
        let known = view.policies.get(&key);
        let policy = match known.filter(|known| known.definition == definition) {
            Some(known) => known.clone(),
            None => Arc::new(Policy::new(name, kind, definition).map_err(|refusal| Refusal {
                text: format!("policy '{}': {}", key.1, refusal.text),
                ..refusal
            })?),
        };
        if let Some(twice) = set.insert(key, policy) {
            let text = format!("policy '{}' is given twice", twice.name);
            return Err(Refusal::precondition_failed(text));
        }
    }
    Ok(set)
}
