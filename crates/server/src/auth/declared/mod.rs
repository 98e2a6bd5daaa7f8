//! What the configuration declares about vhosts, users, permissions, limits and policies, and the commands that bring a catalog to agree
//! with it: at the start and at each reload.
//!
//! What was made over the management API stays. The catalog remembers what the configuration has declared last, in the same step in which
//! it takes it over: so what is taken out of the file is revoked, and what never was in it is left alone. Vhosts stay, because messages are in
//! them; their settings become the usual ones again.

mod defaults;
mod items;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use everack_broker::catalog::{
    Access, Command, Guard, LimitName, LimitSet, NoAckGuard, Permissions, PolicyDefinition, PolicyKind,
    QueueKind, Snapshot, Unroutable, UserLimit, VhostLimit, VhostView, resource,
};
use everack_broker::name::Name;
use everack_broker::terms::Retention;

use self::items::Items;
use super::authenticator::GUEST;
use super::password::GUEST_HASH;
use crate::config::setting::{GuardChoice, Guest, PolicySort, QueueType, UnroutableFate};
use crate::config::table::default_entry;
use crate::config::{Config, keys};

/// The vhost that a new broker begins with.
const ROOT: &[u8] = b"/";
/// What an operator's user carries.
const ADMINISTRATOR: &str = "administrator";
/// The pattern of all names.
const ALL: &str = ".*";

/// Vhosts, users and policies as they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Without settings, where only something else in the file needs it.
    vhosts: BTreeMap<Name, Option<Vhost>>,
    users: BTreeMap<Name, User>,
    /// Whether there must not be a user `guest`.
    no_guest: bool,
    policies: BTreeMap<PolicyKey, PolicyDefinition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Vhost {
    limits: BTreeMap<VhostLimit, u64>,
    unroutable: Unroutable,
    default_queue_type: QueueKind,
    no_ack: NoAckGuard,
}

/// Vhost, kind and name of a policy.
pub type PolicyKey = (Name, PolicyKind, Name);

#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    password_hash: String,
    tags: Vec<String>,
    /// By vhost.
    permissions: BTreeMap<Name, Patterns>,
    /// Write and read, by vhost and exchange.
    topics: BTreeMap<(Name, Name), (String, String)>,
    limits: BTreeMap<UserLimit, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Patterns {
    configure: String,
    write: String,
    read: String,
}

impl Declared {
    /// What a configuration declares.
    pub fn by(config: &Config) -> Self {
        let mut users = BTreeMap::new();
        if matches!(config.auth.guest, Guest::Loopback | Guest::Anywhere) {
            users.insert(Name::new(GUEST), User::guest());
        }
        let listed = config.users.iter();
        users.extend(listed.map(|user| (name(&user.name.0), User::from(user))));
        let no_guest = config.auth.guest == Guest::Off && !users.contains_key(&Name::new(GUEST));
        let policies: BTreeMap<_, _> = config.policies.iter().map(policy).collect();
        let needed = users.values().flat_map(User::vhosts);
        let needed = needed.chain(policies.keys().map(|(vhost, ..)| vhost));
        let mut vhosts: BTreeMap<_, _> = needed.map(|vhost| (vhost.clone(), None)).collect();
        let listed = config.vhosts.iter();
        vhosts.extend(listed.map(|vhost| (name(&vhost.name.0), Some(Vhost::from(vhost)))));
        Self {
            vhosts,
            users,
            no_guest,
            policies,
        }
    }

    /// What to do, in this order and in one step, for a catalog to agree. Nothing if it does.
    pub fn commands_for(&self, catalog: &Snapshot) -> Vec<Command> {
        let last = Items::remembered_by(catalog);
        let mut commands = Vec::new();
        let missing = self.vhosts.keys().filter(|vhost| catalog.vhost(vhost).is_none());
        commands.extend(missing.map(|vhost| Command::DeclareVhost { vhost: vhost.clone() }));
        self.govern_vhosts(catalog, &last, &mut commands);
        self.revoke(catalog, &last, &mut commands);
        for (name, user) in &self.users {
            user.commands_for(name, catalog, &mut commands);
        }
        self.set_policies(catalog, &last, &mut commands);
        let declared = self.items().to_text();
        if catalog.declared() != Some(&declared) {
            commands.push(Command::RememberDeclared { declared });
        }
        commands
    }

    /// The first thing that one catalog has as declared and the other one, which came of it, has not; in words.
    pub fn undone(&self, before: &Snapshot, after: &Snapshot) -> Option<String> {
        let already = self.commands_for(before);
        let mut wanted = self.commands_for(after).into_iter();
        let first = wanted.find(|command| !already.contains(command))?;
        Some(self.describe(&first, after))
    }

