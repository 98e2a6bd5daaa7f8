//! What each key of `rabbitmq.conf` means here: one line for each, or for a family of them. The first that fits counts.

use super::draft::Draft;
use super::lines::Entry;
use super::units::{address, bytes, level, number, share, truth};
use crate::config::setting::quoted;

/// What becomes of a key.
enum Fate {
    /// It sets something of ours.
    Means(fn(&mut Draft, &Entry) -> Result<(), String>),
    /// It has no counterpart, for this reason.
    None(&'static str),
}

use Fate::{Means, None};

const ONE_NODE: &str = "there is one node";
const ERLANG: &str = "it tunes the Erlang machine or a store of RabbitMQ's";
const STANDARD_ERROR: &str = "the log goes to standard error; the service manager keeps it";
const OWN_USERS: &str = "users are the broker's own";
const PLAIN_API: &str = "the API is not encrypted here: put a proxy before it";
const FIXED: &str = "this is not a matter of configuration here";
const UNKNOWN: &str = "Everack has nothing that it could set";

/// A pattern ends in `*` where it stands for a family.
const RULES: &[(&str, Fate)] = &[
    ("listeners.tcp*", Means(plain_listener)),
    ("listeners.ssl*", Means(encrypted_listener)),
    (
        "ssl_options.certfile",
        Means(|draft, entry| path(draft, entry, "certificate")),
    ),
    (
        "ssl_options.keyfile",
        Means(|draft, entry| path(draft, entry, "key")),
    ),
    ("ssl_options.cacertfile", Means(authorities)),
    ("ssl_options.verify", Means(verify)),
    ("ssl_options.fail_if_no_peer_cert", Means(demand)),
    ("ssl_options.versions.*", Means(version)),
    (
        "ssl_options.password",
        None("the private key must have no passphrase"),
    ),
    (
        "ssl_options.ciphers.*",
        None("rustls has safe cipher suites only, and chooses"),
    ),
    ("ssl_options*", None("rustls decides this")),
    ("ssl_cert_login_from", Means(names_by)),
    ("auth_mechanisms.*", Means(mechanism)),
    ("auth_backends.*", Means(backend)),
    (
        "default_user",
        Means(|draft, entry| user(draft, entry, |user, value| user.name = Some(value))),
    ),
    ("default_pass", Means(password)),
    (
        "default_vhost",
        Means(|draft, entry| user(draft, entry, |user, value| user.vhost = Some(value))),
    ),
    (
        "default_permissions.configure",
        Means(|draft, entry| user(draft, entry, |user, value| user.configure = Some(value))),
    ),
    (
        "default_permissions.write",
        Means(|draft, entry| user(draft, entry, |user, value| user.write = Some(value))),
    ),
    (
        "default_permissions.read",
        Means(|draft, entry| user(draft, entry, |user, value| user.read = Some(value))),
    ),
    ("default_user_tags.*", Means(tag)),
    (
        "default_users.*",
        None("write them under [[users]]: here they are for vhosts that are there"),
    ),
    (
        "default_limits.*",
        None("write them with each vhost, under [[vhosts]]"),
    ),
    (
        "default_policies.*",
        None("write them under [[policies]], with kind = \"operator\""),
    ),
    ("loopback_users*", Means(loopback)),
    ("vm_memory_high_watermark.*", Means(memory)),
    (
        "vm_memory_high_watermark_paging_ratio",
        None("bodies of durable queues leave memory at memory.durable_max"),
    ),
    ("disk_free_limit.*", Means(disk)),
    ("heartbeat", Means(heartbeat)),
    ("channel_max", Means(channels)),
    ("max_channels_per_connection", Means(channels)),
    (
        "channel_max_per_node",
        None("channels are limited by connection, and by user (max_channels)"),
    ),
    ("frame_max", Means(frame)),
    ("max_message_size", Means(message)),
    ("connection_max", Means(connections)),
    ("max_connections", Means(connections)),
    (
        "consumer_max_per_channel",
        Means(|draft, entry| count(draft, entry, "limits", "consumers_max")),
    ),
    (
        "tcp_listen_options.backlog",
        Means(|draft, entry| count(draft, entry, "amqp", "backlog")),
    ),
    (
        "tcp_listen_options.nodelay",
        Means(|draft, entry| {
            draft.same(entry, "output is never held back");
            Ok(())
        }),
    ),
    ("tcp_listen_options*", None("sockets have the system's settings")),
    ("log.console.level", Means(log_level)),
    ("log.file.level", Means(log_level)),
    ("log.default.level", Means(log_level)),
    ("log.journald.level", Means(log_level)),
    ("log.console.formatter", Means(log_format)),
    ("log.file.formatter", Means(log_format)),
    (
        "log.console",
        Means(|draft, entry| {
            draft.same(entry, STANDARD_ERROR);
            Ok(())
        }),
    ),
    (
        "log.connection.level",
        None("log.level takes targets, such as \"info,everack_server::net=debug\""),
    ),
    ("log.*", None(STANDARD_ERROR)),
    ("management.tcp.ip", Means(|draft, entry| draft.http.ip(entry))),
    (
        "management.tcp.port",
        Means(|draft, entry| draft.http.port(entry)),
    ),
    (
        "management.listener.ip",
        Means(|draft, entry| draft.http.ip(entry)),
    ),
    (
        "management.listener.port",
        Means(|draft, entry| draft.http.port(entry)),
    ),
    ("management.ssl.*", None(PLAIN_API)),
    ("management.listener.ssl*", None(PLAIN_API)),
    ("management.load_definitions", Means(definitions)),
    ("management.*", None(FIXED)),
    ("management_agent.*", None(FIXED)),
    ("load_definitions", Means(definitions)),
    ("definitions.local.path", Means(definitions)),
    (
        "definitions.*",
        None("definitions come from a file (load_definitions), and are imported at each start"),
    ),
    ("prometheus.tcp.ip", Means(|draft, entry| draft.metrics.ip(entry))),
    (
        "prometheus.tcp.port",
        Means(|draft, entry| draft.metrics.port(entry)),
    ),
    (
        "prometheus.ssl.*",
        None("metrics are not encrypted here: put a proxy before them"),
    ),
    ("prometheus.*", None(FIXED)),
    (
        "consumer_timeout",
        None(
            "it is a queue's, by x-consumer-timeout or a policy's consumer-timeout; quorum queues have half an hour",
        ),
    ),
    (
        "default_queue_type",
        None("write it with each vhost: default_queue_type under [[vhosts]]"),
    ),
    ("cluster_*", None(ONE_NODE)),
    ("queue_master_locator", None(ONE_NODE)),
    ("queue_leader_locator", None(ONE_NODE)),
    ("mirroring_*", None(ONE_NODE)),
    ("net_ticktime", None(ONE_NODE)),
    ("distribution.*", None(ONE_NODE)),
    ("delegate_count", None(ONE_NODE)),
    ("mnesia_*", None(ONE_NODE)),
    ("raft.*", None(ERLANG)),
    ("quorum_queue.*", None(ERLANG)),
    ("classic_queue.*", None(ERLANG)),
    ("queue_index_embed_msgs_below", None(ERLANG)),
    ("message_store_shutdown_timeout", None(ERLANG)),
    ("background_gc_*", None(ERLANG)),
    ("socket_writer.*", None(ERLANG)),
    ("sysmon_handler.*", None(ERLANG)),
    ("erlang.*", None(ERLANG)),
    ("hipe_compile", None(ERLANG)),
    ("num_acceptors.*", None(ERLANG)),
    ("default_worker_pool_size", None(ERLANG)),
    ("vm_memory_calculation_strategy", None(ERLANG)),
    ("memory_monitor_interval", None(ERLANG)),
    (
        "password_hashing_module",
        None("new passwords are hashed with argon2; RabbitMQ's hashes are verified"),
    ),
    (
        "credential_validator.*",
        None("passwords are hashed before they come into the configuration"),
    ),
    ("proxy_protocol", None("the PROXY protocol is not spoken")),
    (
        "reverse_dns_lookups",
        None("connections have their addresses' names"),
    ),
    ("handshake_timeout", None(FIXED)),
    ("ssl_handshake_timeout", None(FIXED)),
    ("initial_frame_max", None(FIXED)),
    ("collect_statistics*", None(FIXED)),
    ("auth_ldap.*", None(OWN_USERS)),
    ("auth_http.*", None(OWN_USERS)),
    ("auth_oauth2.*", None(OWN_USERS)),
    (
        "auth_cache.*",
        None("auth.remembered_for and auth.remembered_max are for this"),
    ),
    ("mqtt.*", None("MQTT is not spoken")),
    ("stomp.*", None("STOMP is not spoken")),
    ("stream.*", None("there are no streams")),
    ("web_mqtt.*", None("MQTT is not spoken")),
    ("web_stomp.*", None("STOMP is not spoken")),
    (
        "deprecated_features.*",
        None("transient queues and global QoS are accepted"),
    ),
];

/// Takes over what an entry says.
pub(super) fn apply(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(front) => entry.key.starts_with(front),
        Option::None => entry.key == pattern,
    };
    match RULES.iter().find(|(pattern, _)| fits(pattern)) {
        Some((_, Means(take))) => take(draft, entry)?,
        Some((_, None(why))) => draft.left(entry, why),
        Option::None => draft.left(entry, UNKNOWN),
    }
    Ok(())
}

