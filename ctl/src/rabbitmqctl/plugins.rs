//! `rabbitmq-plugins`: there are none. What RabbitMQ has in plugins is built in, or is not there; this says which.

use super::session::{Done, Session, Stop, status};

/// What is always on, by the names of RabbitMQ's plugins.
pub(super) const BUILT_IN: [&str; 7] = [
    "rabbitmq_auth_mechanism_ssl",
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_delayed_message_exchange",
    "rabbitmq_management",
    "rabbitmq_management_agent",
    "rabbitmq_prometheus",
    "rabbitmq_random_exchange",
];

pub(super) fn list(session: &Session) -> Done {
    let pattern = session.arguments().first().map_or(".*", String::as_str);
    session.banner(format!("Listing plugins with pattern \"{pattern}\" ..."));
    let part = pattern
        .trim_start_matches(".*")
        .trim_end_matches(".*")
        .trim_matches(['^', '$']);
    let shown = BUILT_IN.iter().filter(|name| name.contains(part));
    if session.line.has("minimal") {
        shown.for_each(|name| session.say(name));
        return Ok(());
    }
    session.say(format!(
        " Configured: E = explicitly enabled; e = implicitly enabled\n | Status: * = running on {}\n |/",
        session.node()
    ));
    let width = BUILT_IN.iter().map(|name| name.len()).max().unwrap_or(0);
    shown.for_each(|name| session.say(format!("[E*] {name:width$} {}", env!("CARGO_PKG_VERSION"))));
    Ok(())
}

pub(super) fn enable(session: &Session) -> Done {
    let names = session.arguments().join("\n");
    session.banner(format!("Enabling plugins on node {}:\n{names}", session.node()));
    let unknown: Vec<&str> = session
        .arguments()
        .iter()
        .map(String::as_str)
        .filter(|name| !BUILT_IN.contains(name))
        .collect();
    if unknown.is_empty() {
        session.say("Plugin configuration unchanged.");
        return Ok(());
    }
    let unknown: Vec<String> = unknown.iter().map(|name| format!(":{name}")).collect();
    Err(Stop::error(
        status::SOFTWARE,
        format!("{{:plugins_not_found, [{}]}}", unknown.join(", ")),
    ))
}

pub(super) fn disable(session: &Session) -> Done {
    let built_in = session
        .arguments()
        .iter()
        .find(|name| BUILT_IN.contains(&name.as_str()));
    match built_in {
        None => {
            session.say("Plugin configuration unchanged.");
            Ok(())
        }
        Some(name) => Err(Stop::error(
            status::UNAVAILABLE,
            format!("{name} is built in and cannot be disabled"),
        )),
    }
}
