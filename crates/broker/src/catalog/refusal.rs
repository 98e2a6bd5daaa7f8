//! Why a command is refused, in the words that RabbitMQ's clients match on.

use std::fmt;

use crate::name::Name;

/// A refusal leaves no trace: the catalog is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// What sort of wrong; decides the reply code.
    pub kind: RefusalKind,
    /// RabbitMQ's text without the name of the code in front. May be longer than a reply text can be.
    pub text: String,
}

/// The sorts of refusal, named after the reply codes of AMQP. The caller knows the numbers and what each closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// It is not there (404).
    NotFound,
    /// Not for this client, or not for any (403).
    AccessRefused,
    /// It is there, but otherwise than asked for; or the arguments make no sense (406).
    PreconditionFailed,
    /// It is another connection's (405).
    ResourceLocked,
    /// The command itself makes no sense (503, closes the connection).
    CommandInvalid,
    /// The virtual host is not open to this client (530, closes the connection).
    NotAllowed,
}

impl Refusal {
    /// A refusal with this text.
    pub fn new(kind: RefusalKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    pub(crate) fn not_found(resource: impl fmt::Display) -> Self {
        Self::new(RefusalKind::NotFound, format!("no {resource}"))
    }

    pub(crate) fn access_refused(text: impl Into<String>) -> Self {
        Self::new(RefusalKind::AccessRefused, text)
    }

    pub(crate) fn precondition_failed(text: impl Into<String>) -> Self {
        Self::new(RefusalKind::PreconditionFailed, text)
    }

    pub(crate) fn default_exchange() -> Self {
        Self::access_refused("operation not permitted on the default exchange")
    }

    pub(crate) fn locked(queue: impl fmt::Display) -> Self {
        Self::new(
            RefusalKind::ResourceLocked,
            format!(
                "cannot obtain exclusive access to locked {queue}. It could be originally declared on another connection \
                 or the exclusive property value does not match that of the original declaration."
            ),
        )
    }
}

/// A thing as texts name it: `queue 'orders' in vhost '/'`.
pub fn resource(kind: &str, name: &[u8], vhost: &[u8]) -> String {
    format!(
        "{kind} '{}' in vhost '{}'",
        String::from_utf8_lossy(name),
        String::from_utf8_lossy(vhost)
    )
}

/// The name of an exchange or queue that is about to be created.
pub(crate) fn check_name(kind: &str, name: &Name) -> Result<(), Refusal> {
    if name.starts_with(b"amq.") {
        let text = format!("{kind} name '{name}' contains reserved prefix 'amq.*'");
        return Err(Refusal::access_refused(text));
    }
    check_length(&format!("{kind} name"), name)
}

/// No name is longer than the protocol can carry, whatever door it came in by.
pub(crate) fn check_length(what: &str, name: &Name) -> Result<(), Refusal> {
    if name.len() > Name::BYTES_MAX {
        let text = format!("{what} is longer than {} bytes", Name::BYTES_MAX);
        return Err(Refusal::precondition_failed(text));
    }
    Ok(())
}
