//! Where an API is and as whom it is asked, and the HTTP agent for that.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use percent_encoding::percent_decode_str;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;

use crate::socket::Connector;

/// Where an API is, and as whom it is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it is.
    pub place: Place,
    /// Who asks; none on a socket of this machine, where the broker sees who it is.
    pub login: Option<Login>,
    /// Certificates of the authorities that are trusted instead of the usual ones, PEM.
    pub ca: Option<PathBuf>,
}

/// Where an API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `http://host:15672`, perhaps with a prefix; without a slash at the end.
    Http(String),
    /// The socket that a broker keeps in its data directory for who operates its machine.
    Socket(PathBuf),
}

/// A user and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name.
    pub user: String,
    /// Its password, in clear.
    pub password: String,
}

/// What a URL says: a place, and perhaps who asks.
type Parsed = (Place, Option<(String, Option<String>)>);

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:***", self.user)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(base) => f.write_str(base),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Place {
    /// What comes before `/api` in a URI.
    pub(super) fn base(&self) -> &str {
        match self {
            Self::Http(base) => base,
            Self::Socket(_) => "http://localhost",
        }
    }

    /// Reads `http://user:password@host:port/prefix`, `https://...` or `unix:/path`.
    pub fn parse(url: &str) -> anyhow::Result<Parsed> {
        if let Some(path) = url.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return Ok((Self::Socket(path.into()), None));
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            // Without the text: there may be a password in it.
            bail!("the URL of a management API must be like http://user:password@host:15672");
        };
        if !matches!(scheme, "http" | "https") {
            bail!("the management API speaks http or https, not {scheme}");
        }
        let rest = rest.trim_end_matches('/');
        let (authority, prefix) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        if address.is_empty() || address.starts_with(':') {
            bail!("there is no host in the URL");
        }
        let login = login.map(|login| match login.split_once(':') {
            Some((user, password)) => (unescaped(user), Some(unescaped(password))),
            None => (unescaped(login), None),
        });
        Ok((Self::Http(format!("{scheme}://{address}{prefix}")), login))
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        let Some(host) = self.host() else {
            return true;
        };
        let address = host.parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// The host's name or address, that of IPv6 without brackets; a socket has none.
    pub fn host(&self) -> Option<&str> {
        let Self::Http(base) = self else {
            return None;
        };
        let authority = base.split("://").nth(1).unwrap_or_default();
        let authority = authority.split('/').next().unwrap_or_default();
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        Some(host.trim_matches(['[', ']']))
    }

    /// Whether what is said on the way is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Http(base) if base.starts_with("https:"))
    }
}

impl Target {
    /// What a URL says; `guest` with its usual password asks if it names nobody, and nobody over a socket.
    ///
    /// # Errors
    /// It is no URL of a management API.
    pub fn of_url(url: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let (place, told) = Place::parse(url)?;
        let login = match (&place, told) {
            (_, Some((user, password))) => Some((user, password.unwrap_or_default())),
            (Place::Http(_), None) => Some(("guest".to_owned(), "guest".to_owned())),
            (Place::Socket(_), None) => None,
        };
        Ok(Self {
            place,
            login: login.map(|(user, password)| Login { user, password }),
            ca: ca.map(Path::to_owned),
        })
    }

    /// An agent that waits for no answer longer than `timeout`.
    pub(super) fn agent(&self, timeout: Duration) -> anyhow::Result<Agent> {
        let mut tls = TlsConfig::builder();
        if let Some(ca) = &self.ca {
            tls = tls.root_certs(authorities(ca)?);
        }
        let mut config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("everack/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build());
        if self.place.is_loopback() {
            // What is on this machine is not behind a proxy, whatever the environment says.
            config = config.proxy(None);
        }
        let config = config.build();
        Ok(match &self.place {
            Place::Http(_) => config.new_agent(),
            Place::Socket(path) => {
                Agent::with_parts(config, Connector::to(path.clone()), DefaultResolver::default())
            }
        })
    }
}

fn authorities(file: &Path) -> anyhow::Result<RootCerts> {
    let pem = std::fs::read(file).with_context(|| format!("--ca {}", file.display()))?;
    let certificates: Vec<Certificate<'static>> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        bail!("--ca {}: there is no certificate in it", file.display());
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

/// Undoes `%xx`.
fn unescaped(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        // Place, user and password, with a dash for what is not said.
        let check = |url: &str, expected: &str| {
            let seen = Place::parse(url).map(|(place, login)| {
                let (user, password) = login.unwrap_or_else(|| ("-".to_owned(), None));
                format!("{place} {user} {}", password.as_deref().unwrap_or("-"))
            });
            assert_eq!(seen.unwrap_or_default(), expected, "{url}");
        };
        check("http://127.0.0.1:15672/", "http://127.0.0.1:15672 - -");
        check(
            "https://a%40b:p%3a%2f@mq.example.com/prefix/",
            "https://mq.example.com/prefix a@b p:/",
        );
        check("http://ops@[::1]:1", "http://[::1]:1 ops -");
        check("unix:/run/x.sock", "/run/x.sock - -");
        check("unix:///run/x.sock", "/run/x.sock - -");
        check("amqp://127.0.0.1", "");
        check("127.0.0.1:15672", "");
        check("http://", "");
        check("http://:1", "");
    }

    #[test]
    fn this_machine() {
        let check = |url: &str, expected| {
            let (place, _) = Place::parse(url).unwrap();
            assert_eq!(place.is_loopback(), expected, "{url}");
        };
        check("http://localhost:15672", true);
        check("http://127.0.0.2", true);
        check("http://[::1]:1", true);
        check("unix:/x", true);
        check("http://192.0.2.1", false);
        check("https://mq.example.com/x", false);
    }

    #[test]
    fn hosts() {
        let check = |url: &str, host: Option<&str>, encrypted| {
            let (place, _) = Place::parse(url).unwrap();
            assert_eq!((place.host(), place.is_encrypted()), (host, encrypted), "{url}");
        };
        check("http://mq:15672/x", Some("mq"), false);
        check("https://a:b@mq.example.com", Some("mq.example.com"), true);
        check("http://[::1]:1", Some("::1"), false);
        check("http://[::1]", Some("::1"), false);
        check("unix:/x", None, false);
    }

    #[test]
    fn who_asks_is_in_the_url_or_usual() {
        let check = |url: &str, expected: Option<(&str, &str)>| {
            let login = Target::of_url(url, None).unwrap().login;
            let seen = login
                .as_ref()
                .map(|login| (login.user.as_str(), login.password.as_str()));
            assert_eq!(seen, expected, "{url}");
        };
        check("http://a:b@mq", Some(("a", "b")));
        check("http://a@mq", Some(("a", "")));
        check("http://mq", Some(("guest", "guest")));
        check("unix:/x", None);
        let refused = Target::of_url("amqp://a:secret@mq", None)
            .unwrap_err()
            .to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }

    #[test]
    fn passwords_are_not_shown() {
        let login = Login {
            user: "ops".into(),
            password: "secret".into(),
        };
        assert_eq!(format!("{login:?}"), "ops:***");
    }
}
