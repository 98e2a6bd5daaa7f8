//! What the configuration declares about vhosts, users and permissions, in the catalog's terms,
//! and what has to change in a catalog for it to agree.

use std::collections::{BTreeMap, BTreeSet};

use super::authenticator::GUEST;
use super::password::GUEST_HASH;
use crate::config::Config;
use crate::config::setting::Guest;

/// A user as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// PHC text.
    pub password_hash: String,
    /// Labels such as `administrator`.
    pub tags: Vec<String>,
    /// By vhost: configure, write, read.
    pub permissions: BTreeMap<String, Permission>,
}

/// Three regular expressions over names of exchanges and queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// What may be declared, deleted and bound.
    pub configure: String,
    /// What may be published to.
    pub write: String,
    /// What may be consumed from.
    pub read: String,
}

/// The state that is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Always with `/`.
    pub vhosts: BTreeSet<String>,
    /// By name.
    pub users: BTreeMap<String, User>,
}

/// One change to make in the catalog, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create a vhost.
    CreateVhost(String),
    /// Create or replace a user's hash and tags.
    PutUser(String, User),
    /// Delete a user together with its permissions.
    DeleteUser(String),
    /// Set or replace permissions.
    PutPermission {
        /// The user's name.
        user: String,
        /// The vhost's name.
        vhost: String,
        /// The patterns.
        permission: Permission,
    },
    /// Take all permissions in a vhost away.
    ClearPermission {
        /// The user's name.
        user: String,
        /// The vhost's name.
        vhost: String,
    },
}

impl Declared {
    /// What a configuration declares, `guest` included.
    pub fn by(config: &Config) -> Self {
        let mut vhosts: BTreeSet<String> = config.vhosts.iter().map(|vhost| vhost.name.0.clone()).collect();
        vhosts.insert("/".to_owned());
        let mut users = BTreeMap::new();
        if config.auth.guest != Guest::Off {
            users.insert(String::from_utf8_lossy(GUEST).into_owned(), guest());
        }
        users.extend(
            config
                .users
                .iter()
                .map(|user| (user.name.0.clone(), from_keys(user))),
        );
        Self { vhosts, users }
    }

    /// The steps from what a catalog holds to what is declared. Users that are not declared go, so
    /// that taking one out of the file revokes it; vhosts stay, because messages are in them.
    pub fn steps_from(&self, held: &Self) -> Vec<Step> {
        let mut steps = Vec::new();
        steps.extend(
            self.vhosts
                .difference(&held.vhosts)
                .cloned()
                .map(Step::CreateVhost),
        );
        steps.extend(
            held.users
                .keys()
                .filter(|name| !self.users.contains_key(*name))
                .cloned()
                .map(Step::DeleteUser),
        );
        for (name, user) in &self.users {
            user_steps(name, user, held.users.get(name), &mut steps);
        }
        steps
    }
}

fn user_steps(name: &str, user: &User, held: Option<&User>, steps: &mut Vec<Step>) {
    let same = held.is_some_and(|held| held.password_hash == user.password_hash && held.tags == user.tags);
    if !same {
        steps.push(Step::PutUser(name.to_owned(), user.clone()));
    }
    let none = BTreeMap::new();
    let held = held.map_or(&none, |held| &held.permissions);
    for vhost in held.keys().filter(|vhost| !user.permissions.contains_key(*vhost)) {
        steps.push(Step::ClearPermission {
            user: name.to_owned(),
            vhost: vhost.clone(),
        });
    }
    for (vhost, permission) in user
        .permissions
        .iter()
        .filter(|(vhost, new)| held.get(*vhost) != Some(new))
    {
        let (user, vhost, permission) = (name.to_owned(), vhost.clone(), permission.clone());
        steps.push(Step::PutPermission {
            user,
            vhost,
            permission,
        });
    }
}

fn guest() -> User {
    let all = || ".*".to_owned();
    let everything = Permission {
        configure: all(),
        write: all(),
        read: all(),
    };
    User {
        password_hash: GUEST_HASH.to_owned(),
        tags: vec!["administrator".to_owned()],
        permissions: BTreeMap::from([("/".to_owned(), everything)]),
    }
}

fn from_keys(user: &crate::config::keys::User) -> User {
    let permission = |entry: &crate::config::keys::Permission| {
        let configure = entry.configure.0.clone();
        (
            entry.vhost.0.clone(),
            Permission {
                configure,
                write: entry.write.0.clone(),
                read: entry.read.0.clone(),
            },
        )
    };
    User {
        password_hash: user.password_hash.0.clone(),
        tags: user.tags.0.clone(),
        permissions: user.permissions.iter().map(permission).collect(),
    }
}