fn plain_listener(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    if entry.key == "listeners.tcp" {
        draft.plain.none = entry.value == "none";
    } else if is_unix(entry) {
        draft.left(entry, "there are no listeners on Unix sockets");
        return Ok(());
    } else {
        draft.plain.addresses.push(address(&entry.value)?);
    }
    draft.plain.from.push(entry.shown());
    Ok(())
}

fn encrypted_listener(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    if entry.key == "listeners.ssl" {
        draft.same(
            entry,
            "encrypted connections are served where there is a certificate",
        );
    } else if is_unix(entry) {
        draft.left(entry, "there are no listeners on Unix sockets");
    } else {
        draft.encrypted.addresses.push(address(&entry.value)?);
        draft.encrypted.from.push(entry.shown());
    }
    Ok(())
}

fn is_unix(entry: &Entry) -> bool {
    entry.value.starts_with("unix:") || entry.value.starts_with("local:")
}

fn path(draft: &mut Draft, entry: &Entry, key: &'static str) -> Result<(), String> {
    draft.set("tls", key, quoted(&entry.value), &[entry.shown()]);
    Ok(())
}

fn definitions(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    draft.set("data", "load_definitions", quoted(&entry.value), &[entry.shown()]);
    Ok(())
}

fn authorities(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    draft.authorities = Some((entry.value.clone(), entry.clone()));
    Ok(())
}

