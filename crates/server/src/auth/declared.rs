//! What the configuration declares about vhosts, users and permissions, and the commands that bring a catalog to agree
//! with it: at the start and at each reload.
//!
//! Users that are not declared are deleted, so that taking one out of the file revokes it. Vhosts stay, because
//! messages are in them.

use std::collections::{BTreeMap, BTreeSet};

use everack_broker::catalog::{Access, Command, Permissions, Snapshot};
use everack_broker::name::Name;

use super::authenticator::GUEST;
use super::password::GUEST_HASH;
use crate::config::setting::Guest;
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
    vhosts: BTreeSet<Name>,
    users: BTreeMap<Name, User>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    password_hash: String,
    tags: Vec<String>,
    /// By vhost.
    permissions: BTreeMap<Name, Patterns>,
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
        let mut vhosts: BTreeSet<Name> = config.vhosts.iter().map(|vhost| name(&vhost.name.0)).collect();
        vhosts.insert(Name::new(ROOT));
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
        Self { vhosts, users }
    }

    /// What to do, in this order, for a catalog to agree. Nothing if it does.
    pub fn commands_for(&self, catalog: &Snapshot) -> Vec<Command> {
        let mut commands = Vec::new();
        let missing = self.vhosts.iter().filter(|vhost| catalog.vhost(vhost).is_none());
        commands.extend(missing.map(|vhost| Command::DeclareVhost { vhost: vhost.clone() }));
        let undeclared = catalog
            .users()
            .filter(|user| !self.users.contains_key(&user.name));
        commands.extend(undeclared.map(|user| Command::DeleteUser {
            user: user.name.clone(),
        }));
        for (name, user) in &self.users {
            user.commands_for(name, catalog, &mut commands);
        }
        commands
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
        }
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
                other => panic!("{other:?}"),
            });
            catalog.apply(command).unwrap();
        }
        done
    }

    #[test]
    fn brings_the_catalog_to_agree() {
        let mut catalog = Catalog::new(Options {
            partitions: 1,
            hash_key: 1,
        });
        let mut check = |text: &str, expected: &[&str]| {
            let text = text.replace("HASH", HASH);
            assert_eq!(apply(&mut catalog, &text), expected, "{text}");
            let again = Declared::by(&config(&text)).commands_for(&catalog.snapshot());
            assert_eq!(again, [], "the second time there is nothing to do: {text}");
        };
        let guest = [
            "user guest [\"administrator\"]",
            "guest in /: \".*\" \".*\" \".*\"",
        ];
        check("", &[&["vhost /"], &guest[..]].concat());
        let ann = "[[vhosts]]\nname = 'shop'\n[[users]]\nname = 'ann'\npassword_hash = 'HASH'\n";
        check(
            &format!("{ann}[[users.permissions]]\nvhost = 'shop'\nwrite = '^orders$'"),
            &["vhost shop", "user ann []", "ann in shop: \"\" \"^orders$\" \"\""],
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
