//! Configurations, good and bad, as files and flags.

use std::path::Path;

use super::keys::Config;
use super::load::{Override, Sources, parse};
use super::render;
use super::table::{Change, Key, REQUIRED, Setting};

fn read(text: &str) -> Result<Config, String> {
    parse(Path::new("everack.toml"), text).map_err(|refused| {
        let lines: Vec<String> = refused.0.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

/// Loads text as a file with flags on top, the way a process does.
fn load(text: &str, flags: &[(&str, &str)]) -> Result<Config, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let flag = |(key, value): &(&str, &str)| Override {
        flag: format!("--set {key}={value}"),
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    let sources = Sources {
        file: Some(file.path().to_owned()),
        flags: flags.iter().map(flag).collect(),
        ..Sources::default()
    };
    let name = file.path().display().to_string();
    Config::load(&sources).map_err(|refused| refused.to_string().replace(&name, "everack.toml"))
}

/// What a key of a configuration shows as, by its dotted name.
fn shown(config: &Config, key: &str) -> String {
    let text = config.show();
    let table = toml::de::DeValue::parse(&text).unwrap();
    let found = key
        .split('.')
        .fold(table, |value, name| value.get_ref().get(name).unwrap().clone());
    text[found.span()].to_owned()
}

#[test]
fn good_values() {
    let check = |text: &str, key: &str, expected: &str| {
        let config = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(shown(&config, key), expected, "{text}");
    };
    check("", "amqp.listen", r#"["127.0.0.1:5672"]"#);
    check("amqp.listen = '[::1]:5672'", "amqp.listen", r#"["[::1]:5672"]"#);
    check(
        "[amqp]\nlisten = ['0.0.0.0:5672', 'localhost:5673']",
        "amqp.listen",
        r#"["0.0.0.0:5672", "localhost:5673"]"#,
    );
    check("[amqp]\nlisten = []", "amqp.listen", "[]");
    check("[amqp]\nconnections_max = 1_000", "amqp.connections_max", "1000");
    check("[amqp]\nconnections_max = 0x10", "amqp.connections_max", "16");
    check("[amqp]\nframe_max = '64KiB'", "amqp.frame_max", r#""64 KiB""#);
    check("[amqp]\nframe_max = '1 mib'", "amqp.frame_max", r#""1 MiB""#);
    check("[amqp]\nframe_max = 5000", "amqp.frame_max", r#""5000 B""#);
    check("[amqp]\nheartbeat = '0 s'", "amqp.heartbeat", r#""0 s""#);
    check("[amqp]\nheartbeat = '1500ms'", "amqp.heartbeat", r#""1500 ms""#);
    check(
        "[auth]\nremembered_for = '1m'",
        "auth.remembered_for",
        r#""1 min""#,
    );
    check("[auth]\nguest = 'off'", "auth.guest", r#""off""#);
    check("[tls]\nversion_min = '1.3'", "tls.version_min", r#""1.3""#);
    check("[tls]\ncertificate = ''", "tls.certificate", r#""""#);
    check(
        "[data]\ndirectory = 'a \"b\" \\'",
        "data.directory",
        r#""a \"b\" \\""#,
    );
    check(
        "[log]\nlevel = 'info,everack_node=debug'",
        "log.level",
        r#""info,everack_node=debug""#,
    );
    check(
        "[[vhosts]]\nname = 'a'\n[[vhosts]]\nname = 'b'\nmax_queues = 5\nunroutable = 'drop'\ndefault_queue_type = 'quorum'",
        "vhosts",
        r#"[{ name = "a", max_connections = -1, max_queues = -1, default_queue_type = "classic", unroutable = "keep", unroutable_messages_max = 10000, unroutable_bytes_max = "16 MiB", no_ack_guard = "warn", no_ack_retention = "1 h", no_ack_retention_messages_max = 100000, no_ack_retention_bytes_max = "64 MiB" }, { name = "b", max_connections = -1, max_queues = 5, default_queue_type = "quorum", unroutable = "drop", unroutable_messages_max = 10000, unroutable_bytes_max = "16 MiB", no_ack_guard = "warn", no_ack_retention = "1 h", no_ack_retention_messages_max = 100000, no_ack_retention_bytes_max = "64 MiB" }]"#,
    );
    check(
        "[[policies]]\nname = 'p'\npattern = '^q'\npriority = -1\ndefinition = { max-length = 5, overflow = 'drop-head' }",
        "policies",
        r#"[{ name = "p", vhost = "/", pattern = "^q", apply_to = "all", priority = -1, kind = "user", definition = { max-length = 5, overflow = "drop-head" } }]"#,
    );
}

#[test]
fn bad_values() {
    let check = |text: &str, expected: &str| assert_eq!(read(text).unwrap_err(), expected, "{text}");
    check(
        "[amqp]\nlisten = 5672",
        "everack.toml:2: amqp.listen: must be an address and port in quotes, or a list of them, not an integer",
    );
    check(
        "[amqp]\n\nlisten = '5672'",
        "everack.toml:3: amqp.listen: must be an address and port such as \"127.0.0.1:5672\", not \"5672\"",
    );
    check(
        "[amqp]\nlisten = '::1:5672'",
        "everack.toml:2: amqp.listen: must be an address and port such as \"127.0.0.1:5672\", not \"::1:5672\"",
    );
    check(
        "[amqp]\nlisten = 'localhost:65536'",
        "everack.toml:2: amqp.listen: must be an address and port such as \"127.0.0.1:5672\", not \"localhost:65536\"",
    );
    check(
        "[amqp]\nconnections_max = 0",
        "everack.toml:2: amqp.connections_max: must be a whole number from 1 to 1000000, not 0",
    );
    check(
        "[amqp]\nconnections_max = -1",
        "everack.toml:2: amqp.connections_max: must be a whole number from 1 to 1000000",
    );
    check(
        "[amqp]\nconnections_max = 'many'",
        "everack.toml:2: amqp.connections_max: must be a whole number from 1 to 1000000, not a string",
    );
    check(
        "[amqp]\nconnections_max = 99999999999999999999999",
        "everack.toml:2: amqp.connections_max: must be a whole number from 1 to 1000000",
    );
    check(
        "[amqp]\nframe_max = '1 KiB'",
        "everack.toml:2: amqp.frame_max: must be from 4 KiB to 16 MiB, not 1 KiB",
    );
    check(
        "[amqp]\nframe_max = '18446744073709551615 GiB'",
        "everack.toml:2: amqp.frame_max: must be a size such as \"64 MiB\" (units: B, KiB, MiB, GiB) or bytes",
    );
    check(
        "[amqp]\nframe_max = '128 KB'",
        "everack.toml:2: amqp.frame_max: must be a size such as \"64 MiB\" (units: B, KiB, MiB, GiB) or bytes",
    );
    check(
        "[amqp]\nheartbeat = 60",
        "everack.toml:2: amqp.heartbeat: must be a time such as \"10 s\" (units: ms, s, min, h)",
    );
    check(
        "[shutdown]\ntimeout = '1 h'",
        "everack.toml:2: shutdown.timeout: must be from 0 s to 10 min, not 1 h",
    );
    check(
        "[auth]\nguest = 'local'",
        "everack.toml:2: auth.guest: must be one of \"initial\", \"loopback\", \"anywhere\", \"off\", not \"local\"",
    );
    check(
        "[auth]\nguest = false",
        "everack.toml:2: auth.guest: must be one of \"initial\", \"loopback\", \"anywhere\", \"off\", not a boolean",
    );
    check(
        "[log]\nlevel = 'loud'",
        "everack.toml:2: log.level: must be a level (off, error, warn, info, debug, trace), or several as \"info,target=debug\": \"loud\" is no level",
    );
    check(
        "[data]\ndirectory = ''",
        "everack.toml:2: data.directory: must not be empty",
    );
    check("amqp = 5", "everack.toml:1: amqp: must be a table, not integer");
    check(
        "users = 5",
        "everack.toml:1: users: must be a list of tables: write [[users]] above each",
    );
    check(
        "[users]\nname = 'ann'",
        "everack.toml:1: users: must be a list of tables: write [[users]] above each",
    );
    check(
        "[[users]]\nname = 'ann'",
        "everack.toml:1: users.password_hash: is required",
    );
    check(
        "[[vhosts]]\nname = ''",
        "everack.toml:2: vhosts.name: must be 1 to 255 bytes, not 0",
    );
    check(
        "[[users]]\nname = 'ann'\npassword_hash = 'secret'",
        "everack.toml:3: users.password_hash: must be an argon2 hash as `everack hash-password` prints it ($argon2id$...), or one of RabbitMQ's",
    );
    check(
        "[amqp]\nlisten = '",
        "everack.toml:2: invalid literal string, expected `'`",
    );
    check("[amqp]\n[amqp]", "everack.toml:2: duplicate key");
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    let check = |text: &str, expected: &str| assert_eq!(read(text).unwrap_err(), expected, "{text}");
    check(
        "[amqp]\nlisen = ''",
        "everack.toml:2: amqp.lisen: unknown key; did you mean `amqp.listen`?",
    );
    check(
        "[ampq]\nlisten = ''",
        "everack.toml:1: ampq: unknown key; did you mean `amqp`?",
    );
    check(
        "[amqp]\nguest = ''",
        "everack.toml:2: amqp.guest: unknown key; did you mean `auth.guest`?",
    );
    check(
        "heartbeat = '1 s'",
        "everack.toml:1: heartbeat: unknown key; did you mean `amqp.heartbeat`?",
    );
    check(
        "[cluster]\nsize = 3",
        "everack.toml:1: cluster: unknown key; `everack config` lists all keys",
    );
    check(
        "[[users]]\nname = 'ann'\npassword = 'x'",
        "everack.toml:1: users.password_hash: is required\neverack.toml:3: users.password: unknown key; did you mean `users.password_hash`?",
    );
}

#[test]
fn all_faults_are_told_in_the_order_of_the_file() {
    let text = "[log]\nlevel = 1\n[amqp]\nbacklog = 0\nx = 1\n[[vhosts]]\n[[vhosts]]\nname = 1\n";
    let expected = "everack.toml:2: log.level: must be a string, not an integer\n\
                    everack.toml:4: amqp.backlog: must be a whole number from 1 to 65535, not 0\n\
                    everack.toml:5: amqp.x: unknown key; `everack config` lists all keys\n\
                    everack.toml:6: vhosts.name: is required\n\
                    everack.toml:8: vhosts.name: must be a string, not an integer";
    assert_eq!(read(text).unwrap_err(), expected);
}

#[test]
fn flags_win_over_the_file_and_the_last_flag_wins() {
    let check = |text: &str, flags: &[(&str, &str)], key: &str, expected: &str| {
        assert_eq!(
            shown(&load(text, flags).unwrap(), key),
            expected,
            "{text} {flags:?}"
        );
    };
    let file = "[amqp]\nlisten = '10.0.0.1:1'\nbacklog = 7";
    check(file, &[], "amqp.listen", r#"["10.0.0.1:1"]"#);
    check(
        file,
        &[("amqp.listen", "'10.0.0.2:2'")],
        "amqp.listen",
        r#"["10.0.0.2:2"]"#,
    );
    check(file, &[("amqp.listen", "'10.0.0.2:2'")], "amqp.backlog", "7");
    check(
        file,
        &[("amqp.backlog", "8"), ("amqp.backlog", "9")],
        "amqp.backlog",
        "9",
    );
    // What is not TOML stands for itself, so that the shell needs no second pair of quotes.
    check(file, &[("log.level", "debug")], "log.level", r#""debug""#);
    check(
        file,
        &[("amqp.listen", "10.0.0.2:2")],
        "amqp.listen",
        r#"["10.0.0.2:2"]"#,
    );
    check(
        file,
        &[("amqp.frame_max", "64 KiB")],
        "amqp.frame_max",
        r#""64 KiB""#,
    );
}

#[test]
fn bad_flags_are_refused_by_name() {
    let check = |flag, expected: &str| {
        let refused = load("", &[flag]).unwrap_err();
        assert_eq!(refused, format!("the configuration cannot be used\n  {expected}"));
    };
    check(
        ("log.levle", "debug"),
        "--set log.levle=debug: log.levle: unknown key; did you mean `log.level`?",
    );
    check(
        ("log.level.x", "1"),
        "--set log.level.x=1: log.level.x: unknown key; did you mean `log.level`?",
    );
    check(("log", "1"), "--set log=1: log: is a table; name a key inside it");
    check(
        ("amqp.backlog", "many"),
        "--set amqp.backlog=many: amqp.backlog: must be a whole number from 1 to 65535, not a string",
    );
}

#[test]
fn keys_that_do_not_fit_together_are_refused() {
    let check = |text: &str, expected: &str| {
        let refused = load(text, &[]).unwrap_err();
        assert_eq!(
            refused,
            format!("the configuration cannot be used\n  {expected}"),
            "{text}"
        );
    };
    check(
        "[amqp]\nlisten = []",
        "amqp.listen: is empty and no encrypted listener is configured either: nobody could connect; give an address here, or set tls.certificate and tls.key",
    );
    check(
        "[tls]\ncertificate = 'c.pem'",
        "tls.key: is required when tls.certificate is set",
    );
    check(
        "[tls]\nkey = 'k.pem'",
        "tls.certificate: is required when tls.key is set",
    );
    check(
        "[tls]\nclient_ca = 'ca.pem'",
        "tls.client_ca: has no effect without tls.certificate and tls.key; set them too",
    );
    check(
        "[[vhosts]]\nname = 'a'\n[[vhosts]]\nname = 'a'",
        "vhosts: \"a\" is listed twice",
    );
    check(
        "[auth]\nexternal = 'common_name'",
        "auth.external: needs tls.client_ca: only a certificate that an authority of ours has signed names a user",
    );
    let policy = |rest: &str| format!("[[policies]]\nname = 'p'\npattern = 'q'\n{rest}\n");
    check(
        &policy("definition = { max-lengths = 1 }"),
        "policies: \"p\": [{<<\"max-lengths\">>,1}] are not recognised policy settings",
    );
    check(
        &policy("vhost = 'v'\ndefinition = { max-length = 1 }"),
        "policies: \"p\" is for the vhost \"v\", which [[vhosts]] does not list",
    );
    check(
        &policy("definition = { max-length = 1 }").repeat(2),
        "policies: \"p\" is listed twice for the vhost \"/\"",
    );
    let user = |rest: &str| {
        format!(
            "[[users]]\nname = 'ann'\npassword_hash = '{}'\n{rest}",
            crate::auth::password::GUEST_HASH
        )
    };
    check(
        &format!("{}{}", user(""), user("")),
        "users: \"ann\" is listed twice",
    );
    check(
        &user("permissions = [{ vhost = 'a' }]"),
        "users.permissions: user \"ann\" has permissions in the vhost \"a\", which [[vhosts]] does not list",
    );
    check(
        &user("permissions = [{}, { vhost = '/' }]"),
        "users.permissions: user \"ann\" has two entries for the vhost \"/\"",
    );
    let refused = load(&user("[[users.permissions]]\nread = '*'"), &[]).unwrap_err();
    assert!(
        refused.contains("everack.toml:5: users.permissions.read: cannot be used as a pattern: "),
        "{refused}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let sources = Sources {
        file: Some("/nowhere/everack.toml".into()),
        ..Sources::default()
    };
    let refused = Config::load(&sources).unwrap_err().to_string();
    assert!(
        refused.contains("/nowhere/everack.toml: cannot be read: No such file"),
        "{refused}"
    );
}

#[test]
fn a_reload_takes_over_what_may_change_and_names_the_rest() {
    let mut config = read("[amqp]\nlisten = '10.0.0.1:1'\nbacklog = 7").unwrap();
    let new = read("[amqp]\nlisten = '10.0.0.2:2'\nbacklog = 7\nconnections_max = 5\n[[vhosts]]\nname = 'v'")
        .unwrap();
    let changed: Vec<_> = config
        .reload(&new)
        .into_iter()
        .map(|changed| (changed.key, changed.change))
        .collect();
    let expected = [
        ("amqp.listen", Change::Restart),
        ("amqp.connections_max", Change::Live),
        ("vhosts", Change::Live),
    ];
    assert_eq!(changed, expected.map(|(key, change)| (key.to_owned(), change)));
    assert_eq!(shown(&config, "amqp.listen"), r#"["10.0.0.1:1"]"#);
    assert_eq!(config.amqp.connections_max.get(), 5);
    assert_eq!(config.vhosts, new.vhosts);
    let waiting = config.reload(&new);
    assert_eq!(
        waiting.len(),
        1,
        "what waits for a restart is told each time: {waiting:?}"
    );
}

#[test]
fn the_documented_defaults_are_the_defaults_and_complete() {
    let printed = render::documented_defaults();
    assert_eq!(read(&printed).unwrap(), Config::default(), "as printed");
    let is_setting = |line: &str| {
        line.starts_with('#') && line[1..].starts_with(|letter: char| letter.is_ascii_lowercase())
    };
    let uncommented: Vec<&str> = printed
        .lines()
        .take_while(|line| !line.starts_with("#[["))
        .map(|line| if is_setting(line) { &line[1..] } else { line })
        .collect();
    assert_eq!(
        read(&uncommented.join("\n")).unwrap(),
        Config::default(),
        "uncommented"
    );
    fn names(keys: &[Key], found: &mut Vec<&'static str>) {
        for key in keys {
            found.push(key.name);
            names(key.keys, found);
        }
    }
    let mut found = Vec::new();
    names(Config::KEYS, &mut found);
    for name in found {
        assert!(
            printed.contains(name),
            "{name} is not in what `everack config` prints"
        );
    }
}

#[test]
fn every_key_explains_itself() {
    fn check(keys: &[Key]) {
        for key in keys {
            let help = key.help.concat();
            assert!(
                help.trim_end().ends_with('.'),
                "{}: help must be sentences: {help:?}",
                key.name
            );
            assert!(
                key.default != REQUIRED || key.keys.is_empty(),
                "{}: a table cannot be required",
                key.name
            );
            check(key.keys);
        }
    }
    check(Config::KEYS);
}

/// To refresh it: `cargo run -p everack-server -- config --reference > docs/guide/src/configuration.md`.
#[test]
fn the_reference_in_the_guide_is_current() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/guide/src/configuration.md"
    );
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == render::reference(),
        "docs/guide/src/configuration.md is behind the keys; run\n  \
         cargo run -p everack-server -- config --reference > docs/guide/src/configuration.md"
    );
}