fn verify(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    draft.verifies = match entry.value.as_str() {
        "verify_peer" => true,
        "verify_none" => false,
        other => return Err(format!("`{other}` is neither verify_peer nor verify_none")),
    };
    draft.same(
        entry,
        "certificates of clients are verified where there is tls.client_ca",
    );
    Ok(())
}

fn demand(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    draft.demands = truth(&entry.value)?;
    draft.same(
        entry,
        "certificates of clients are demanded where there is tls.client_ca",
    );
    Ok(())
}

/// The oldest of the versions that are listed.
fn version(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    match entry.value.as_str() {
        "tlsv1.2" => draft.set("tls", "version_min", quoted("1.2"), &[entry.shown()]),
        "tlsv1.3" if !draft.has("tls", "version_min") => {
            draft.set("tls", "version_min", quoted("1.3"), &[entry.shown()]);
        }
        "tlsv1.3" => draft.same(entry, "TLS 1.3 is always spoken"),
        _ => draft.left(entry, "versions before TLS 1.2 are not spoken"),
    }
    Ok(())
}

fn names_by(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    const KNOWN: [&str; 3] = ["common_name", "distinguished_name", "subject_alternative_name"];
    if !KNOWN.contains(&entry.value.as_str()) {
        return Err(format!("must be one of {}", KNOWN.join(", ")));
    }
    draft.tells_names_by = Some(entry.value.clone());
    draft.same(
        entry,
        "auth.external says it, where clients log in with certificates",
    );
    Ok(())
}

fn mechanism(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    match entry.value.as_str() {
        "EXTERNAL" => draft.external = Some(entry.clone()),
        "PLAIN" | "AMQPLAIN" => draft.same(entry, "it is always offered"),
        _ => draft.left(entry, "this mechanism is not spoken"),
    }
    Ok(())
}

fn backend(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    match entry.value.as_str() {
        "internal" | "rabbit_auth_backend_internal" => draft.same(entry, OWN_USERS),
        _ => draft.left(entry, OWN_USERS),
    }
    Ok(())
}

