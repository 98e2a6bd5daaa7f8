//! Each key and what becomes of it; and that whatever comes out is a configuration of ours.

use std::path::Path;

use super::translate;
use crate::config::parse;

/// The machine of these tests.
const MEMORY: u64 = 10_000_000_000;

/// What becomes of a file, checked by our own reader.
fn translated(text: &str) -> (String, Vec<String>) {
    let translation = translate(text, MEMORY).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
    if let Err(refused) = parse(Path::new("everack.toml"), &translation.toml) {
        panic!("{text}: {refused}\n{}", translation.toml);
    }
    (translation.toml, translation.left)
}

/// A line of the file comes to a line of ours, below its section, and nothing is left over.
fn check(text: &str, section: &str, line: &str) {
    let (toml, left) = translated(text);
    let mut lines = toml.lines().skip_while(|seen| *seen != section).skip(1);
    let found = lines
        .by_ref()
        .take_while(|seen| !seen.starts_with('['))
        .any(|seen| seen == line);
    assert!(found, "{text}: no {line} in {section}:\n{toml}");
    assert!(left.is_empty(), "{text}: {left:?}");
}

#[test]
fn keys_that_mean_something() {
    check("", "[amqp]", "listen = [\"0.0.0.0:5672\"]");
    check(
        "listeners.tcp.default = 5673",
        "[amqp]",
        "listen = [\"0.0.0.0:5673\"]",
    );
    check(
        "listeners.tcp.local = 127.0.0.1:5672\nlisteners.tcp.local_v6 = ::1:5672",
        "[amqp]",
        "listen = [\"127.0.0.1:5672\", \"[::1]:5672\"]",
    );
    check("listeners.tcp = none", "[amqp]", "listen = []");
    check(
        "listeners.ssl.default = 5671",
        "[tls]",
        "listen = [\"0.0.0.0:5671\"]",
    );
    check(
        "prometheus.tcp.port = 9419",
        "[metrics]",
        "listen = [\"0.0.0.0:9419\"]",
    );
    check(
        "prometheus.tcp.ip = ::1\nmanagement.tcp.port = 8080",
        "[metrics]",
        "listen = [\"[::1]:15692\"]",
    );
    for key in [
        "load_definitions",
        "management.load_definitions",
        "definitions.local.path",
    ] {
        check(
            &format!("{key} = /etc/rabbitmq/defs.json"),
            "[data]",
            "load_definitions = \"/etc/rabbitmq/defs.json\"",
        );
    }
    check(
        "ssl_options.certfile = /etc/tls/a.pem",
        "[tls]",
        "certificate = \"/etc/tls/a.pem\"",
    );
    check(
        "ssl_options.keyfile = /etc/tls/k.pem",
        "[tls]",
        "key = \"/etc/tls/k.pem\"",
    );
    check(
        "ssl_options.cacertfile = /ca.pem\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true",
        "[tls]",
        "client_ca = \"/ca.pem\"",
    );
    check(
        "ssl_options.versions.1 = tlsv1.3",
        "[tls]",
        "version_min = \"1.3\"",
    );
    check(
        "ssl_options.versions.1 = tlsv1.3\nssl_options.versions.2 = tlsv1.2",
        "[tls]",
        "version_min = \"1.2\"",
    );
    check("loopback_users = none", "[auth]", "guest = \"anywhere\"");
    check("loopback_users.guest = true", "[auth]", "guest = \"initial\"");
    check(
        "vm_memory_high_watermark.relative = 0.6",
        "[memory]",
        "process_max = \"6000000000 B\"",
    );
    check(
        "vm_memory_high_watermark.absolute = 2GiB",
        "[memory]",
        "process_max = \"2147483648 B\"",
    );
    check(
        "disk_free_limit.absolute = 50MB",
        "[data]",
        "free_min = \"50000000 B\"",
    );
    check(
        "disk_free_limit.relative = 1.5",
        "[data]",
        "free_min = \"15000000000 B\"",
    );
    check("heartbeat = 30", "[amqp]", "heartbeat = \"30 s\"");
    check("channel_max = 128", "[amqp]", "channel_max = 128");
    check("channel_max = 0", "[amqp]", "channel_max = 65535");
    check("frame_max = 131072", "[amqp]", "frame_max = \"131072 B\"");
    check(
        "max_message_size = 1048576",
        "[amqp]",
        "message_bytes_max = \"1048576 B\"",
    );
    check("connection_max = infinity", "[amqp]", "connections_max = 1000000");
    check(
        "consumer_max_per_channel = 100",
        "[limits]",
        "consumers_max = 100",
    );
    check("tcp_listen_options.backlog = 4096", "[amqp]", "backlog = 4096");
    check("log.console.level = warning", "[log]", "level = \"warn\"");
    check(
        "log.console.level = debug\nlog.file.level = error",
        "[log]",
        "level = \"debug\"",
    );
    check("log.console.formatter = json", "[log]", "format = \"json\"");
    check(
        "management.tcp.port = 15673",
        "[http]",
        "listen = [\"0.0.0.0:15673\"]",
    );
    check(
        "management.tcp.ip = ::1\nmanagement.tcp.port = 15673",
        "[http]",
        "listen = [\"[::1]:15673\"]",
    );
}

