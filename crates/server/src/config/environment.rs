//! The variables that RabbitMQ's container image knows, as keys of ours. Pure: what they are and how files are read is passed in.
//!
//! Asked for with `everack serve --rabbitmq-environment`, as our image does; elsewhere a variable that is left over from another
//! time changes nothing. What means nothing here is named in the log, and never passed over silently.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::load::Override;
use super::rabbitmq::is_rabbitmqs;
use super::setting::quoted;
use crate::auth::password;

/// What the variables come to.
#[derive(Debug, Default)]
pub struct FromEnvironment {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// As if they were flags, before those of the command line.
    pub flags: Vec<Override>,
    /// What is to be said in the log.
    pub notes: Vec<String>,
}

/// Variables that mean nothing here, and why. A pattern ends in `*` where it stands for a family.
const IDLE: &[(&str, &str)] = &[
    ("RABBITMQ_NODENAME", "there is one node, and it needs no name"),
    ("RABBITMQ_USE_LONGNAME", "there is one node, and it needs no name"),
    (
        "RABBITMQ_ERLANG_COOKIE",
        "nodes of a cluster share it, and there is one node",
    ),
    ("RABBITMQ_MNESIA_*", "the data lie where --data says"),
    ("RABBITMQ_HOME", "there is no such directory"),
    ("RABBITMQ_VERSION", "it belongs to the image of RabbitMQ"),
    ("RABBITMQ_PGP_KEY_ID", "it belongs to the image of RabbitMQ"),
    ("RABBITMQ_DATA_DIR", "the data lie where --data says"),
    ("RABBITMQ_ENABLED_PLUGINS*", "there are no plugins"),
    ("RABBITMQ_PLUGINS_DIR", "there are no plugins"),
    ("RABBITMQ_SERVER_*", "they are for the Erlang machine"),
    ("RABBITMQ_CTL_*", "they are for the Erlang machine"),
    (
        "RABBITMQ_ADVANCED_CONFIG_FILE",
        "Erlang terms are not read; write what it says as TOML",
    ),
    (
        "RABBITMQ_VM_MEMORY_HIGH_WATERMARK",
        "RabbitMQ's image refuses it too: vm_memory_high_watermark in a rabbitmq.conf, or memory.process_max",
    ),
    (
        "RABBITMQ_MANAGEMENT_SSL_*",
        "the API is not encrypted: put a proxy before it",
    ),
];

/// Where the official image listens: everywhere within its container.
const PORT: &str = "5672";
const ANYWHERE: &str = "0.0.0.0";
const HTTP: &str = "0.0.0.0:15672";
const METRICS: &str = "0.0.0.0:15692";

/// Reads the variables; `file` reads a file's text.
///
/// # Errors
/// A variable and its `_FILE` are both given, a file cannot be read, or a value is none.
pub fn read(
    variables: &[(String, String)],
    file: &dyn Fn(&Path) -> io::Result<String>,
) -> anyhow::Result<FromEnvironment> {
    let environment = Environment { variables, file };
    let mut found = FromEnvironment {
        file: environment.config_file(),
        ..FromEnvironment::default()
    };
    match &found.file {
        Some(path) if !is_rabbitmqs(path) => {
            if environment
                .raw("RABBITMQ_DEFAULT_USER")
                .or(environment.raw("RABBITMQ_DEFAULT_USER_FILE"))
                .is_some()
            {
                found.notes.push(
                    "RABBITMQ_DEFAULT_USER: the configuration file says which users there are".to_owned(),
                );
            }
        }
        _ => {
            environment.listen(&mut found)?;
            environment.user(&mut found)?;
            environment.certificates(&mut found);
        }
    }
    environment.logging(&mut found);
    environment.note_others(&mut found);
    Ok(found)
}

struct Environment<'a> {
    variables: &'a [(String, String)],
    file: &'a dyn Fn(&Path) -> io::Result<String>,
}

