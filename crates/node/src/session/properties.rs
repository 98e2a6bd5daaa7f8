//! What a publisher may not say of a message, and what the broker has to change in it: properties that the broker itself acts
//! on, or vouches for.

use everack_amqp::content::{Batch, flags};
use everack_amqp::error::{Error, ReplyCode};
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::properties::{Properties, expiration_ms};
use everack_amqp::wire::table::{Table, Value};
use everack_broker::catalog::Snapshot;
use everack_broker::name::Name;

use crate::replies::REPLY_TO;
use crate::translate::from_amqp;

/// Messages without any of these have nothing to check. Neighbours of one group have the same.
pub(super) const CHECKED: u16 =
    flags::HAS_EXPIRATION | flags::HAS_USER_ID | flags::HAS_HEADERS | flags::HAS_REPLY_TO;

/// What the check has to know of the publisher.
pub(super) struct Publisher<'a> {
    pub(super) user: &'a Name,
    /// Says whether it may publish in the name of others.
    pub(super) snapshot: &'a Snapshot,
    /// What its channel is answered by.
    pub(super) reply_name: Option<&'a Name>,
}

impl Publisher<'_> {
    fn may_impersonate(&self) -> bool {
        let user = self.snapshot.user(self.user);
        user.is_some_and(|user| user.has_tag("impersonator"))
    }
}

/// What a message asks for beyond being routed by its key. Mostly nothing.
#[derive(Debug, Default)]
pub(super) struct Demands {
    /// Further routing keys.
    pub(super) copies: Vec<Vec<u8>>,
    /// Whether some of these are nobody's business.
    pub(super) hides: bool,
    /// Whether the message asks to be answered directly.
    pub(super) asks: bool,
}

/// Checks message `index` of `batch`, with RabbitMQ's texts.
pub(super) fn check(batch: &Batch, index: usize, publisher: &Publisher<'_>) -> Result<Demands, Error> {
    let view = batch.view(index);
    if let Some(given) = view.user_id.filter(|given| *given != publisher.user.as_bytes())
        && !publisher.may_impersonate()
    {
        let given = String::from_utf8_lossy(given);
        let text = format!(
            "user_id property set to '{given}' but authenticated user was '{}'",
            publisher.user
        );
        return Err(refused(text));
    }
    if let Some(Err(error)) = view.expiration.map(expiration_ms) {
        return Err(refused(error.to_string()));
    }
    let mut demands = Demands::default();
    let asks = view.reply_to == Some(REPLY_TO);
    if asks && publisher.reply_name.is_none() {
        return Err(refused("fast reply consumer does not exist".to_owned()));
    }
    let headers = view
        .headers
        .filter(|headers| may_name_copies(headers))
        .and_then(|headers| Table::decode(headers).ok());
    if let Some(headers) = headers {
        take_copies(&headers, CC, &mut demands.copies)?;
        take_copies(&headers, BCC, &mut demands.copies)?;
        bound_copies(&mut demands.copies)?;
        demands.hides = headers.get(BCC).is_some();
    }
    demands.asks = asks;
    Ok(demands)
}

impl Demands {
    /// The properties of message `index` as everybody else may see them, encoded, if they are others: without `BCC`, and with the name
    /// that replies find their way by. A message that is `held` back everywhere keeps its `BCC` until it is routed.
    pub(super) fn rewrite(
        &self,
        batch: &Batch,
        index: usize,
        reply_name: Option<&Name>,
        held: bool,
    ) -> Option<Vec<u8>> {
        let (hides, reply_name) = (self.hides && !held, reply_name.filter(|_| self.asks));
        if !hides && reply_name.is_none() {
            return None;
        }
        rewritten(batch.properties(index), hides, reply_name)
    }
}

const CC: &str = "CC";
const BCC: &str = "BCC";
/// Most further addresses of a message. RabbitMQ sets no bound but the size of a frame.
const COPIES_MAX: usize = 256;
/// As long as a routing key can be (a short string).
const KEY_BYTES_MAX: usize = 255;

/// Whether the inside of a table may have one of the two names in it: most have none, and need not be taken apart.
fn may_name_copies(headers: &[u8]) -> bool {
    memchr::memchr_iter(b'C', headers).any(|at| {
        let (before, from) = headers.split_at(at);
        from.starts_with(b"CC") && (before.ends_with(b"\x02") || before.ends_with(b"\x03B"))
    })
}

/// Further addresses have to be a list; what in it is no string is passed over.
fn take_copies(headers: &Table, name: &str, copies: &mut Vec<Vec<u8>>) -> Result<(), Error> {
    match headers.get(name) {
        None => Ok(()),
        Some(Value::Array(values)) => {
            copies.extend(values.iter().filter_map(|value| match value {
                Value::String(key) => Some(key.clone()),
                _ => None,
            }));
            Ok(())
        }
        Some(other) => {
            let kind = from_amqp::type_name(other);
            Err(refused(format!(
                "invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}"
            )))
        }
    }
}

/// Each address counts once, is no longer than a routing key may be, and there are not so many that routing them would hold up others.
fn bound_copies(copies: &mut Vec<Vec<u8>>) -> Result<(), Error> {
    copies.sort_unstable();
    copies.dedup();
    if copies.len() > COPIES_MAX {
        return Err(refused(format!(
            "invalid message: {} addresses in CC and BCC, more than {COPIES_MAX}",
            copies.len()
        )));
    }
    match copies.iter().find(|key| key.len() > KEY_BYTES_MAX) {
        Some(key) => Err(refused(format!(
            "invalid message: an address in CC or BCC has {} bytes, more than {KEY_BYTES_MAX}",
            key.len()
        ))),
        None => Ok(()),
    }
}

fn rewritten(bytes: &[u8], hides: bool, reply_name: Option<&Name>) -> Option<Vec<u8>> {
    let mut properties = Properties::decode(bytes).ok()?;
    let headers = properties.headers.take();
    properties.headers = headers.map(|headers| {
        let kept = headers
            .into_iter()
            .filter(|(name, _)| !hides || name.as_bytes() != BCC.as_bytes());
        kept.collect()
    });
    if let Some(name) = reply_name {
        properties.reply_to = ShortString::new(name.as_bytes()).ok();
    }
    let mut out = Vec::with_capacity(bytes.len() + 32);
    properties.encode(&mut out);
    Some(out)
}

fn refused(text: String) -> Error {
    Error::new(ReplyCode::PreconditionFailed, text)
}