    /// What a command would put right.
    fn describe(&self, command: &Command, catalog: &Snapshot) -> String {
        match command {
            Command::DeclareUser { user, .. } | Command::LimitUser { user, .. } => format!("user '{user}'"),
            Command::DeleteUser { user } => format!("that there is no user '{user}'"),
            Command::SetPermissions { user, vhost, .. } => {
                format!("the permissions of user '{user}' in vhost '{vhost}'")
            }
            Command::SetTopicPermission {
                user,
                vhost,
                exchange,
                ..
            } => {
                let exchange = resource("exchange", exchange, vhost);
                format!("the topic permissions of user '{user}' on {exchange}")
            }
            Command::ReplacePolicies { vhost, policies } => {
                let held = held_policies(catalog, vhost);
                let missing = policies.iter().find(|policy| !held.contains(policy));
                missing.map_or_else(
                    || format!("the policies of vhost '{vhost}'"),
                    |(kind, name, _)| describe_policy(*kind, name, vhost),
                )
            }
            Command::DeclareVhost { vhost }
            | Command::LimitVhost { vhost, .. }
            | Command::SetUnroutable { vhost, .. }
            | Command::SetDefaultQueueType { vhost, .. }
            | Command::GuardNoAck { vhost, .. } => format!("vhost '{vhost}'"),
            other => format!("{other:?}"),
        }
    }

    /// What to remember.
    fn items(&self) -> Items {
        let settled = self.vhosts.iter().filter(|(_, vhost)| vhost.is_some());
        let permissions = self.users.iter().flat_map(|(user, declared)| {
            let vhosts = declared.permissions.keys();
            vhosts.map(move |vhost| (user.to_string(), vhost.to_string()))
        });
        let topics = self.users.iter().flat_map(|(user, declared)| {
            let on = declared.topics.keys();
            on.map(move |(vhost, exchange)| (user.to_string(), vhost.to_string(), exchange.to_string()))
        });
        let policies = self.policies.keys();
        Items {
            vhosts: settled.map(|(vhost, _)| vhost.to_string()).collect(),
            users: self.users.keys().map(Name::to_string).collect(),
            permissions: permissions.collect(),
            topic_permissions: topics.collect(),
            policies: policies
                .map(|(vhost, kind, name)| Items::policy(vhost, *kind, name))
                .collect(),
        }
    }

    /// Takes away what was declared last and is not any more.
    fn revoke(&self, catalog: &Snapshot, last: &Items, commands: &mut Vec<Command>) {
        let last_users = last.users.iter().map(|user| name(user));
        let guest = self.no_guest.then(|| Name::new(GUEST));
        let users: BTreeSet<Name> = last_users
            .filter(|user| !self.users.contains_key(user))
            .chain(guest)
            .filter(|user| catalog.user(user).is_some())
            .collect();
        let stays = |user: &Name| !users.contains(user);
        commands.extend(
            users
                .iter()
                .map(|user| Command::DeleteUser { user: user.clone() }),
        );
        for (user, vhost) in &last.permissions {
            let (user, vhost) = (name(user), name(vhost));
            let declared = self.users.get(&user);
            let declared = declared.is_some_and(|user| user.permissions.contains_key(&vhost));
            if !declared && stays(&user) && catalog.permissions(&user, &vhost).is_some() {
                commands.push(Command::ClearPermissions { user, vhost });
            }
        }
        let held: BTreeSet<_> = catalog
            .topic_permissions()
            .map(|held| (&held.user, &held.vhost, &held.exchange))
            .collect();
        for (user, vhost, exchange) in &last.topic_permissions {
            let (user, place) = (name(user), (name(vhost), name(exchange)));
            let declared = self.users.get(&user);
            let declared = declared.is_some_and(|user| user.topics.contains_key(&place));
            if !declared && stays(&user) && held.contains(&(&user, &place.0, &place.1)) {
                commands.push(Command::ClearTopicPermissions {
                    user,
                    vhost: place.0,
                    exchange: Some(place.1),
                });
            }
        }
    }

    /// Settings of the vhosts that are declared; those that no longer are get the usual ones.
    fn govern_vhosts(&self, catalog: &Snapshot, last: &Items, commands: &mut Vec<Command>) {
        let usual = Vhost::usual();
        let last = last.vhosts.iter().map(|vhost| name(vhost));
        let left = last.filter(|vhost| !matches!(self.vhosts.get(vhost), Some(Some(_))));
        let left: Vec<Name> = left.filter(|vhost| catalog.vhost(vhost).is_some()).collect();
        let declared = self.vhosts.iter().map(|(vhost, declared)| {
            let new = catalog.vhost(vhost).is_none();
            (vhost, declared.as_ref().or(new.then_some(&usual)))
        });
        let declared = declared.filter_map(|(vhost, declared)| Some((vhost, declared?)));
        for (vhost, declared) in declared.chain(left.iter().map(|vhost| (vhost, &usual))) {
            declared.commands_for(vhost, catalog.vhost(vhost), commands);
        }
    }