impl Environment<'_> {
    fn raw(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// A variable, or the text of the file that its `_FILE` names.
    fn value(&self, name: &str) -> anyhow::Result<Option<String>> {
        let from_file = format!("{name}_FILE");
        match (self.raw(name), self.raw(&from_file)) {
            (Some(_), Some(_)) => bail!("{name} and {from_file} are both set: give one"),
            (Some(value), None) => Ok(Some(value.to_owned())),
            (None, Some(path)) => {
                let text = (self.file)(Path::new(path)).with_context(|| format!("{from_file}: {path}"))?;
                // The line end belongs to who wrote the file.
                let text = text.strip_suffix('\n').unwrap_or(&text);
                Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()))
            }
            (None, None) => Ok(None),
        }
    }

    /// RabbitMQ lets the `.conf` be left out.
    fn config_file(&self) -> Option<PathBuf> {
        let path = PathBuf::from(self.raw("RABBITMQ_CONFIG_FILE")?);
        if path.extension().is_some() {
            return Some(path);
        }
        let mut name = path.into_os_string();
        name.push(".conf");
        Some(PathBuf::from(name))
    }

    fn listen(&self, found: &mut FromEnvironment) -> anyhow::Result<()> {
        let port = self.raw("RABBITMQ_NODE_PORT");
        let host = self.raw("RABBITMQ_NODE_IP_ADDRESS");
        if found.file.is_none() || port.is_some() || host.is_some() {
            let port = port.unwrap_or(PORT);
            port.parse::<u16>()
                .with_context(|| format!("RABBITMQ_NODE_PORT: {port} is no port"))?;
            let host = host.unwrap_or(ANYWHERE);
            let host = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_owned()
            };
            flag(
                found,
                "RABBITMQ_NODE_PORT",
                "amqp.listen",
                &format!("{host}:{port}"),
            );
        }
        if !self.file_says(found, &["management.tcp.", "management.listener."]) {
            flag(found, "--rabbitmq-environment", "http.listen", HTTP);
        }
        if !self.file_says(found, &["prometheus.tcp."]) {
            flag(found, "--rabbitmq-environment", "metrics.listen", METRICS);
        }
        Ok(())
    }

    /// Whether the file has a key that begins so. One that cannot be read is refused later, with its name.
    fn file_says(&self, found: &FromEnvironment, keys: &[&str]) -> bool {
        let text = found
            .file
            .as_ref()
            .and_then(|path| (self.file)(path).ok())
            .unwrap_or_default();
        text.lines()
            .any(|line| keys.iter().any(|key| line.trim_start().starts_with(key)))
    }

    /// As in RabbitMQ's image: the user that is named is the administrator, and `guest` is not there; without one `guest` is, and may
    /// log in from everywhere.
    fn user(&self, found: &mut FromEnvironment) -> anyhow::Result<()> {
        let name = self.value("RABBITMQ_DEFAULT_USER")?;
        let secret = self.value("RABBITMQ_DEFAULT_PASS")?;
        let vhost = self.value("RABBITMQ_DEFAULT_VHOST")?;
        if name.is_none() && secret.is_none() && vhost.is_none() {
            if !self.file_says(found, &["loopback_users", "default_user", "default_pass"]) {
                flag(found, "--rabbitmq-environment", "auth.guest", "anywhere");
                found.notes.push(
                    "the user guest may log in from everywhere with the password guest: set RABBITMQ_DEFAULT_USER and \
                     RABBITMQ_DEFAULT_PASS"
                        .to_owned(),
                );
            }
            return Ok(());
        }
        let name = name.unwrap_or_else(|| "guest".to_owned());
        let secret = secret.unwrap_or_else(|| "guest".to_owned());
        let vhost = vhost.unwrap_or_else(|| "/".to_owned());
        let hash = password::hash(secret.as_bytes()).context("RABBITMQ_DEFAULT_PASS")?;
        let all = "configure = \".*\", write = \".*\", read = \".*\"";
        let user = format!(
            "[{{ name = {}, password_hash = {}, tags = [\"administrator\"], permissions = [{{ vhost = {}, {all} }}] }}]",
            quoted(&name),
            quoted(&hash),
            quoted(&vhost)
        );
        toml(found, "RABBITMQ_DEFAULT_USER", "users", user);
        if vhost != "/" {
            toml(
                found,
                "RABBITMQ_DEFAULT_VHOST",
                "vhosts",
                format!("[{{ name = {} }}]", quoted(&vhost)),
            );
        }
        let guest = if name == "guest" { "anywhere" } else { "off" };
        flag(found, "RABBITMQ_DEFAULT_USER", "auth.guest", guest);
        Ok(())
    }

    /// RabbitMQ's image had these until 3.8.
    fn certificates(&self, found: &mut FromEnvironment) {
        for (variable, key) in [
            ("RABBITMQ_SSL_CERTFILE", "tls.certificate"),
            ("RABBITMQ_SSL_KEYFILE", "tls.key"),
        ] {
            if let Some(path) = self.raw(variable) {
                flag(found, variable, key, path);
            }
        }
        if self.raw("RABBITMQ_SSL_CERTFILE").is_some() {
            flag(found, "RABBITMQ_SSL_CERTFILE", "tls.listen", "0.0.0.0:5671");
        }
        let demands = self.raw("RABBITMQ_SSL_FAIL_IF_NO_PEER_CERT") == Some("true");
        match self.raw("RABBITMQ_SSL_CACERTFILE") {
            Some(path) if demands => flag(found, "RABBITMQ_SSL_CACERTFILE", "tls.client_ca", path),
            Some(_) => found.notes.push(
                "RABBITMQ_SSL_CACERTFILE: clients are not asked for certificates without RABBITMQ_SSL_FAIL_IF_NO_PEER_CERT=true".to_owned(),
            ),
            None => {}
        }
    }

    fn logging(&self, found: &mut FromEnvironment) {
        if let Some(place) = self.raw("RABBITMQ_LOGS").filter(|place| *place != "-") {
            found
                .notes
                .push(format!("RABBITMQ_LOGS={place}: the log goes to standard error"));
        }
        let Some(level) = self.raw("RABBITMQ_LOG") else {
            return;
        };
        let known = ["debug", "info", "warn", "error", "off"];
        let level = match level.trim_start_matches('=') {
            "warning" => "warn",
            "none" => "off",
            other => other,
        };
        if known.contains(&level) {
            flag(found, "RABBITMQ_LOG", "log.level", level);
        } else {
            found.notes.push(format!(
                "RABBITMQ_LOG={level}: not understood; log.level takes targets too"
            ));
        }
    }

    fn note_others(&self, found: &mut FromEnvironment) {
        const KNOWN: &[&str] = &[
            "RABBITMQ_CONFIG_FILE",
            "RABBITMQ_DEFAULT_PASS",
            "RABBITMQ_DEFAULT_PASS_FILE",
            "RABBITMQ_DEFAULT_USER",
            "RABBITMQ_DEFAULT_USER_FILE",
            "RABBITMQ_DEFAULT_VHOST",
            "RABBITMQ_DEFAULT_VHOST_FILE",
            "RABBITMQ_LOG",
            "RABBITMQ_LOGS",
            "RABBITMQ_NODE_IP_ADDRESS",
            "RABBITMQ_NODE_PORT",
            "RABBITMQ_SSL_CACERTFILE",
            "RABBITMQ_SSL_CERTFILE",
            "RABBITMQ_SSL_FAIL_IF_NO_PEER_CERT",
            "RABBITMQ_SSL_KEYFILE",
            "RABBITMQ_SSL_VERIFY",
        ];
        for (name, _) in self
            .variables
            .iter()
            .filter(|(name, _)| name.starts_with("RABBITMQ_"))
        {
            if KNOWN.contains(&name.as_str()) {
                continue;
            }
            let fits = |pattern: &str| match pattern.strip_suffix('*') {
                Some(front) => name.starts_with(front),
                None => name == pattern,
            };
            let idle = IDLE.iter().find(|(pattern, _)| fits(pattern));
            let why = idle.map_or("it means nothing here", |(_, why)| *why);
            found.notes.push(format!("{name}: {why}"));
        }
    }
}

