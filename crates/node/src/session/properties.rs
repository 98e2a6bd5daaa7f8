//! What a publisher may not say of a message: properties that the broker itself has to act on, or vouch for.

use everack_amqp::content::{Batch, flags};
use everack_amqp::error::{Error, ReplyCode};
use everack_amqp::wire::properties::expiration_ms;
use everack_amqp::wire::table::{Table, Value};
use everack_broker::name::Name;

/// Messages without any of these have nothing to check.
const CHECKED: u16 = flags::HAS_EXPIRATION | flags::HAS_USER_ID | flags::HAS_HEADERS;

/// Checks message `index` of `batch`, published by `user`, with RabbitMQ's texts.
pub(super) fn check(batch: &Batch, index: usize, user: &Name) -> Result<(), Error> {
    let present = batch.flags(index) & CHECKED;
    if present == 0 {
        return Ok(());
    }
    let view = batch.view(index);
    if let Some(given) = view.user_id.filter(|given| *given != user.as_bytes()) {
        let given = String::from_utf8_lossy(given);
        let text = format!("user_id property set to '{given}' but authenticated user was '{user}'");
        return Err(refused(text));
    }
    if let Some(Err(error)) = view.expiration.map(expiration_ms) {
        return Err(refused(error.to_string()));
    }
    match view.headers.map(Table::decode) {
        Some(Ok(headers)) => check_copies(&headers),
        _ => Ok(()),
    }
}

/// Further addresses have to be a list of strings.
fn check_copies(headers: &Table) -> Result<(), Error> {
    for name in ["CC", "BCC"] {
        match headers.get(name) {
            None | Some(Value::Array(_)) => (),
            Some(other) => {
                let kind = crate::translate::from_amqp::type_name(other);
                return Err(refused(format!(
                    "invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}"
                )));
            }
        }
    }
    Ok(())
}

fn refused(text: String) -> Error {
    Error::new(ReplyCode::PreconditionFailed, text)
}