    /// All policies of a virtual host are one command, so that nothing is governed by half of a new set.
    fn set_policies(&self, catalog: &Snapshot, last: &Items, commands: &mut Vec<Command>) {
        let declared = self.policies.keys().map(|(vhost, ..)| vhost.clone());
        let known = catalog.vhosts().map(|vhost| vhost.name().clone());
        let vhosts: BTreeSet<Name> = declared.chain(known).collect();
        for vhost in vhosts {
            let held = held_policies(catalog, &vhost);
            let others = held.iter().filter(|(kind, policy, _)| {
                let key = (vhost.clone(), *kind, policy.clone());
                let item = Items::policy(&vhost, *kind, policy);
                !last.policies.contains(&item) && !self.policies.contains_key(&key)
            });
            let declared = self.policies.iter().filter(|((place, ..), _)| *place == vhost);
            let declared =
                declared.map(|((_, kind, name), definition)| (*kind, name.clone(), definition.clone()));
            let mut policies: Vec<_> = others.cloned().chain(declared).collect();
            policies.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
            if held != policies {
                commands.push(Command::ReplacePolicies { vhost, policies });
            }
        }
    }
}

/// The policies of a vhost, by kind and name.
fn held_policies(catalog: &Snapshot, vhost: &Name) -> Vec<(PolicyKind, Name, PolicyDefinition)> {
    let view = catalog.vhost(vhost);
    let policies = view.iter().flat_map(|view| view.policies());
    let mut held: Vec<_> = policies
        .map(|policy| (policy.kind, policy.name.clone(), policy.definition.clone()))
        .collect();
    held.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
    held
}

fn describe_policy(kind: PolicyKind, name: &Name, vhost: &Name) -> String {
    let sort = match kind {
        PolicyKind::User => "policy",
        PolicyKind::Operator => "operator policy",
    };
    resource(sort, name, vhost)
}

impl Vhost {
    /// As a vhost is that nobody has said anything about.
    fn usual() -> Self {
        Self::from(&default_entry::<keys::Vhost>("vhosts", "{ name = '/' }"))
    }

    /// What to do for a vhost to have these settings.
    fn commands_for(&self, vhost: &Name, view: Option<VhostView>, commands: &mut Vec<Command>) {
        let Vhost {
            limits,
            unroutable,
            default_queue_type,
            no_ack,
        } = self;
        let held = view.as_ref().map(|view| view.no_ack_guard());
        if held.unwrap_or_default() != *no_ack {
            let (vhost, guard) = (vhost.clone(), *no_ack);
            commands.push(Command::GuardNoAck { vhost, guard });
        }
        let held = view.as_ref().map(|view| view.unroutable()).unwrap_or_default();
        if held != *unroutable {
            let (vhost, fate) = (vhost.clone(), *unroutable);
            commands.push(Command::SetUnroutable { vhost, fate });
        }
        let held = view.as_ref().map(|view| view.default_queue_type());
        if held.unwrap_or_default() != *default_queue_type {
            let (vhost, kind) = (vhost.clone(), *default_queue_type);
            commands.push(Command::SetDefaultQueueType { vhost, kind });
        }
        let held = view.map(|view| view.limits()).unwrap_or_default();
        commands.extend(differing(limits, held).map(|(limit, most)| Command::LimitVhost {
            vhost: vhost.clone(),
            limit,
            most,
        }));
    }
}

impl User {
    /// Where it may do something.
    fn vhosts(&self) -> impl Iterator<Item = &Name> {
        self.permissions
            .keys()
            .chain(self.topics.keys().map(|(vhost, _)| vhost))
    }

    fn commands_for(&self, user: &Name, catalog: &Snapshot, commands: &mut Vec<Command>) {
        let held = catalog.user(user);
        if held.is_none_or(|held| held.password_hash != self.password_hash || held.tags != self.tags) {
            commands.push(Command::DeclareUser {
                user: user.clone(),
                password_hash: self.password_hash.clone(),
                tags: self.tags.clone(),
            });
        }
        self.permit(user, catalog, commands);
        let held = held.map(|known| known.limits).unwrap_or_default();
        commands.extend(
            differing(&self.limits, held).map(|(limit, most)| Command::LimitUser {
                user: user.clone(),
                limit,
                most,
            }),
        );
    }

