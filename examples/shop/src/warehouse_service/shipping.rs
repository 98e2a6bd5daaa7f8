//! The work itself. A wait stands for the tens of seconds of picking, packing and handing over to the carrier.

use crate::order::Order;
use std::time::Duration;

/// How long it takes and how often it fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shipping {
    pub(super) work: Duration,
    pub(super) fail_percent: u8,
}

/// The parcel did not leave the house.
#[derive(Debug, thiserror::Error)]
#[error("the carrier did not take order {0}")]
pub(super) struct Failed(String);

impl Shipping {
    /// Ships, or says that it could not. A warehouse that dies after this and before it has written to its books will
    /// ship again: in the real world, the carrier has to be given the order id, so that it can tell a repetition.
    pub(super) async fn ship(&self, order: &Order) -> Result<(), Failed> {
        tokio::time::sleep(self.work.mul_f64(0.5 + fastrand::f64())).await;
        if fastrand::u8(0..100) < self.fail_percent {
            return Err(Failed(order.id.clone()));
        }
        Ok(())
    }
}
