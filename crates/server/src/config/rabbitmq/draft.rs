//! What has been understood so far, and the file that becomes of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Translation;
use super::lines::Entry;
use crate::auth::password;
use crate::config::setting::quoted;

/// A value of ours, and the lines that it was made of.
#[derive(Debug, Default)]
struct Line {
    value: String,
    from: Vec<String>,
}

/// The user that RabbitMQ makes at its first start.
#[derive(Debug, Default)]
pub(super) struct DefaultUser {
    pub(super) name: Option<String>,
    pub(super) password: Option<String>,
    pub(super) vhost: Option<String>,
    pub(super) configure: Option<String>,
    pub(super) write: Option<String>,
    pub(super) read: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) from: Vec<String>,
}

/// Lines that mean something only together.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) memory: u64,
    /// By section and key.
    lines: BTreeMap<(&'static str, &'static str), Line>,
    same: Vec<String>,
    left: Vec<String>,
    pub(super) user: DefaultUser,
    pub(super) plain: Listeners,
    pub(super) encrypted: Listeners,
    pub(super) http: WebListener,
    pub(super) metrics: WebListener,
    /// Certificates of authorities; in force only if clients must show a certificate.
    pub(super) authorities: Option<(String, Entry)>,
    pub(super) verifies: bool,
    pub(super) demands: bool,
    pub(super) tells_names_by: Option<String>,
    pub(super) external: Option<Entry>,
    pub(super) level: Option<u8>,
}

/// Where to listen for HTTP, by lines that each say a part of it.
#[derive(Debug, Default)]
pub(super) struct WebListener {
    ip: Option<String>,
    port: Option<u16>,
    from: Vec<String>,
}

impl WebListener {
    pub(super) fn ip(&mut self, entry: &Entry) -> Result<(), String> {
        self.ip = Some(entry.value.clone());
        self.from.push(entry.shown());
        Ok(())
    }

    pub(super) fn port(&mut self, entry: &Entry) -> Result<(), String> {
        let port = entry.value.parse();
        self.port = Some(port.map_err(|_| format!("`{}` is no port", entry.value))?);
        self.from.push(entry.shown());
        Ok(())
    }

    /// The address, if anything was said of it; RabbitMQ listens everywhere unless told otherwise.
    fn address(&self, port: u16) -> Option<String> {
        if self.from.is_empty() {
            return None;
        }
        let port = self.port.unwrap_or(port);
        Some(match self.ip.as_deref() {
            Some(ip) if ip.contains(':') => format!("[{ip}]:{port}"),
            ip => format!("{}:{port}", ip.unwrap_or("0.0.0.0")),
        })
    }
}

/// Where to listen, one listener a line.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) addresses: Vec<String>,
    pub(super) none: bool,
    pub(super) from: Vec<String>,
}

impl Draft {
    pub(super) fn new(memory: u64) -> Self {
        Self {
            memory,
            ..Self::default()
        }
    }

    /// Sets a key of ours to a value in TOML.
    pub(super) fn set(&mut self, section: &'static str, key: &'static str, value: String, from: &[String]) {
        let line = self.lines.entry((section, key)).or_default();
        line.value = value;
        line.from.extend_from_slice(from);
    }

    /// Whether a key of ours is set.
    pub(super) fn has(&self, section: &'static str, key: &'static str) -> bool {
        self.lines.contains_key(&(section, key))
    }

    /// What is so here without a key.
    pub(super) fn same(&mut self, entry: &Entry, why: &str) {
        self.same.push(format!("{}: {why}", entry.shown()));
    }

    /// What has no counterpart.
    pub(super) fn left(&mut self, entry: &Entry, why: &str) {
        self.left
            .push(format!("line {}: {}: {why}", entry.line, entry.shown()));
    }

    pub(super) fn finish(mut self) -> Result<Translation, String> {
        self.finish_listeners();
        self.finish_certificates();
        let users = self.finish_user()?;
        let mut toml = String::from(
            "# Made of a rabbitmq.conf by `everack config --from-rabbitmq`. `everack config` prints all keys that there are.\n",
        );
        let mut section = "";
        for ((of, key), line) in &self.lines {
            if *of != section {
                section = of;
                let _ = write!(toml, "\n[{section}]\n");
            }
            comments(&mut toml, &line.from);
            let _ = writeln!(toml, "{key} = {}", line.value);
        }
        toml += &users;
        if !self.same.is_empty() {
            toml += "\n# These are so without a key:\n";
            comments(&mut toml, &self.same);
        }
        if !self.left.is_empty() {
            toml += "\n# These have no counterpart:\n";
            comments(&mut toml, &self.left);
        }
        Ok(Translation {
            toml,
            left: self.left,
        })
    }

