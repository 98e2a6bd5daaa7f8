//! A shop that every client and framework plays, with the broker's SIGKILL in the middle.
//!
//! An *order service* takes orders: it publishes each one persistent, mandatory and with a confirm, and publishes again what was not
//! confirmed when its connection ended. A *warehouse* packs them: it consumes with a prefetch window, works a moment on each
//! order and acknowledges it then. Every [`ASK_EVERY`]th order asks the warehouse for its price before, a call with a reply queue.
//! Both are written as the users of that library write them: with the library's own recovery where it has one, with the
//! loop that its documentation advises where it has none.
//!
//! A programme is started as `ROLE URL ORDERS`, its roles are `shop` (both in one process) or `orders` and `warehouse`.
//! It prints one line a fact, at once:
//!
//! | line | when |
//! |---|---|
//! | `ready` | the warehouse consumes, or the order service is about to begin |
//! | `sending N` | before each copy of an order that is published |
//! | `confirmed N` | the broker has confirmed it |
//! | `got N fresh`, `got N redelivered` | it has come, with or without the flag |
//! | `acked N` | its acknowledgement has been handed to the library |
//! | `asked N`, `answered N` | before a price is asked for, and when it has come |
//!
//! It paces itself: [`ORDER_PAUSE`] between two orders, [`PACK_PAUSE`] of work on one, so that there is a backlog, and the
//! window is full, when the broker dies. It never ends by itself; the story ends it when everything is done.
//!
//! What the lines prove is in [`verdict`]. No rule in there knows a library.

pub mod journal;
pub mod programme;
pub mod story;
pub mod terms;
pub mod verdict;

use std::time::Duration;

/// How many orders a shop takes.
pub const ORDERS: usize = 360;
/// An order whose number this divides asks for its price.
pub const ASK_EVERY: usize = 25;
/// How long an order service waits between two orders. Programmes in other languages have it as a number of their own.
pub const ORDER_PAUSE: Duration = Duration::from_millis(5);
/// How long a warehouse works on one order; likewise.
pub const PACK_PAUSE: Duration = Duration::from_millis(20);
/// The durable queue that the warehouse consumes from.
pub const QUEUE: &str = "shop-warehouse";
