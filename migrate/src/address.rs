//! Where a broker's AMQP port is: as it was given, or as its management API suggests. Connects to nothing.

use anyhow::{Context as _, bail};
use everack_api_client::{Target, escaped};
use lapin::uri::{AMQPScheme, AMQPUri};

/// Heartbeats that are asked for, in seconds, unless the URL says otherwise.
const HEARTBEAT: u16 = 30;

/// The AMQP address: what was given, or the usual port of the API's host with the same login.
pub(crate) fn amqp(target: &Target, flag: &str, given: Option<&str>) -> anyhow::Result<AMQPUri> {
    let url = match given {
        Some(url) => url.to_owned(),
        None => usual(target, flag)?,
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

fn usual(target: &Target, flag: &str) -> anyhow::Result<String> {
    let (Some(host), Some(login)) = (target.place.host(), &target.login) else {
        bail!("{flag}: a socket does not say where the broker listens for AMQP");
    };
    let (scheme, port) = if target.place.is_encrypted() {
        ("amqps", 5671)
    } else {
        ("amqp", 5672)
    };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let login = format!("{}:{}", escaped(&login.user), escaped(&login.password));
    Ok(format!("{scheme}://{login}@{host}:{port}"))
}

/// An AMQP address without its password, for people and journals.
pub(crate) fn shown(uri: &AMQPUri) -> String {
    let scheme = match uri.scheme {
        AMQPScheme::AMQP => "amqp",
        AMQPScheme::AMQPS => "amqps",
    };
    format!("{scheme}://{}:{}", uri.authority.host, uri.authority.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str, given: Option<&str>) -> anyhow::Result<AMQPUri> {
        amqp(&Target::of_url(url, None)?, "--from-amqp", given)
    }

    #[test]
    fn the_amqp_address_follows_from_the_api() {
        let check = |url: &str, given: Option<&str>, expected: &str| {
            let uri = address(url, given).unwrap();
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
        check("unix:/x", Some("amqp://c:d@other:7"), "amqp://other:7 c d");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let check = |url: &str, given: Option<&str>| assert!(address(url, given).is_err(), "{url}");
        check("amqp://mq", None);
        check("mq:15672", None);
        check("http://", None);
        check("unix:/x", None);
        check("http://mq", Some("http://mq"));
    }
}
