//! Where a broker is: its management API and its AMQP port. Parses and escapes; connects to nothing.

use anyhow::{Context as _, bail, ensure};
use lapin::uri::{AMQPScheme, AMQPUri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but the unreserved characters is escaped.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Heartbeats that are asked for, in seconds, unless the URL says otherwise.
const HEARTBEAT: u16 = 30;

/// Where an API is, and as whom to ask it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Scheme, host, port and perhaps a prefix, without a slash at the end.
    pub(crate) base: String,
    host: String,
    encrypted: bool,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Address {
    /// The address in a flag such as `--from`.
    pub(crate) fn parse(flag: &str, url: &str) -> anyhow::Result<Self> {
        let Some((scheme, rest)) = url.split_once("://") else {
            bail!("{flag}: must be like http://user:password@host:15672");
        };
        ensure!(
            matches!(scheme, "http" | "https"),
            "{flag}: the management API speaks http or https, not {scheme}"
        );
        let rest = rest.trim_end_matches('/');
        let (authority, prefix) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (login, place) = authority.rsplit_once('@').unwrap_or(("guest:guest", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let host = match place.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => place,
        };
        ensure!(!host.is_empty(), "{flag}: there is no host in it");
        Ok(Self {
            base: format!("{scheme}://{place}{prefix}"),
            host: host.to_owned(),
            encrypted: scheme == "https",
            user: unescaped(user),
            password: unescaped(password),
        })
    }

    /// The AMQP address: what was given, or the usual port of the same host with the same login.
    pub(crate) fn amqp(&self, flag: &str, given: Option<&str>) -> anyhow::Result<AMQPUri> {
        let url = match given {
            Some(url) => url.to_owned(),
            None => {
                let (scheme, port) = if self.encrypted {
                    ("amqps", 5671)
                } else {
                    ("amqp", 5672)
                };
                let login = format!("{}:{}", escaped(&self.user), escaped(&self.password));
                format!("{scheme}://{login}@{}:{port}", self.host)
            }
        };
        let mut uri: AMQPUri = url
            .parse()
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("{flag}: must be like amqp://user:password@host:5672"))?;
        // The parser takes an IPv6 address for no host at all.
        let bracketed = url.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        if let Some((host, _)) = bracketed {
            uri.authority.host = host.to_owned();
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        Ok(uri)
    }
}

/// An AMQP address without its password, for people and journals.
pub(crate) fn shown(uri: &AMQPUri) -> String {
    let scheme = match uri.scheme {
        AMQPScheme::AMQP => "amqp",
        AMQPScheme::AMQPS => "amqps",
    };
    format!("{scheme}://{}:{}", uri.authority.host, uri.authority.port)
}

/// A name as one part of a path.
pub(crate) fn escaped(name: &str) -> String {
    utf8_percent_encode(name, RESERVED).to_string()
}

/// Undoes `%xx`.
fn unescaped(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_amqp_address_follows_from_the_api() {
        let check = |url: &str, given: Option<&str>, expected: &str| {
            let address = Address::parse("--from", url).unwrap();
            let uri = address.amqp("--from-amqp", given).unwrap();
            let login = &uri.authority.userinfo;
            let seen = format!("{} {} {}", shown(&uri), login.username, login.password);
            assert_eq!(seen, expected, "{url}");
        };
        check("http://mq:15672", None, "amqp://mq:5672 guest guest");
        check("https://a%40b:p%2f@mq/api/", None, "amqps://mq:5671 a@b p/");
        check(
            "http://a:b@mq:1",
            Some("amqp://c:d@other:7"),
            "amqp://other:7 c d",
        );
        check("http://[::1]:15672", None, "amqp://::1:5672 guest guest");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let check = |url: &str| assert!(Address::parse("--from", url).is_err(), "{url}");
        check("amqp://mq");
        check("mq:15672");
        check("http://");
        let address = Address::parse("--from", "http://mq").unwrap();
        assert!(address.amqp("--from-amqp", Some("http://mq")).is_err());
    }

    #[test]
    fn escaping_is_undone() {
        for name in ["/", "a b", "ü%/?#", "", "x.y-z_~"] {
            assert_eq!(unescaped(&escaped(name)), name);
        }
        assert_eq!(escaped("/"), "%2F");
    }
}
