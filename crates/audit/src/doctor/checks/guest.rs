//! The user whose password everybody knows.

use super::Check;
use crate::doctor::finding::{Note, Severity};

pub(super) const CHECK: Check = Check {
    name: "guest",
    title: "The default user guest can log in",
    why: "Everybody knows its password, and it may delete and purge every queue.",
    look: |snapshot, notes| {
        if snapshot.user == GUEST {
            let (severity, seen) = if snapshot.loopback {
                (Severity::LookAtIt, "it could log in from this machine")
            } else {
                (Severity::CanLose, "it could log in from another machine")
            };
            notes.find(note(severity, seen));
            return Ok(());
        }
        let users = snapshot.list("users")?;
        if users.iter().any(|user| user.text("name") == Ok(GUEST)) {
            notes.find(note(Severity::LookAtIt, "the user exists"));
        }
        Ok(())
    },
};

const GUEST: &str = "guest";

fn note(severity: Severity, seen: &str) -> Note {
    Note {
        severity,
        subject: "user 'guest'".to_owned(),
        seen: seen.to_owned(),
        fix: "make users of your own, then switch it off: auth.guest = \"off\" in Everack, `rabbitmqctl delete_user guest` in \
              RabbitMQ"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::checks::check;

    #[test]
    fn from_here_from_there_and_not_at_all() {
        check(
            &CHECK,
            &json!({ "user": "guest" }),
            &["look at it: user 'guest': it could log in from this machine"],
        );
        check(
            &CHECK,
            &json!({ "user": "guest", "remote": true }),
            &["can lose: user 'guest': it could log in from another machine"],
        );
        let users = |name: &str| json!({ "user": "ann", "users": [{ "name": name }] });
        check(
            &CHECK,
            &users("guest"),
            &["look at it: user 'guest': the user exists"],
        );
        check(&CHECK, &users("bob"), &[]);
        check(
            &CHECK,
            &json!({ "user": "ann", "users": "401 Not administrator user" }),
            &["unchecked: the list of users (401 Not administrator user) x1"],
        );
    }
}
