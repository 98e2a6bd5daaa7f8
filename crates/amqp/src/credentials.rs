//! User and password out of a login response. Not responsible for checking them.

use std::fmt;

use crate::wire::table::{Table, Value};

/// How a client logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// RabbitMQ's older table of LOGIN and PASSWORD.
    AmqPlain,
    /// By what the connection itself says: the client's certificate.
    External,
}

impl Mechanism {
    /// What `connection.start` offers.
    pub const OFFERED: &'static str = "PLAIN AMQPLAIN";
    /// The same where the connection says who the client is.
    pub const OFFERED_WITH_EXTERNAL: &'static str = "PLAIN AMQPLAIN EXTERNAL";

    /// The mechanism of this name.
    pub fn named(name: &[u8]) -> Option<Mechanism> {
        match name {
            b"PLAIN" => Some(Mechanism::Plain),
            b"AMQPLAIN" => Some(Mechanism::AmqPlain),
            b"EXTERNAL" => Some(Mechanism::External),
            _ => None,
        }
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::AmqPlain => "AMQPLAIN",
            Mechanism::External => "EXTERNAL",
        }
    }
}

/// A user name and a password as the client gave them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// How they were given.
    pub mechanism: Mechanism,
    /// The user's name; empty with [`Mechanism::External`].
    pub user: Vec<u8>,
    /// The password; never printed.
    pub password: Vec<u8>,
}

impl Credentials {
    /// Takes a login response apart; `None` when it is not what the mechanism asks for.
    pub fn parse(mechanism: Mechanism, response: &[u8]) -> Option<Credentials> {
        let (user, password) = match mechanism {
            Mechanism::Plain => plain(response)?,
            Mechanism::AmqPlain => amq_plain(response)?,
            // Whom the client wishes to act for does not count, as in RabbitMQ.
            Mechanism::External => (Vec::new(), Vec::new()),
        };
        Some(Credentials {
            mechanism,
            user,
            password,
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = String::from_utf8_lossy(&self.user);
        formatter
            .debug_struct("Credentials")
            .field("mechanism", &self.mechanism)
            .field("user", &user)
            .finish()
    }
}

/// Identity to act for (ignored, as in RabbitMQ), user, password, with zero bytes between them.
fn plain(response: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (_identity, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    if password.contains(&0) {
        None
    } else {
        Some((user.to_vec(), password.to_vec()))
    }
}

/// The inside of a table, without its length.
fn amq_plain(response: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let table = Table::decode(response).ok()?;
    let text = |name| match table.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    Some((text("LOGIN")?, text("PASSWORD")?))
}
