//! The address of a broker, `amqp://user:password@host:port/vhost`.

use std::fmt;
use std::str::FromStr;

/// Where a broker listens and who we are to it. Defaults: guest, guest, port 5672, vhost `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// Virtual host; an empty path means `/`.
    pub vhost: String,
}

/// Why a text is not an address of a broker.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseError {
    /// Another scheme, or none.
    #[error("an address begins with amqp:// (TLS is not supported by the bench)")]
    Scheme,
    /// The port is not a number.
    #[error("the port is not a number")]
    Port,
    /// No host.
    #[error("the host is missing")]
    Host,
    /// A percent sign without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("a percent escape is broken")]
    Escape,
}

impl FromStr for Url {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let rest = text.strip_prefix("amqp://").ok_or(ParseError::Scheme)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (user, password) = match login {
            Some(login) => login.split_once(':').unwrap_or((login, "")),
            None => ("guest", "guest"),
        };
        let (host, port) = split_port(place)?;
        let vhost = if path.is_empty() {
            "/".to_owned()
        } else {
            unescape(path)?
        };
        Ok(Self {
            host,
            port,
            user: unescape(user)?,
            password: unescape(password)?,
            vhost,
        })
    }
}

impl fmt::Display for Url {
    /// Without the password: addresses are printed in reports.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "amqp://{}@{}:{} (vhost {})",
            self.user, self.host, self.port, self.vhost
        )
    }
}

fn split_port(place: &str) -> Result<(String, u16), ParseError> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() {
        return Err(ParseError::Host);
    }
    let port = match port {
        Some(port) => port.parse().map_err(|_| ParseError::Port)?,
        None => 5672,
    };
    Ok((host.to_owned(), port))
}

fn unescape(text: &str) -> Result<String, ParseError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.ok_or(ParseError::Escape)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| ParseError::Escape)?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| ParseError::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, u16, &str, &str, &str), ParseError>) {
        let expected = expected.map(|(host, port, user, password, vhost)| Url {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            password: password.to_owned(),
            vhost: vhost.to_owned(),
        });
        assert_eq!(text.parse(), expected, "{text}");
    }

    #[test]
    fn addresses() {
        check("amqp://127.0.0.1", Ok(("127.0.0.1", 5672, "guest", "guest", "/")));
        check(
            "amqp://127.0.0.1:1234/",
            Ok(("127.0.0.1", 1234, "guest", "guest", "/")),
        );
        check("amqp://a:b@[::1]:1/%2f", Ok(("::1", 1, "a", "b", "/")));
        check("amqp://a%40b:c%3a@h/shop", Ok(("h", 5672, "a@b", "c:", "shop")));
        check("amqps://h", Err(ParseError::Scheme));
        check("amqp://h:x", Err(ParseError::Port));
        check("amqp://", Err(ParseError::Host));
        check("amqp://h/%2", Err(ParseError::Escape));
    }
}
