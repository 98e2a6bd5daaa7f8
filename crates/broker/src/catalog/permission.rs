//! What a user may do in one virtual host: three patterns of names, compiled once.
//!
//! A pattern is a regular expression that is found anywhere in the name unless it is anchored; the empty one matches the
//! empty name only. The default exchange goes by `amq.default`. Look-around and back-references, which RabbitMQ's engine
//! knows, are refused when a permission is set, since they can take time without bound.

use regex::bytes::{Regex, RegexBuilder};

use super::fact::Fact;
use super::refusal::{Refusal, resource};
use crate::name::Name;

/// The permissions of one user in one virtual host.
#[derive(Clone, Debug)]
pub struct Permissions {
    /// Whose.
    pub user: Name,
    /// Where.
    pub vhost: Name,
    configure: Pattern,
    write: Pattern,
    read: Pattern,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Declare or delete.
    Configure,
    /// Publish to an exchange, bind a destination.
    Write,
    /// Consume from a queue, bind a source.
    Read,
}

/// What it is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A queue of that name.
    Queue(&'a [u8]),
    /// An exchange of that name; the empty name is the default exchange.
    Exchange(&'a [u8]),
}

#[derive(Clone, Debug)]
pub(super) struct Pattern {
    source: String,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    Everything,
    EmptyName,
    Expression(Regex),
}

/// Bounds what a pattern may cost in memory once compiled.
const COMPILED_BYTES_MAX: usize = 1 << 20;

impl Permissions {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// A pattern that is not a regular expression, or not one that can be matched in linear time.
    pub fn new(user: Name, vhost: Name, configure: &str, write: &str, read: &str) -> Result<Self, Refusal> {
        let [configure, write, read] = [configure, write, read].map(Pattern::new);
        Ok(Self {
            user,
            vhost,
            configure: configure?,
            write: write?,
            read: read?,
        })
    }

    /// Whether the user may declare and delete what has this name.
    pub fn may_configure(&self, name: &[u8]) -> bool {
        self.configure.matches(name)
    }

    /// Whether the user may publish to, or bind to, what has this name.
    pub fn may_write(&self, name: &[u8]) -> bool {
        self.write.matches(name)
    }

    /// Whether the user may consume from, or bind from, what has this name.
    pub fn may_read(&self, name: &[u8]) -> bool {
        self.read.matches(name)
    }

    /// Whether the user may do that.
    pub fn may(&self, access: Access, resource: Resource<'_>) -> bool {
        self.pattern(access).matches(resource.name())
    }

    /// Refuses what the user may not do, in RabbitMQ's words.
    pub fn require(&self, access: Access, resource: Resource<'_>) -> Result<(), Refusal> {
        if self.may(access, resource) {
            Ok(())
        } else {
            Err(refused(access, resource, &self.vhost, &self.user))
        }
    }

    /// The pattern as it was set.
    pub fn pattern_source(&self, access: Access) -> &str {
        &self.pattern(access).source
    }

    /// What the log keeps of it.
    pub(crate) fn fact(&self) -> Fact {
        let source = |access| self.pattern_source(access).to_owned();
        let [configure, write, read] = [Access::Configure, Access::Write, Access::Read].map(source);
        Fact::PermissionsSet {
            user: self.user.clone(),
            vhost: self.vhost.clone(),
            configure,
            write,
            read,
        }
    }

    fn pattern(&self, access: Access) -> &Pattern {
        match access {
            Access::Configure => &self.configure,
            Access::Write => &self.write,
            Access::Read => &self.read,
        }
    }
}

impl PartialEq for Permissions {
    fn eq(&self, other: &Self) -> bool {
        let sources = |permissions: &Self| {
            [Access::Configure, Access::Write, Access::Read]
                .map(|access| permissions.pattern_source(access).to_owned())
        };
        self.user == other.user && self.vhost == other.vhost && sources(self) == sources(other)
    }
}

impl Resource<'_> {
    fn name(&self) -> &[u8] {
        match self {
            Resource::Queue(name) => name,
            Resource::Exchange(b"") => b"amq.default",
            Resource::Exchange(name) => name,
        }
    }
}

/// The refusal of a user who lacks the permission.
pub(crate) fn refused(access: Access, what: Resource<'_>, vhost: &Name, user: &Name) -> Refusal {
    let kind = if matches!(what, Resource::Queue(_)) {
        "queue"
    } else {
        "exchange"
    };
    let access = match access {
        Access::Configure => "configure",
        Access::Write => "write",
        Access::Read => "read",
    };
    let what = resource(kind, what.name(), vhost);
    Refusal::access_refused(format!("{access} access to {what} refused for user '{user}'"))
}

impl Pattern {
    pub(super) fn new(source: &str) -> Result<Self, Refusal> {
        let matcher = match source {
            "" => Matcher::EmptyName,
            ".*" | "^.*" | "^.*$" => Matcher::Everything,
            source => {
                let compiled = RegexBuilder::new(source)
                    .unicode(false)
                    .size_limit(COMPILED_BYTES_MAX)
                    .build();
                let compiled = compiled.map_err(|error| {
                    let reason = error.to_string();
                    let reason = reason.lines().last().unwrap_or_default();
                    Refusal::precondition_failed(format!("invalid permission pattern '{source}': {reason}"))
                })?;
                Matcher::Expression(compiled)
            }
        };
        Ok(Self {
            source: source.to_owned(),
            matcher,
        })
    }

    pub(super) fn matches(&self, name: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Everything => true,
            Matcher::EmptyName => name.is_empty(),
            Matcher::Expression(expression) => expression.is_match(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        fn check(pattern: &str, hits: &[&str], misses: &[&str]) {
            let pattern = Pattern::new(pattern).expect("a pattern");
            for hit in hits {
                assert!(
                    pattern.matches(hit.as_bytes()),
                    "{} should match {hit}",
                    pattern.source
                );
            }
            for miss in misses {
                assert!(
                    !pattern.matches(miss.as_bytes()),
                    "{} should not match {miss}",
                    pattern.source
                );
            }
        }
        check("", &[""], &["a"]);
        check(".*", &["", "a"], &[]);
        check("^$", &[""], &["a"]);
        check("b", &["b", "abc"], &["", "a"]);
        check("^b", &["b", "bc"], &["ab"]);
        check(
            "^shop-(orders|stock)$",
            &["shop-orders"],
            &["shop-orders2", "x-shop-stock"],
        );
        check("käse", &["ein käse"], &["kase"]);
    }

    #[test]
    fn the_default_exchange_has_a_name_here() {
        let permissions = |write| Permissions::new("u".into(), "/".into(), "", write, "").expect("patterns");
        assert!(permissions("^amq\\.default$").may(Access::Write, Resource::Exchange(b"")));
        assert!(!permissions("").may(Access::Write, Resource::Exchange(b"")));
        let refusal = permissions("")
            .require(Access::Write, Resource::Exchange(b""))
            .expect_err("refused");
        assert_eq!(
            refusal.text,
            "write access to exchange 'amq.default' in vhost '/' refused for user 'u'"
        );
    }

    #[test]
    fn what_cannot_be_matched_in_linear_time_is_refused() {
        let refusal = Pattern::new("^(?!amq).*").expect_err("refused");
        assert_eq!(
            refusal.text,
            "invalid permission pattern '^(?!amq).*': error: look-around, including look-ahead and look-behind, is not supported"
        );
    }
}
