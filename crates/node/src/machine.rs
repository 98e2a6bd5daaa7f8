//! What a driver needs of a passive machine: take the requests of a batch one by one, then end the round.

use everack_broker::ids::Millis;

use crate::outbox::Outbox;

/// A machine that is run by whoever brings it work.
pub trait Machine: Send {
    /// What can be asked of it.
    type Request: Send;

    /// Takes one request.
    fn handle(&mut self, request: Self::Request, now: Millis, outbox: &mut Outbox);

    /// Ends a round; everything that leaves the machine leaves through `outbox`.
    fn finish(&mut self, now: Millis, outbox: &mut Outbox);
}
