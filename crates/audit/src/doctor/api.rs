//! A small HTTP client for management APIs: GET, basic auth, JSON, limits. Knows no broker.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// The largest answer that is read: some hundred thousand queues.
const ANSWER_BYTES_MAX: u64 = 512 << 20;

/// A management API.
pub(super) struct Api {
    agent: ureq::Agent,
    target: Target,
}

/// Where an API is, and as whom to ask it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Scheme, host, port and perhaps a prefix, without a slash at the end.
    base: String,
    pub(super) host: String,
    pub(super) user: String,
    password: String,
}

/// What one request came to.
pub(super) enum Reply {
    /// An answer.
    Read(Value),
    /// None, and why.
    Refused(String),
}

impl Api {
    pub(super) fn new(url: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let target = Target::parse(url)?;
        let mut tls = TlsConfig::builder();
        if let Some(ca) = ca {
            tls = tls.root_certs(authorities(ca)?);
        }
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_MAX))
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls.build())
            .build()
            .new_agent();
        Ok(Self { agent, target })
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Asks for a path such as `/api/overview`.
    ///
    /// # Errors
    /// Nobody answers there, or not with what a management API answers. A refusal is an answer.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Reply> {
        let Target {
            base, user, password, ..
        } = &self.target;
        let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let mut response = self
            .agent
            .get(format!("{base}{path}"))
            .header("authorization", format!("Basic {login}"))
            .header("accept", "application/json")
            .call()
            .with_context(|| format!("{base} does not answer"))?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let body = body
            .read_to_vec()
            .with_context(|| format!("{base}{path}: the answer breaks off"))?;
        let value = serde_json::from_slice::<Value>(&body);
        if status.is_success() {
            let value = value.with_context(|| format!("{base}{path}: this is not a management API"))?;
            return Ok(Reply::Read(value));
        }
        let reason = value
            .ok()
            .and_then(|value| Some(value.get("reason")?.as_str()?.to_owned()));
        let reason = reason.unwrap_or_else(|| status.canonical_reason().unwrap_or("refused").to_owned());
        Ok(Reply::Refused(format!("{} {reason}", status.as_u16())))
    }
}

impl Target {
    fn parse(url: &str) -> anyhow::Result<Self> {
        let Some((scheme, rest)) = url.split_once("://") else {
            bail!("--url {url}: must be like http://user:password@host:15672");
        };
        if !matches!(scheme, "http" | "https") {
            bail!("--url {url}: the management API speaks http or https, not {scheme}");
        }
        let rest = rest.trim_end_matches('/');
        let (authority, prefix) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (login, address) = authority.rsplit_once('@').unwrap_or(("guest:guest", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let host = match address.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => address,
        };
        if host.is_empty() {
            bail!("--url {url}: there is no host in it");
        }
        Ok(Self {
            base: format!("{scheme}://{address}{prefix}"),
            host: host.trim_matches(['[', ']']).to_owned(),
            user: unescaped(user),
            password: unescaped(password),
        })
    }

    /// Whether the broker is on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// The address without user and password.
    pub(super) fn base(&self) -> &str {
        &self.base
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
        let check = |url: &str, expected: Option<(&str, &str, &str, &str)>| {
            let target = Target::parse(url).ok();
            let seen = target.as_ref().map(|target| {
                let Target {
                    base,
                    host,
                    user,
                    password,
                } = target;
                (base.as_str(), host.as_str(), user.as_str(), password.as_str())
            });
            assert_eq!(seen, expected, "{url}");
        };
        check(
            "http://guest:guest@127.0.0.1:15672",
            Some(("http://127.0.0.1:15672", "127.0.0.1", "guest", "guest")),
        );
        check(
            "https://a%40b:p%3a%2f@mq.example.com/prefix/",
            Some(("https://mq.example.com/prefix", "mq.example.com", "a@b", "p:/")),
        );
        check(
            "http://[::1]:15672",
            Some(("http://[::1]:15672", "::1", "guest", "guest")),
        );
        check("amqp://127.0.0.1", None);
        check("127.0.0.1:15672", None);
        check("http://", None);
    }

    #[test]
    fn this_machine() {
        let check =
            |url: &str, expected| assert_eq!(Target::parse(url).unwrap().is_loopback(), expected, "{url}");
        check("http://localhost:15672", true);
        check("http://127.0.0.2", true);
        check("http://[::1]:1", true);
        check("http://192.0.2.1", false);
        check("http://mq.example.com", false);
    }
}
