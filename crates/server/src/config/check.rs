//! The checks that look at several keys together.

use std::collections::HashSet;

use super::fault::{Origin, Problem};
use super::setting::External;
use everack_broker::catalog::Policy;

use super::keys::{Config, Permission, User};
use crate::auth::declared::policy;

/// Everything that does not fit together.
pub(super) fn combinations(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    listeners(config, &mut problems);
    certificates(config, &mut problems);
    users(config, &mut problems);
    policies(config, &mut problems);
    problems
}

fn problem(key: &str, message: impl Into<String>) -> Problem {
    Problem {
        origin: Origin::Combination,
        key: key.to_owned(),
        message: message.into(),
    }
}

fn listeners(config: &Config, problems: &mut Vec<Problem>) {
    let tls = config.tls.certificate.get().is_some() && !config.tls.listen.0.is_empty();
    if config.amqp.listen.0.is_empty() && !tls {
        problems.push(problem(
            "amqp.listen",
            "is empty and no encrypted listener is configured either: nobody could connect; \
             give an address here, or set tls.certificate and tls.key",
        ));
    }
}

fn certificates(config: &Config, problems: &mut Vec<Problem>) {
    let tls = &config.tls;
    if config.auth.external != External::Off && tls.client_ca.get().is_none() {
        let message =
            "needs tls.client_ca: only a certificate that an authority of ours has signed names a user";
        problems.push(problem("auth.external", message));
    }
    match (tls.certificate.get(), tls.key.get()) {
        (Some(_), None) => problems.push(problem("tls.key", "is required when tls.certificate is set")),
        (None, Some(_)) => problems.push(problem("tls.certificate", "is required when tls.key is set")),
        (None, None) if tls.client_ca.get().is_some() => {
            problems.push(problem(
                "tls.client_ca",
                "has no effect without tls.certificate and tls.key; set them too",
            ));
        }
        _ => {}
    }
}

fn users(config: &Config, problems: &mut Vec<Problem>) {
    let mut vhosts: HashSet<&str> = HashSet::from(["/"]);
    for vhost in &config.vhosts {
        if !vhosts.insert(&vhost.name.0) && vhost.name.0 != "/" {
            problems.push(problem("vhosts", format!("{:?} is listed twice", vhost.name.0)));
        }
    }
    let mut names = HashSet::new();
    for user in &config.users {
        if !names.insert(&user.name.0) {
            problems.push(problem("users", format!("{:?} is listed twice", user.name.0)));
        }
        permissions(user, &vhosts, problems);
        topic_permissions(user, &vhosts, problems);
    }
}

fn policies(config: &Config, problems: &mut Vec<Problem>) {
    let vhosts: HashSet<&str> = config.vhosts.iter().map(|vhost| vhost.name.0.as_str()).collect();
    let mut seen = HashSet::new();
    for entry in &config.policies {
        let (vhost, name) = (&entry.vhost.0, &entry.name.0);
        if vhost != "/" && !vhosts.contains(vhost.as_str()) {
            let message = format!("{name:?} is for the vhost {vhost:?}, which [[vhosts]] does not list");
            problems.push(problem("policies", message));
        }
        let (key, definition) = policy(entry);
        let (_, kind, broker_name) = key.clone();
        if !seen.insert(key) {
            problems.push(problem(
                "policies",
                format!("{name:?} is listed twice for the vhost {vhost:?}"),
            ));
        }
        if let Err(refusal) = Policy::new(broker_name, kind, definition) {
            problems.push(problem("policies", format!("{name:?}: {}", refusal.text)));
        }
    }
}

fn topic_permissions(user: &User, vhosts: &HashSet<&str>, problems: &mut Vec<Problem>) {
    let mut seen = HashSet::new();
    for entry in &user.topic_permissions {
        let (who, vhost, exchange) = (&user.name.0, &entry.vhost.0, &entry.exchange.0);
        if !vhosts.contains(vhost.as_str()) {
            let message = format!(
                "user {who:?} has topic permissions in the vhost {vhost:?}, which [[vhosts]] does not list"
            );
            problems.push(problem("users.topic_permissions", message));
        }
        if !seen.insert((vhost, exchange)) {
            let message =
                format!("user {who:?} has two entries for the exchange {exchange:?} in the vhost {vhost:?}");
            problems.push(problem("users.topic_permissions", message));
        }
    }
}

fn permissions(user: &User, vhosts: &HashSet<&str>, problems: &mut Vec<Problem>) {
    let mut seen = HashSet::new();
    for Permission { vhost, .. } in &user.permissions {
        let who = &user.name.0;
        if !vhosts.contains(vhost.0.as_str()) {
            let message = format!(
                "user {who:?} has permissions in the vhost {:?}, which [[vhosts]] does not list",
                vhost.0
            );
            problems.push(problem("users.permissions", message));
        }
        if !seen.insert(&vhost.0) {
            let message = format!("user {who:?} has two entries for the vhost {:?}", vhost.0);
            problems.push(problem("users.permissions", message));
        }
    }
}
