//! What the configuration has declared, by name only, as the catalog remembers it.
//!
//! The text is JSON with a version in front. It is ours alone: nobody else writes or reads it.

use std::collections::BTreeSet;

use everack_broker::catalog::{PolicyKind, Snapshot, User};
use everack_broker::name::Name;
use serde::{Deserialize, Serialize};

use super::ROOT;
use crate::auth::authenticator::GUEST;
use crate::auth::password::GUEST_HASH;

const VERSION: u32 = 1;

/// Names of things. Names in a configuration are text, so nothing is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Items {
    /// Those with settings.
    pub(super) vhosts: BTreeSet<String>,
    pub(super) users: BTreeSet<String>,
    /// User and vhost.
    pub(super) permissions: BTreeSet<(String, String)>,
    /// User, vhost and exchange.
    pub(super) topic_permissions: BTreeSet<(String, String, String)>,
    /// Vhost, `policy` or `operator_policy`, name.
    pub(super) policies: BTreeSet<(String, String, String)>,
}

#[derive(Serialize, Deserialize)]
struct Versioned {
    version: u32,
    declared: Items,
}

impl Items {
    /// What was declared last.
    ///
    /// A catalog that remembers nothing is new, or was written when the configuration was the whole truth. Then all that it holds was
    /// declared, but for the user `guest` with its usual password, who was there by default.
    pub(super) fn remembered_by(catalog: &Snapshot) -> Self {
        match catalog.declared() {
            Some(text) => Self::from_text(text),
            None => Self::all_of(catalog),
        }
    }

    pub(super) fn to_text(&self) -> String {
        let versioned = Versioned {
            version: VERSION,
            declared: self.clone(),
        };
        serde_json::to_string(&versioned).expect("names are plain data")
    }

    /// What a later version has written says nothing to us; then nothing is revoked.
    fn from_text(text: &str) -> Self {
        let read = serde_json::from_str::<Versioned>(text).ok();
        let read = read.filter(|read| read.version == VERSION);
        read.map(|read| read.declared).unwrap_or_default()
    }

    fn all_of(catalog: &Snapshot) -> Self {
        let by_default = |user: &User| user.name.as_bytes() == GUEST && user.password_hash == GUEST_HASH;
        let guest = catalog.user(GUEST).filter(|guest| by_default(guest));
        let declared = |user: &Name| guest.is_none_or(|guest| guest.name != *user);
        let users = catalog.users().map(|user| &user.name);
        let permissions = catalog.all_permissions().filter(|held| declared(&held.user));
        let topics = catalog.topic_permissions().filter(|held| declared(&held.user));
        let root = catalog.vhost(ROOT);
        Self {
            vhosts: root.iter().map(|vhost| vhost.name().to_string()).collect(),
            users: users.filter(|user| declared(user)).map(Name::to_string).collect(),
            permissions: permissions
                .map(|held| (held.user.to_string(), held.vhost.to_string()))
                .collect(),
            topic_permissions: topics
                .map(|held| {
                    (
                        held.user.to_string(),
                        held.vhost.to_string(),
                        held.exchange.to_string(),
                    )
                })
                .collect(),
            policies: catalog
                .vhosts()
                .flat_map(|vhost| {
                    let policies = vhost.policies();
                    let items = policies.map(|policy| Self::policy(vhost.name(), policy.kind, &policy.name));
                    items.collect::<Vec<_>>()
                })
                .collect(),
        }
    }

    /// A policy, by name.
    pub(super) fn policy(vhost: &Name, kind: PolicyKind, name: &Name) -> (String, String, String) {
        let kind = match kind {
            PolicyKind::User => "policy",
            PolicyKind::Operator => "operator_policy",
        };
        (vhost.to_string(), kind.to_owned(), name.to_string())
    }
}
