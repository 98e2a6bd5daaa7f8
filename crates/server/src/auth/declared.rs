//! What the configuration declares about vhosts, users, permissions, limits and policies, and the commands that bring a catalog to agree
//! with it: at the start and at each reload.
//!
//! Users that are not declared are deleted, so that taking one out of the file revokes it. Vhosts stay, because
//! messages are in them.

use std::collections::{BTreeMap, BTreeSet};

use everack_broker::catalog::{
    Access, Command, Guard, LimitName, LimitSet, NoAckGuard, Permissions, PolicyDefinition, PolicyKind,
    QueueKind, Snapshot, Unroutable, UserLimit, VhostLimit,
};
use everack_broker::name::Name;
use everack_broker::terms::Retention;

use super::authenticator::GUEST;
use super::password::GUEST_HASH;
use crate::config::setting::{GuardChoice, Guest, PolicySort, QueueType, UnroutableFate};
use crate::config::table::default_entry;
use crate::config::{Config, keys};

/// The vhost that is always there.
const ROOT: &[u8] = b"/";
/// What an operator's user carries.
const ADMINISTRATOR: &str = "administrator";
/// The pattern of all names.
const ALL: &str = ".*";

/// Vhosts and users as they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    vhosts: BTreeMap<Name, Vhost>,
    users: BTreeMap<Name, User>,
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
    /// What a configuration declares, the vhost `/` and `guest` included.
    pub fn by(config: &Config) -> Self {
        let root: keys::Vhost = default_entry("vhosts", "{ name = '/' }");
        let mut vhosts = BTreeMap::from([(Name::new(ROOT), Vhost::from(&root))]);
        vhosts.extend(
            config
                .vhosts
                .iter()
                .map(|vhost| (name(&vhost.name.0), Vhost::from(vhost))),
        );
        let mut users = BTreeMap::new();
        if config.auth.guest != Guest::Off {
            users.insert(Name::new(GUEST), User::guest());
        }
        users.extend(
            config
                .users
                .iter()
                .map(|user| (name(&user.name.0), User::from(user))),
        );
        let policies = config.policies.iter().map(policy).collect();
        Self {
            vhosts,
            users,
            policies,
        }
    }

    /// What to do, in this order, for a catalog to agree. Nothing if it does.
    pub fn commands_for(&self, catalog: &Snapshot) -> Vec<Command> {
        let mut commands = Vec::new();
        let missing = self.vhosts.keys().filter(|vhost| catalog.vhost(vhost).is_none());
        commands.extend(missing.map(|vhost| Command::DeclareVhost { vhost: vhost.clone() }));
        self.govern_vhosts(catalog, &mut commands);
        let undeclared = catalog
            .users()
            .filter(|user| !self.users.contains_key(&user.name));
        commands.extend(undeclared.map(|user| Command::DeleteUser {
            user: user.name.clone(),
        }));
        for (name, user) in &self.users {
            user.commands_for(name, catalog, &mut commands);
            user.govern(name, catalog, &mut commands);
        }
        self.set_policies(catalog, &mut commands);
        commands
    }

    fn govern_vhosts(&self, catalog: &Snapshot, commands: &mut Vec<Command>) {
        for (vhost, declared) in &self.vhosts {
            let Vhost {
                limits,
                unroutable,
                default_queue_type,
                no_ack,
            } = declared;
            let view = catalog.vhost(vhost);
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

    /// All policies of a virtual host are one command, so that nothing is governed by half of a new set.
    fn set_policies(&self, catalog: &Snapshot, commands: &mut Vec<Command>) {
        let declared = self.policies.keys().map(|(vhost, _, _)| vhost.clone());
        let known = catalog.vhosts().map(|vhost| vhost.name().clone());
        let vhosts: BTreeSet<Name> = declared.chain(known).collect();
        for vhost in vhosts {
            let wanted = self.policies.iter().filter(|((place, _, _), _)| *place == vhost);
            let wanted: Vec<_> = wanted
                .map(|((_, kind, name), definition)| (*kind, name.clone(), definition.clone()))
                .collect();
            let view = catalog.vhost(&vhost);
            let mut held: Vec<_> = view
                .iter()
                .flat_map(|view| view.policies())
                .map(|policy| (policy.kind, policy.name.clone(), policy.definition.clone()))
                .collect();
            held.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
            if held != wanted {
                let policies = wanted;
                commands.push(Command::ReplacePolicies { vhost, policies });
            }
        }
    }
}

impl User {
    fn guest() -> Self {
        let everything = Patterns {
            configure: ALL.to_owned(),
            write: ALL.to_owned(),
            read: ALL.to_owned(),
        };
        Self {
            password_hash: GUEST_HASH.to_owned(),
            tags: vec![ADMINISTRATOR.to_owned()],
            permissions: BTreeMap::from([(Name::new(ROOT), everything)]),
            topics: BTreeMap::new(),
            limits: BTreeMap::new(),
        }
    }

    /// Topic permissions and limits.
    fn govern(&self, user: &Name, catalog: &Snapshot, commands: &mut Vec<Command>) {
        let held = catalog.topic_permissions().filter(|held| held.user == *user);
        let held: BTreeMap<_, _> = held
            .map(|held| {
                let key = (held.vhost.clone(), held.exchange.clone());
                (key, (held.write.clone(), held.read.clone()))
            })
            .collect();
        let gone = held.keys().filter(|key| !self.topics.contains_key(key));
        commands.extend(
            gone.cloned()
                .map(|(vhost, exchange)| Command::ClearTopicPermissions {
                    user: user.clone(),
                    vhost,
                    exchange: Some(exchange),
                }),
        );
        let new = self
            .topics
            .iter()
            .filter(|(key, patterns)| held.get(key) != Some(patterns));
        commands.extend(
            new.map(|((vhost, exchange), (write, read))| Command::SetTopicPermission {
                user: user.clone(),
                vhost: vhost.clone(),
                exchange: exchange.clone(),
                write: write.clone(),
                read: read.clone(),
            }),
        );
        let held = catalog.user(user).map(|known| known.limits).unwrap_or_default();
        commands.extend(
            differing(&self.limits, held).map(|(limit, most)| Command::LimitUser {
                user: user.clone(),
                limit,
                most,
            }),
        );
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
        let held = catalog
            .all_permissions()
            .filter(|permissions| permissions.user == *user);
        let gone = held.filter(|held| !self.permissions.contains_key(&held.vhost));
        commands.extend(gone.map(|held| Command::ClearPermissions {
            user: user.clone(),
            vhost: held.vhost.clone(),
        }));
        for (vhost, patterns) in &self.permissions {
            let held = catalog.permissions(user, vhost);
            if held.is_none_or(|held| Patterns::from(&*held) != *patterns) {
                let (user, vhost) = (user.clone(), vhost.clone());
                let Patterns {
                    configure,
                    write,
                    read,
                } = patterns.clone();
                commands.push(Command::SetPermissions {
                    user,
                    vhost,
                    configure,
                    write,
                    read,
                });
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use everack_broker::catalog::{Catalog, Options};

    const HASH: &str = GUEST_HASH;

    fn config(text: &str) -> Config {
        crate::config::parse(std::path::Path::new("everack.toml"), text).unwrap()
    }

    /// Brings the catalog to agree with a configuration; what was done, one line a command.
    fn apply(catalog: &mut Catalog, text: &str) -> Vec<String> {
        let commands = Declared::by(&config(text)).commands_for(&catalog.snapshot());
        let mut done = Vec::new();
        for command in commands {
            done.push(match &command {
                Command::DeclareVhost { vhost } => format!("vhost {vhost}"),
                Command::DeclareUser { user, tags, .. } => format!("user {user} {tags:?}"),
                Command::DeleteUser { user } => format!("no user {user}"),
                Command::SetPermissions {
                    user,
                    vhost,
                    configure,
                    write,
                    read,
                } => {
                    format!("{user} in {vhost}: {configure:?} {write:?} {read:?}")
                }
                Command::ClearPermissions { user, vhost } => format!("{user} not in {vhost}"),
                Command::SetUnroutable { vhost, fate } => format!("{vhost}: {fate:?}"),
                Command::SetDefaultQueueType { vhost, kind } => format!("{vhost}: {kind:?} queues"),
                Command::GuardNoAck { vhost, guard } => format!("{vhost}: {:?}", guard.guard),
                Command::LimitVhost { vhost, limit, most } => format!("{vhost}: {limit:?} {most:?}"),
                Command::LimitUser { user, limit, most } => format!("{user}: {limit:?} {most:?}"),
                Command::SetTopicPermission {
                    user,
                    exchange,
                    write,
                    read,
                    ..
                } => format!("{user} on {exchange}: {write:?} {read:?}"),
                Command::ClearTopicPermissions { user, exchange, .. } => {
                    format!("{user} not on {}", exchange.as_ref().unwrap())
                }
                Command::ReplacePolicies { vhost, policies } => {
                    let policies = policies.iter().map(
                        |(
                            kind,
                            name,
                            PolicyDefinition {
                                pattern, apply_to, ..
                            },
                        )| { format!(" {kind:?} {name} {pattern:?} {apply_to};") },
                    );
                    format!("policies of {vhost}:{}", policies.collect::<String>())
                }
                other => panic!("{other:?}"),
            });
            catalog.apply(command).unwrap();
        }
        done
    }

    /// What is done to a catalog for it to agree with the file, the first time and no more.
    #[track_caller]
    fn check(catalog: &mut Catalog, text: &str, expected: &[&str]) {
        let text = text.replace("HASH", HASH);
        assert_eq!(apply(catalog, &text), expected, "{text}");
        let again = Declared::by(&config(&text)).commands_for(&catalog.snapshot());
        assert_eq!(again, [], "the second time there is nothing to do: {text}");
    }

    #[test]
    fn brings_the_catalog_to_agree() {
        let mut catalog = Catalog::new(Options {
            partitions: 1,
            hash_key: 1,
        });
        let mut check = |text: &str, expected: &[&str]| check(&mut catalog, text, expected);
        let guest = [
            "user guest [\"administrator\"]",
            "guest in /: \".*\" \".*\" \".*\"",
        ];
        check(
            "",
            &[
                &["vhost /", "/: Keep { messages_max: 10000, bytes_max: 16777216 }"],
                &guest[..],
            ]
            .concat(),
        );
        let ann = "[[vhosts]]\nname = 'shop'\n[[users]]\nname = 'ann'\npassword_hash = 'HASH'\n";
        check(
            &format!("{ann}[[users.permissions]]\nvhost = 'shop'\nwrite = '^orders$'"),
            &[
                "vhost shop",
                "shop: Keep { messages_max: 10000, bytes_max: 16777216 }",
                "user ann []",
                "ann in shop: \"\" \"^orders$\" \"\"",
            ],
        );
        check(
            &format!("{ann}tags = ['monitoring']\n[[users.permissions]]\nread = 'x'"),
            &[
                "user ann [\"monitoring\"]",
                "ann not in shop",
                "ann in /: \"\" \"\" \"x\"",
            ],
        );
        check("[auth]\nguest = 'off'", &["no user ann", "no user guest"]);
        check("", &guest);
        assert!(
            catalog.snapshot().vhost(b"shop").is_some(),
            "a vhost is never deleted by omission"
        );
    }

    #[test]
    fn governs_as_the_file_says() {
        let mut catalog = Catalog::new(Options {
            partitions: 1,
            hash_key: 1,
        });
        let mut check = |text: &str, expected: &[&str]| check(&mut catalog, text, expected);
        let off = "[auth]\nguest = 'off'\n";
        check(
            off,
            &["vhost /", "/: Keep { messages_max: 10000, bytes_max: 16777216 }"],
        );
        let user = "[[users]]\nname = 'ann'\npassword_hash = 'HASH'\n";
        check(
            &format!(
                "{off}[[vhosts]]\nname = '/'\nmax_queues = 5\nunroutable = 'nack'\ndefault_queue_type = 'quorum'\nno_ack_guard = 'deny'\n{user}max_channels = 3\n\
                 [[users.topic_permissions]]\nexchange = 'amq.topic'\nwrite = '^{{username}}'\n\
                 [[policies]]\nname = 'p'\npattern = '^q'\ndefinition = {{ max-length = 5 }}\n\
                 [[policies]]\nname = 'p'\npattern = ''\nkind = 'operator'\napply_to = 'queues'\n\
                 definition = {{ expires = 1000 }}"
            ),
            &[
                "/: Deny",
                "/: Nack",
                "/: Quorum queues",
                "/: Queues Some(5)",
                "user ann []",
                "ann on amq.topic: \"^{username}\" \"\"",
                "ann: Channels Some(3)",
                "policies of /: User p \"^q\" all; Operator p \"\" queues;",
            ],
        );
        check(
            &format!(
                "{off}{user}[[policies]]\nname = 'p'\npattern = '^r'\ndefinition = {{ max-length = 5 }}"
            ),
            &[
                "/: Warn",
                "/: Keep { messages_max: 10000, bytes_max: 16777216 }",
                "/: Classic queues",
                "/: Queues None",
                "ann not on amq.topic",
                "ann: Channels None",
                "policies of /: User p \"^r\" all;",
            ],
        );
        check(off, &["no user ann", "policies of /:"]);
    }

    #[test]
    fn no_queue_is_governed_by_half_of_a_new_set() {
        let mut catalog = Catalog::new(Options {
            partitions: 1,
            hash_key: 1,
        });
        let policies = |of_all: &str, of_queue: &str, gone: &str| {
            format!(
                "[[policies]]\nname = 'all'\npattern = ''\n{of_all}\n\
                 [[policies]]\nname = 'queue'\npattern = '^q$'\npriority = 1\n{of_queue}\n\
                 [[policies]]\nname = '{gone}'\nkind = 'operator'\npattern = ''\ndefinition = {{ max-length = 9 }}\n"
            )
        };
        let old = policies(
            "definition = { max-length = 1 }",
            "definition = { max-length = 7, overflow = 'reject-publish' }",
            "bound",
        );
        let new = policies(
            "definition = { max-length = 2 }",
            "definition = { max-length = 20, overflow = 'drop-head' }",
            "limit",
        );
        let (old, new) = (Declared::by(&config(&old)), Declared::by(&config(&new)));
        for command in old.commands_for(&catalog.snapshot()) {
            catalog.apply(command).unwrap();
        }
        let queue = everack_broker::catalog::DeclareQueue {
            vhost: "/".into(),
            name: "q".into(),
            durable: true,
            ..Default::default()
        };
        catalog.apply(Command::DeclareQueue(queue)).unwrap();
        let governed = |catalog: &Catalog| {
            let snapshot = catalog.snapshot();
            let view = snapshot.vhost(b"/").unwrap();
            view.queue(b"q").unwrap().governance.clone()
        };
        let mut seen = vec![governed(&catalog)];
        for command in new.commands_for(&catalog.snapshot()) {
            let told = catalog.apply(command).unwrap().regulated_queues.len();
            assert!(told <= 1);
            seen.push(governed(&catalog));
        }
        seen.dedup();
        assert_eq!(seen.len(), 2, "the old set, then the new one: {seen:#?}");
    }

    #[test]
    fn guest_may_have_a_password_of_its_own() {
        let declared = Declared::by(&config(&format!(
            "[[users]]\nname = 'guest'\npassword_hash = '{}'",
            crate::auth::password::NOBODY_HASH
        )));
        let guest = &declared.users[&Name::new(GUEST)];
        assert_eq!(guest.password_hash, crate::auth::password::NOBODY_HASH);
        assert!(guest.permissions.is_empty());
    }
}
