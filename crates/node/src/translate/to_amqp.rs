//! From the broker's refusals to AMQP's errors.

use everack_amqp::error::{Error, ReplyCode};
use everack_broker::catalog::{Refusal, RefusalKind};

/// A refusal as the client sees it. The code decides whether the channel or the connection closes.
pub fn error(refusal: Refusal) -> Error {
    let code = match refusal.kind {
        RefusalKind::NotFound => ReplyCode::NotFound,
        RefusalKind::AccessRefused => ReplyCode::AccessRefused,
        RefusalKind::PreconditionFailed => ReplyCode::PreconditionFailed,
        RefusalKind::ResourceLocked => ReplyCode::ResourceLocked,
        RefusalKind::CommandInvalid => ReplyCode::CommandInvalid,
        RefusalKind::NotAllowed => ReplyCode::NotAllowed,
    };
    Error::new(code, refusal.text)
}
