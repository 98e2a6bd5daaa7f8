//! Where an API is and as whom it is asked, and the HTTP agent for that.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use percent_encoding::percent_decode_str;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;

use super::local::Connector;

/// Where an API is, and as whom it is asked.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Where it is.
    pub(crate) place: Place,
    /// Who asks; none on a socket of this machine, where the broker sees who it is.
    pub(crate) login: Option<Login>,
    /// Certificates of the authorities that are trusted instead of the usual ones, PEM.
    pub(crate) ca: Option<PathBuf>,
}

/// Where an API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// `http://host:15672`, perhaps with a prefix; without a slash at the end.
    Http(String),
    /// The socket that a broker keeps in its data directory for who operates its machine.
    Socket(PathBuf),
}

/// A user and its password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// Its name.
    pub(crate) user: String,
    /// Its password, in clear.
    pub(crate) password: String,
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
    pub(crate) fn parse(url: &str) -> anyhow::Result<Parsed> {
        if let Some(path) = url.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return Ok((Self::Socket(path.into()), None));
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            bail!("{url}: a URL must be like http://127.0.0.1:15672");
        };
        if !matches!(scheme, "http" | "https") {
            bail!("{url}: the management API speaks http or https, not {scheme}");
        }
        let rest = rest.trim_end_matches('/');
        let (authority, prefix) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        if address.is_empty() || address.starts_with(':') {
            bail!("{url}: there is no host in it");
        }
        let login = login.map(|login| match login.split_once(':') {
            Some((user, password)) => (unescaped(user), Some(unescaped(password))),
            None => (unescaped(login), None),
        });
        Ok((Self::Http(format!("{scheme}://{address}{prefix}")), login))
    }

    /// Whether it is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Http(base) => {
                let authority = base.split("://").nth(1).unwrap_or_default();
                let authority = authority.split('/').next().unwrap_or_default();
                let host = match authority.rsplit_once(':') {
                    Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
                    _ => authority,
                };
                let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
                host == "localhost" || address.is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl Target {
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
            .user_agent(concat!("everack-ctl/", env!("CARGO_PKG_VERSION")))
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
    fn passwords_are_not_shown() {
        let login = Login {
            user: "ops".into(),
            password: "secret".into(),
        };
        assert_eq!(format!("{login:?}"), "ops:***");
    }
}
