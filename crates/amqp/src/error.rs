//! Reply codes, and errors that close a channel or a connection.

use std::fmt::{self, Write as _};

use crate::wire::primitive::ShortString;

/// RabbitMQ's reply codes for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum ReplyCode {
    ContentTooLarge = 311,
    NoRoute = 312,
    NoConsumers = 313,
    ConnectionForced = 320,
    InvalidPath = 402,
    AccessRefused = 403,
    NotFound = 404,
    ResourceLocked = 405,
    PreconditionFailed = 406,
    FrameError = 501,
    SyntaxError = 502,
    CommandInvalid = 503,
    ChannelError = 504,
    UnexpectedFrame = 505,
    ResourceError = 506,
    NotAllowed = 530,
    NotImplemented = 540,
    InternalError = 541,
}

impl ReplyCode {
    /// The number a client sees.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The word in front of every reply text.
    pub fn name(self) -> &'static str {
        match self {
            ReplyCode::ContentTooLarge => "CONTENT_TOO_LARGE",
            ReplyCode::NoRoute => "NO_ROUTE",
            ReplyCode::NoConsumers => "NO_CONSUMERS",
            ReplyCode::ConnectionForced => "CONNECTION_FORCED",
            ReplyCode::InvalidPath => "INVALID_PATH",
            ReplyCode::AccessRefused => "ACCESS_REFUSED",
            ReplyCode::NotFound => "NOT_FOUND",
            ReplyCode::ResourceLocked => "RESOURCE_LOCKED",
            ReplyCode::PreconditionFailed => "PRECONDITION_FAILED",
            ReplyCode::FrameError => "FRAME_ERROR",
            ReplyCode::SyntaxError => "SYNTAX_ERROR",
            ReplyCode::CommandInvalid => "COMMAND_INVALID",
            ReplyCode::ChannelError => "CHANNEL_ERROR",
            ReplyCode::UnexpectedFrame => "UNEXPECTED_FRAME",
            ReplyCode::ResourceError => "RESOURCE_ERROR",
            ReplyCode::NotAllowed => "NOT_ALLOWED",
            ReplyCode::NotImplemented => "NOT_IMPLEMENTED",
            ReplyCode::InternalError => "INTERNAL_ERROR",
        }
    }

    /// What an error with this code ends when it happens on a channel.
    pub fn scope(self) -> Scope {
        match self {
            ReplyCode::ContentTooLarge
            | ReplyCode::NoRoute
            | ReplyCode::NoConsumers
            | ReplyCode::AccessRefused
            | ReplyCode::NotFound
            | ReplyCode::ResourceLocked
            | ReplyCode::PreconditionFailed => Scope::Channel,
            _ => Scope::Connection,
        }
    }
}

/// What an error ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One channel; the others go on.
    Channel,
    /// The whole connection.
    Connection,
}

/// Something that ends a channel or the connection, as told to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {} - {text}", code.number(), code.name())]
pub struct Error {
    /// The code.
    pub code: ReplyCode,
    /// The explanation, without the code's name in front.
    pub text: String,
    /// Class of the method that caused it, or 0.
    pub class: u16,
    /// The method that caused it, or 0.
    pub method: u16,
}

impl Error {
    /// An error that no method caused.
    pub fn new(code: ReplyCode, text: impl Into<String>) -> Error {
        Error {
            code,
            text: text.into(),
            class: 0,
            method: 0,
        }
    }

    /// The same error, caused by a method (class, method).
    pub fn caused_by(mut self, (class, method): (u16, u16)) -> Error {
        self.class = class;
        self.method = method;
        self
    }

    /// What a client reads: code name, explanation, at most 255 bytes.
    pub fn reply_text(&self) -> ShortString {
        ShortString::shortened(&format!("{} - {}", self.code.name(), self.text))
    }
}

/// Prints bytes the way RabbitMQ's texts show binaries: `<<"text">>` when readable, else `<<1,2,3>>`.
pub(crate) struct Binary<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Binary<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("<<>>");
        }
        if self.0.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            let text = String::from_utf8_lossy(self.0);
            return write!(
                formatter,
                "<<\"{}\">>",
                text.replace('\\', "\\\\").replace('"', "\\\"")
            );
        }
        formatter.write_str("<<")?;
        for (index, byte) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_char(',')?;
            }
            write!(formatter, "{byte}")?;
        }
        formatter.write_str(">>")
    }
}