fn user(
    draft: &mut Draft,
    entry: &Entry,
    set: fn(&mut super::draft::DefaultUser, String),
) -> Result<(), String> {
    set(&mut draft.user, entry.value.clone());
    draft.user.from.push(entry.shown());
    Ok(())
}

fn password(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    if entry.value.starts_with("encrypted:") {
        return Err(
            "it is encrypted: write it in clear for once, or make the user with `everack hash-password`"
                .to_owned(),
        );
    }
    user(draft, entry, |user, value| user.password = Some(value))
}

fn tag(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    if truth(&entry.value)? {
        draft.user.tags.push(entry.last().to_owned());
        draft.user.from.push(entry.shown());
    } else {
        draft.same(entry, "a tag that is not given is not there");
    }
    Ok(())
}

fn loopback(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    let bound = match (entry.key.as_str(), entry.value.as_str()) {
        ("loopback_users", "none") => false,
        ("loopback_users.guest", value) => truth(value)?,
        _ => {
            draft.left(entry, "only guest can be bound to this machine");
            return Ok(());
        }
    };
    let word = if bound { "initial" } else { "anywhere" };
    draft.set("auth", "guest", quoted(word), &[entry.shown()]);
    Ok(())
}

fn size(draft: &mut Draft, entry: &Entry, section: &'static str, key: &'static str, bytes: u64) {
    draft.set(section, key, quoted(&format!("{bytes} B")), &[entry.shown()]);
}

fn memory(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    let bytes = match entry.last() {
        "relative" => share(&entry.value, draft.memory)?,
        "absolute" => bytes(&entry.value)?,
        _ => return Err("must be relative or absolute".to_owned()),
    };
    size(draft, entry, "memory", "process_max", bytes);
    Ok(())
}

fn disk(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    let bytes = match entry.last() {
        "relative" => share(&entry.value, draft.memory)?,
        "absolute" => bytes(&entry.value)?,
        _ => return Err("must be relative or absolute".to_owned()),
    };
    size(draft, entry, "data", "free_min", bytes);
    Ok(())
}

fn heartbeat(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    let seconds = number(&entry.value)?.min(3600);
    draft.set(
        "amqp",
        "heartbeat",
        quoted(&format!("{seconds} s")),
        &[entry.shown()],
    );
    Ok(())
}

/// 0 is no limit, as far as the protocol goes.
fn channels(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    let most = match number(&entry.value)? {
        0 => 65_535,
        most => most.min(65_535),
    };
    draft.set("amqp", "channel_max", most.to_string(), &[entry.shown()]);
    Ok(())
}

fn frame(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    const MOST: u64 = 16 << 20;
    let most = match bytes(&entry.value)? {
        0 => MOST,
        most => most.clamp(4096, MOST),
    };
    size(draft, entry, "amqp", "frame_max", most);
    Ok(())
}

fn message(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    const MOST: u64 = 128 << 20;
    let given = bytes(&entry.value)?;
    size(draft, entry, "amqp", "message_bytes_max", given.clamp(1, MOST));
    if given > MOST {
        draft.left(entry, "128 MiB are the most");
    }
    Ok(())
}

fn connections(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    const MOST: u64 = 1_000_000;
    let most = match entry.value.as_str() {
        "infinity" => MOST,
        value => number(value)?.clamp(1, MOST),
    };
    draft.set("amqp", "connections_max", most.to_string(), &[entry.shown()]);
    Ok(())
}

fn count(draft: &mut Draft, entry: &Entry, section: &'static str, key: &'static str) -> Result<(), String> {
    draft.set(
        section,
        key,
        number(&entry.value)?.max(1).to_string(),
        &[entry.shown()],
    );
    Ok(())
}

/// Of several the one that tells most.
fn log_level(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    let (loud, word) = level(&entry.value)?;
    if draft.level.is_none_or(|before| loud > before) {
        draft.level = Some(loud);
        draft.set("log", "level", quoted(word), &[entry.shown()]);
    } else {
        draft.same(entry, "log.level is the level that tells most");
    }
    Ok(())
}

fn log_format(draft: &mut Draft, entry: &Entry) -> Result<(), String> {
    match entry.value.as_str() {
        "json" => draft.set("log", "format", quoted("json"), &[entry.shown()]),
        "plaintext" => draft.same(entry, "the log is text"),
        other => return Err(format!("`{other}` is neither json nor plaintext")),
    }
    Ok(())
}
