//! A user: a name, a password's hash and tags. Checking a password is the process's business, not the catalog's.

use super::limit::{LimitSet, UserLimit};
use crate::name::Name;

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Unique in the broker.
    pub name: Name,
    /// Opaque here; empty when the user cannot log in with a password.
    pub password_hash: String,
    /// Such as `administrator`.
    pub tags: Vec<String>,
    /// How many of a thing it may have at once.
    pub limits: LimitSet<UserLimit>,
}

impl User {
    /// Whether the user carries that tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|candidate| candidate == tag)
    }
}