    /// Permissions and topic permissions.
    fn permit(&self, user: &Name, catalog: &Snapshot, commands: &mut Vec<Command>) {
        for (vhost, patterns) in &self.permissions {
            let held = catalog.permissions(user, vhost);
            if held.is_none_or(|held| Patterns::from(&*held) != *patterns) {
                commands.push(patterns.clone().set(user, vhost));
            }
        }
        let held = catalog.topic_permissions().filter(|held| held.user == *user);
        let held: BTreeMap<_, _> = held
            .map(|held| ((&held.vhost, &held.exchange), (&held.write, &held.read)))
            .collect();
        for ((vhost, exchange), (write, read)) in &self.topics {
            if held.get(&(vhost, exchange)) != Some(&(write, read)) {
                commands.push(Command::SetTopicPermission {
                    user: user.clone(),
                    vhost: vhost.clone(),
                    exchange: exchange.clone(),
                    write: write.clone(),
                    read: read.clone(),
                });
            }
        }
    }
}

impl Patterns {
    fn set(self, user: &Name, vhost: &Name) -> Command {
        Command::SetPermissions {
            user: user.clone(),
            vhost: vhost.clone(),
            configure: self.configure,
            write: self.write,
            read: self.read,
        }
    }
}

impl From<&keys::Vhost> for Vhost {
    fn from(vhost: &keys::Vhost) -> Self {
        Self {
            limits: set([
                (VhostLimit::Connections, vhost.max_connections.0),
                (VhostLimit::Queues, vhost.max_queues.0),
            ]),
            default_queue_type: match vhost.default_queue_type {
                QueueType::Classic => QueueKind::Classic,
                QueueType::Quorum => QueueKind::Quorum,
            },
            unroutable: match vhost.unroutable {
                UnroutableFate::Drop => Unroutable::Drop,
                UnroutableFate::Nack => Unroutable::Nack,
                UnroutableFate::Keep => Unroutable::Keep {
                    messages_max: vhost.unroutable_messages_max.get(),
                    bytes_max: vhost.unroutable_bytes_max.bytes(),
                },
            },
            no_ack: NoAckGuard {
                guard: match vhost.no_ack_guard {
                    GuardChoice::Allow => Guard::Allow,
                    GuardChoice::Warn => Guard::Warn,
                    GuardChoice::Retain => Guard::Retain,
                    GuardChoice::Deny => Guard::Deny,
                },
                retention: Retention {
                    millis: vhost.no_ack_retention.duration().as_millis() as u64,
                    messages_max: vhost.no_ack_retention_messages_max.get(),
                    bytes_max: vhost.no_ack_retention_bytes_max.bytes(),
                },
            },
        }
    }
}

impl From<&keys::User> for User {
    fn from(user: &keys::User) -> Self {
        let patterns = |entry: &keys::Permission| Patterns {
            configure: entry.configure.0.clone(),
            write: entry.write.0.clone(),
            read: entry.read.0.clone(),
        };
        Self {
            password_hash: user.password_hash.0.clone(),
            tags: user.tags.0.clone(),
            permissions: user
                .permissions
                .iter()
                .map(|entry| (name(&entry.vhost.0), patterns(entry)))
                .collect(),
            topics: user
                .topic_permissions
                .iter()
                .map(|entry| {
                    let key = (name(&entry.vhost.0), name(&entry.exchange.0));
                    (key, (entry.write.0.clone(), entry.read.0.clone()))
                })
                .collect(),
            limits: set([
                (UserLimit::Connections, user.max_connections.0),
                (UserLimit::Channels, user.max_channels.0),
            ]),
        }
    }
}

impl From<&Permissions> for Patterns {
    fn from(held: &Permissions) -> Self {
        let source = |access| held.pattern_source(access).to_owned();
        Self {
            configure: source(Access::Configure),
            write: source(Access::Write),
            read: source(Access::Read),
        }
    }
}

/// A policy of the configuration as the catalog knows it.
pub fn policy(entry: &keys::Policy) -> (PolicyKey, PolicyDefinition) {
    let kind = match entry.kind {
        PolicySort::User => PolicyKind::User,
        PolicySort::Operator => PolicyKind::Operator,
    };
    let definition = PolicyDefinition {
        pattern: entry.pattern.clone(),
        apply_to: entry.apply_to.0,
        priority: entry.priority.0,
        settings: entry.definition.0.clone(),
    };
    ((name(&entry.vhost.0), kind, name(&entry.name.0)), definition)
}

/// The limits that are there at all.
fn set<L: Ord>(limits: [(L, Option<u64>); 2]) -> BTreeMap<L, u64> {
    let there = limits.into_iter();
    there.filter_map(|(limit, most)| Some((limit, most?))).collect()
}

/// What to set so that the limits held are the declared ones.
fn differing<L: LimitName + Ord>(
    declared: &BTreeMap<L, u64>,
    held: LimitSet<L>,
) -> impl Iterator<Item = (L, Option<u64>)> {
    let wanted = L::ALL.map(|(limit, _)| (limit, declared.get(&limit).copied()));
    wanted
        .into_iter()
        .filter(move |(limit, most)| held.most(*limit) != *most)
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes())
}
