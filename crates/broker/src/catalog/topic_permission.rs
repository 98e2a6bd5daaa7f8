//! What a user may say and hear on a topic exchange: two patterns of routing keys, asked on top of the permissions.
//!
//! Only an exchange that has them asks; without them the permissions are enough. `{username}` and `{vhost}` in a pattern stand
//! for the user's and the virtual host's name, taken literally, so that a name with a dot in it widens nothing.

use super::fact::Fact;
use super::permission::{Access, Pattern};
use super::refusal::{Refusal, resource};
use crate::name::Name;

/// The topic permissions of one user on one exchange.
#[derive(Clone, Debug)]
pub struct TopicPermission {
    /// Whose.
    pub user: Name,
    /// Where.
    pub vhost: Name,
    /// On which exchange, which need not exist.
    pub exchange: Name,
    /// As set: routing keys that may be published with.
    pub write: String,
    /// As set: routing keys that may be bound with.
    pub read: String,
    write_pattern: Pattern,
    read_pattern: Pattern,
}

impl TopicPermission {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// A pattern that is not a regular expression, or not one that can be matched in linear time.
    pub fn new(
        user: Name,
        vhost: Name,
        exchange: Name,
        write: String,
        read: String,
    ) -> Result<Self, Refusal> {
        let pattern = |source: &str| Pattern::new(&expanded(source, &user, &vhost));
        let (write_pattern, read_pattern) = (pattern(&write)?, pattern(&read)?);
        Ok(Self {
            user,
            vhost,
            exchange,
            write,
            read,
            write_pattern,
            read_pattern,
        })
    }

    /// Refuses a routing key that the user may not use, in RabbitMQ's words. There is nothing to configure by routing key.
    pub fn require(&self, access: Access, routing_key: &[u8]) -> Result<(), Refusal> {
        let (pattern, access) = match access {
            Access::Configure => return Ok(()),
            Access::Write => (&self.write_pattern, "write"),
            Access::Read => (&self.read_pattern, "read"),
        };
        if pattern.matches(routing_key) {
            return Ok(());
        }
        let (key, exchange) = (
            String::from_utf8_lossy(routing_key),
            resource("exchange", &self.exchange, &self.vhost),
        );
        Err(Refusal::access_refused(format!(
            "{access} access to topic '{key}' in {exchange} refused for user '{}'",
            self.user
        )))
    }

    /// What the log keeps of it.
    pub(crate) fn fact(&self) -> Fact {
        Fact::TopicPermissionSet {
            user: self.user.clone(),
            vhost: self.vhost.clone(),
            exchange: self.exchange.clone(),
            write: self.write.clone(),
            read: self.read.clone(),
        }
    }
}

impl PartialEq for TopicPermission {
    fn eq(&self, other: &Self) -> bool {
        let said = |this: &Self| {
            let (user, vhost, exchange) = (this.user.clone(), this.vhost.clone(), this.exchange.clone());
            (user, vhost, exchange, this.write.clone(), this.read.clone())
        };
        said(self) == said(other)
    }
}

fn expanded(source: &str, user: &Name, vhost: &Name) -> String {
    let literal = |name: &Name| regex::escape(&name.to_string());
    let with_user = source.replace("{username}", &literal(user));
    with_user.replace("{vhost}", &literal(vhost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_know_who_asks() {
        fn check(write: &str, hits: &[&str], misses: &[&str]) {
            let permission = TopicPermission::new(
                "a.b".into(),
                "/".into(),
                "amq.topic".into(),
                write.to_owned(),
                String::new(),
            );
            let permission = permission.expect("patterns");
            for hit in hits {
                assert_eq!(
                    permission.require(Access::Write, hit.as_bytes()),
                    Ok(()),
                    "{write}"
                );
            }
            for miss in misses {
                let text = format!(
                    "write access to topic '{miss}' in exchange 'amq.topic' in vhost '/' refused for user 'a.b'"
                );
                let refusal = permission
                    .require(Access::Write, miss.as_bytes())
                    .expect_err(write);
                assert_eq!(refusal.text, text);
            }
        }
        check(".*", &["", "x.y"], &[]);
        check("^{username}\\.", &["a.b.c"], &["axb.c", "a.b"]);
        check("^{vhost}{username}$", &["/a.b"], &["a.b"]);
        check("", &[""], &["a"]);
    }
}