    fn finish_listeners(&mut self) {
        let plain = std::mem::take(&mut self.plain);
        let value = if plain.none { Vec::new() } else { plain.addresses };
        if value.is_empty() && !plain.none {
            // RabbitMQ listens everywhere if nothing is said; Everack on this machine only.
            let from = ["(not given)".to_owned()];
            self.set("amqp", "listen", list(&["0.0.0.0:5672".to_owned()]), &from);
        } else {
            self.set("amqp", "listen", list(&value), &plain.from);
        }
        let encrypted = std::mem::take(&mut self.encrypted);
        if !encrypted.addresses.is_empty() {
            self.set("tls", "listen", list(&encrypted.addresses), &encrypted.from);
        }
        let (http, metrics) = (std::mem::take(&mut self.http), std::mem::take(&mut self.metrics));
        for (section, listener, port) in [("http", http, 15672), ("metrics", metrics, 15692)] {
            if let Some(address) = listener.address(port) {
                self.set(section, "listen", list(&[address]), &listener.from);
            }
        }
    }

    /// Client certificates are demanded or not asked for; RabbitMQ can also ask without demanding.
    fn finish_certificates(&mut self) {
        let mut is_set = false;
        if let Some((file, entry)) = self.authorities.take() {
            if self.verifies && self.demands {
                self.set("tls", "client_ca", quoted(&file), &[entry.shown()]);
                is_set = true;
            } else {
                self.left(
                    &entry,
                    "clients are not asked for certificates unless they must have one (fail_if_no_peer_cert)",
                );
            }
        }
        if let Some(entry) = self.external.take() {
            if is_set {
                let name = self.tells_names_by.clone();
                let name = name.unwrap_or_else(|| "distinguished_name".to_owned());
                self.set("auth", "external", quoted(&name), &[entry.shown()]);
            } else {
                self.left(
                    &entry,
                    "log-in by certificate needs certificates that clients must have",
                );
            }
        }
    }

    fn finish_user(&mut self) -> Result<String, String> {
        let user = std::mem::take(&mut self.user);
        if user.from.is_empty() {
            return Ok(String::new());
        }
        let name = user.name.unwrap_or_else(|| "guest".to_owned());
        let secret = user.password.unwrap_or_else(|| "guest".to_owned());
        let vhost = user.vhost.unwrap_or_else(|| "/".to_owned());
        let tags = if user.tags.is_empty() {
            vec!["administrator".to_owned()]
        } else {
            user.tags
        };
        let mut toml = String::new();
        if vhost != "/" {
            let _ = write!(toml, "\n[[vhosts]]\nname = {}\n", quoted(&vhost));
        }
        let is_usual = (name.as_str(), secret.as_str(), vhost.as_str()) == ("guest", "guest", "/");
        let is_narrowed = [&user.configure, &user.write, &user.read]
            .iter()
            .any(|given| given.is_some());
        if is_usual && !is_narrowed && tags == ["administrator"] {
            let told = user
                .from
                .iter()
                .map(|line| format!("{line}: the user guest is there by itself"));
            self.same.extend(told);
            return Ok(toml);
        }
        if name != "guest" && !self.has("auth", "guest") {
            self.set(
                "auth",
                "guest",
                quoted("off"),
                &["default_user is another".to_owned()],
            );
        }
        let hash = password::hash(secret.as_bytes()).map_err(|error| format!("default_pass: {error:#}"))?;
        let all = || ".*".to_owned();
        toml += "\n";
        comments(&mut toml, &user.from);
        let _ = write!(
            toml,
            "[[users]]\nname = {}\npassword_hash = {}\ntags = {}\npermissions = [{{ vhost = {}, configure = {}, write = {}, read = {} }}]\n",
            quoted(&name),
            quoted(&hash),
            list(&tags),
            quoted(&vhost),
            quoted(&user.configure.unwrap_or_else(all)),
            quoted(&user.write.unwrap_or_else(all)),
            quoted(&user.read.unwrap_or_else(all)),
        );
        Ok(toml)
    }
}

/// Lines of comment; what came from outside has no line end to leave one with.
fn comments(toml: &mut String, lines: &[String]) {
    for line in lines {
        let _ = writeln!(toml, "# {}", line.replace(char::is_control, " "));
    }
}

fn list(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    format!("[{}]", values.join(", "))
}