fn flag(found: &mut FromEnvironment, variable: &str, key: &str, value: &str) {
    found.flags.push(Override::text(variable, key, value));
}

fn toml(found: &mut FromEnvironment, variable: &str, key: &str, value: String) {
    found.flags.push(Override {
        flag: variable.to_owned(),
        key: key.to_owned(),
        value,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    const SECRET: &str = "/run/secrets/pass";

    fn file(path: &Path) -> io::Result<String> {
        match path.to_str() {
            Some(SECRET) => Ok("s3cret\n".to_owned()),
            Some("/etc/rabbitmq/rabbitmq.conf") => {
                Ok("management.tcp.port = 1\ndefault_user = a\n".to_owned())
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn found(variables: &[(&str, &str)]) -> anyhow::Result<FromEnvironment> {
        let owned: Vec<(String, String)> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        read(&owned, &file)
    }

    /// Keys that are set; hashes differ each time and are left out.
    fn check(variables: &[(&str, &str)], keys: &[(&str, &str)], notes: usize) {
        let found = found(variables).unwrap();
        let seen: Vec<(&str, &str)> = found
            .flags
            .iter()
            .filter(|flag| flag.key != "users")
            .map(|flag| (flag.key.as_str(), flag.value.as_str()))
            .collect();
        assert_eq!(seen, keys, "{variables:?}");
        assert_eq!(found.notes.len(), notes, "{:?}", found.notes);
        let sources = Sources {
            flags: found.flags,
            ..Sources::default()
        };
        if let Err(refused) = Config::load(&sources) {
            panic!("{variables:?}: {refused}");
        }
    }

    const LISTEN: (&str, &str) = ("amqp.listen", "\"0.0.0.0:5672\"");
    const API: (&str, &str) = ("http.listen", "\"0.0.0.0:15672\"");
    const SCRAPES: (&str, &str) = ("metrics.listen", "\"0.0.0.0:15692\"");
    const GUEST: (&str, &str) = ("auth.guest", "\"anywhere\"");
    const NO_GUEST: (&str, &str) = ("auth.guest", "\"off\"");

    #[test]
    fn variables() {
        check(&[], &[LISTEN, API, SCRAPES, GUEST], 1);
        check(&[("PATH", "/bin")], &[LISTEN, API, SCRAPES, GUEST], 1);
        check(
            &[("RABBITMQ_DEFAULT_USER", "shop"), ("RABBITMQ_DEFAULT_PASS", "x")],
            &[LISTEN, API, SCRAPES, NO_GUEST],
            0,
        );
        check(
            &[("RABBITMQ_DEFAULT_USER", "shop"), ("RABBITMQ_DEFAULT_VHOST", "v")],
            &[LISTEN, API, SCRAPES, ("vhosts", "[{ name = \"v\" }]"), NO_GUEST],
            0,
        );
        check(
            &[
                ("RABBITMQ_NODE_PORT", "5673"),
                ("RABBITMQ_NODE_IP_ADDRESS", "::1"),
            ],
            &[("amqp.listen", "\"[::1]:5673\""), API, SCRAPES, GUEST],
            1,
        );
        check(
            &[("RABBITMQ_LOG", "warning"), ("RABBITMQ_LOGS", "-")],
            &[LISTEN, API, SCRAPES, GUEST, ("log.level", "\"warn\"")],
            1,
        );
        check(
            &[("RABBITMQ_LOGS", "/var/log/r.log")],
            &[LISTEN, API, SCRAPES, GUEST],
            2,
        );
        check(
            &[("RABBITMQ_NODENAME", "rabbit@a"), ("RABBITMQ_ODD", "1")],
            &[LISTEN, API, SCRAPES, GUEST],
            3,
        );
    }

    #[test]
    fn a_file_of_rabbitmqs_has_its_say() {
        let conf = found(&[("RABBITMQ_CONFIG_FILE", "/etc/rabbitmq/rabbitmq")]).unwrap();
        assert_eq!(
            conf.file.as_deref(),
            Some(Path::new("/etc/rabbitmq/rabbitmq.conf"))
        );
        // It says where the API listens, and nothing of metrics.
        let set: Vec<&str> = conf.flags.iter().map(|flag| flag.key.as_str()).collect();
        assert_eq!(set, ["metrics.listen"]);
    }

    #[test]
    fn a_file_of_ours_has_the_last_word() {
        let toml = found(&[
            ("RABBITMQ_CONFIG_FILE", "/etc/everack/everack.toml"),
            ("RABBITMQ_DEFAULT_USER", "a"),
        ])
        .unwrap();
        assert!(toml.flags.is_empty(), "{:?}", toml.flags);
        assert_eq!(toml.notes.len(), 1);
    }

    #[test]
    fn secrets_come_from_files() {
        let user = |found: &FromEnvironment| {
            found
                .flags
                .iter()
                .find(|flag| flag.key == "users")
                .cloned()
                .unwrap()
        };
        let found = found(&[
            ("RABBITMQ_DEFAULT_USER", "shop"),
            ("RABBITMQ_DEFAULT_PASS_FILE", SECRET),
        ])
        .unwrap();
        let user = user(&found).value;
        let hash = user
            .split('"')
            .find(|part| part.starts_with("$argon2id$"))
            .unwrap();
        assert!(password::verify(b"s3cret", hash));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |variables: &[(&str, &str)], told: &str| {
            let error = format!("{:#}", found(variables).expect_err(told));
            assert!(error.contains(told), "{error}");
        };
        check(
            &[
                ("RABBITMQ_DEFAULT_PASS", "a"),
                ("RABBITMQ_DEFAULT_PASS_FILE", SECRET),
            ],
            "are both set",
        );
        check(
            &[("RABBITMQ_DEFAULT_USER_FILE", "/nowhere")],
            "RABBITMQ_DEFAULT_USER_FILE: /nowhere",
        );
        check(&[("RABBITMQ_NODE_PORT", "many")], "is no port");
    }
}