#[test]
fn the_default_user() {
    let text = "default_user = shop\ndefault_pass = s3cret\ndefault_vhost = orders\ndefault_user_tags.monitoring = true\n\
                default_permissions.configure = ^$";
    let (toml, left) = translated(text);
    assert!(left.is_empty(), "{left:?}");
    assert!(!toml.contains("s3cret"), "the password is shown:\n{toml}");
    for line in [
        "[[vhosts]]",
        "name = \"orders\"",
        "name = \"shop\"",
        "tags = [\"monitoring\"]",
        "guest = \"off\"",
        "permissions = [{ vhost = \"orders\", configure = \"^$\", write = \".*\", read = \".*\" }]",
    ] {
        assert!(toml.lines().any(|seen| seen == line), "no {line}:\n{toml}");
    }
    let (narrowed, _) = translated("default_permissions.write = ^$");
    assert!(
        narrowed.contains("name = \"guest\"") && narrowed.contains("write = \"^$\""),
        "{narrowed}"
    );
    let (guest, _) = translated("default_user = guest\ndefault_pass = guest");
    assert!(!guest.contains("[[users]]"), "{guest}");
}

#[test]
fn client_certificates_that_are_only_asked_for_are_left() {
    let (toml, left) = translated(
        "ssl_options.cacertfile = /ca.pem\nssl_options.verify = verify_peer\nauth_mechanisms.1 = EXTERNAL",
    );
    assert!(!toml.contains("client_ca ="), "{toml}");
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn what_has_no_counterpart_is_named_with_its_line() {
    let check = |text: &str, why: &str| {
        let (toml, left) = translated(text);
        assert_eq!(left.len(), 1, "{text}: {left:?}");
        assert!(
            left[0].starts_with("line 1: ") && left[0].contains(why),
            "{left:?}"
        );
        assert!(toml.contains(&left[0]), "{toml}");
    };
    check("cluster_formation.peer_discovery_backend = k8s", "one node");
    check("queue_master_locator = min-masters", "one node");
    check("consumer_timeout = 1800000", "x-consumer-timeout");
    check("log.file = rabbit.log", "standard error");
    check("listeners.tcp.unix = unix:/run/r.sock:0", "Unix sockets");
    check("auth_backends.1 = ldap", "the broker's own");
    check("ssl_options.versions.1 = tlsv1.1", "before TLS 1.2");
    check("max_message_size = 536870912", "128 MiB");
    check("some.key.of.a.plugin = 1", "nothing that it could set");
    check("loopback_users.other = true", "only guest");
}

/// All keys of RabbitMQ 3.10 and its management and Prometheus plugins, as Debian's package has them in its schemas, with a value
/// that fits most: each of them is heard of in what comes out.
#[test]
fn no_key_of_rabbitmqs_schemas_is_dropped() {
    for key in include_str!("keys-3.10.txt").lines() {
        let key = key.replace('$', "");
        let heard = [
            "1",
            "true",
            "info",
            "none",
            "json",
            "5672",
            "tlsv1.2",
            "verify_peer",
            "common_name",
        ]
        .iter()
        .filter_map(|value| translate(&format!("{key} = {value}"), MEMORY).ok())
        .any(|translation| {
            translation.toml.contains(&format!("# {key} ")) || translation.toml.contains(&format!(": {key} "))
        });
        assert!(heard, "{key} is dropped");
    }
}

#[test]
fn what_is_no_file_of_rabbitmqs_is_refused() {
    let check = |text: &str, fault: &str| {
        let faults = translate(text, MEMORY).expect_err(text);
        assert!(
            faults.iter().any(|seen| seen.contains(fault)),
            "{text}: {faults:?}"
        );
    };
    check("heartbeat", "line 1: must be `key = value`");
    check("\na..b = 1", "line 2: `a..b` is no key");
    check(
        "heartbeat = often",
        "line 1: heartbeat: `often` is no whole number",
    );
    check("frame_max = 3 parsecs", "no unit of size");
    check("frame_max = 99999999999999999999", "no size");
    check("listeners.tcp.1 = a:b", "no port");
    check("default_pass = encrypted:x", "encrypted");
    check(
        "ssl_options.fail_if_no_peer_cert = maybe",
        "neither true nor false",
    );
    check("vm_memory_high_watermark.relative = -1", "no share");
}

#[test]
fn lines_are_read_as_rabbitmq_reads_them() {
    check("  heartbeat=30  # seconds", "[amqp]", "heartbeat = \"30 s\"");
    check(
        "## heartbeat = 1\nheartbeat = '30'",
        "[amqp]",
        "heartbeat = \"30 s\"",
    );
    check("heartbeat = 1\nheartbeat = 30", "[amqp]", "heartbeat = \"30 s\"");
    let (toml, _) = translated("ssl_options.certfile = /a#b.pem");
    assert!(toml.contains("certificate = \"/a#b.pem\""), "{toml}");
}
