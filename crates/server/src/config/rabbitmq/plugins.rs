//! What becomes of the plugins of an `enabled_plugins` file.

use std::fmt::Write as _;

/// Plugins, and what there is here in their place.
const KNOWN: &[(&str, &str)] = &[
    (
        "rabbitmq_management",
        "the management API is always there: http.listen",
    ),
    ("rabbitmq_management_agent", "it is a part of the management API"),
    ("rabbitmq_web_dispatch", "it is a part of the management API"),
    (
        "rabbitmq_prometheus",
        "Prometheus finds its metrics without a plugin",
    ),
    (
        "rabbitmq_delayed_message_exchange",
        "exchanges of type x-delayed-message are always there",
    ),
    (
        "rabbitmq_consistent_hash_exchange",
        "exchanges of type x-consistent-hash are always there",
    ),
    (
        "rabbitmq_random_exchange",
        "exchanges of type x-random are always there",
    ),
    (
        "rabbitmq_sharding",
        "exchanges of type x-modulus-hash are always there; queues are not made for them",
    ),
    (
        "rabbitmq_auth_mechanism_ssl",
        "log-in by certificate is auth.external",
    ),
    (
        "rabbitmq_auth_backend_cache",
        "verified log-ins are remembered: auth.remembered_max",
    ),
];

/// Comments to the plugins of an `enabled_plugins` file, such as `[rabbitmq_management,rabbitmq_shovel].`
pub fn told(text: &str) -> String {
    let names = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|name| !name.is_empty());
    let mut out = String::from("\n# Plugins:\n");
    for name in names {
        let known = KNOWN.iter().find(|(known, _)| *known == name);
        let what = known.map_or("there is nothing in its place", |(_, what)| what);
        let _ = writeln!(out, "# {name}: {what}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_plugin_is_told_of() {
        let text = told("[rabbitmq_management, rabbitmq_shovel].\n");
        assert!(
            text.contains("# rabbitmq_management: the management API is always there"),
            "{text}"
        );
        assert!(
            text.contains("# rabbitmq_shovel: there is nothing in its place"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 4);
    }
}
