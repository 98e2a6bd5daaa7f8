//! What is played: how many, how fast, and what goes wrong when. No processes here, only numbers.

use super::Args;
use std::time::Duration;

/// The numbers of one performance; the same for both acts but for `auto_ack`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    pub(super) orders: usize,
    pub(super) order_services: usize,
    pub(super) warehouses: usize,
    pub(super) prefetch: u16,
    pub(super) work: Duration,
    /// Orders a second.
    pub(super) rate: f64,
    /// The mistake.
    pub(super) auto_ack: bool,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    /// A warehouse is killed while it has orders in its hands. Counted from 0.
    Warehouse(usize),
    /// An order service is killed. Counted from 0.
    OrderService(usize),
    /// The broker is killed.
    Broker,
}

impl Scene {
    pub(super) fn of(args: &Args, auto_ack: bool) -> Self {
        Self {
            orders: args.orders,
            order_services: args.order_services,
            warehouses: args.warehouses,
            prefetch: args.prefetch,
            work: Duration::from_millis(args.work_ms),
            rate: args.rate,
            auto_ack,
        }
    }

    /// What goes wrong, each with the number of accepted orders at which it does. The order service is hit early, when
    /// customers are certainly waiting for answers; the last warehouse shortly
    /// before the end, when hardly anything but the backlog is left.
    pub(super) fn mishaps(&self) -> Vec<(usize, Mishap)> {
        let warehouse = |number: usize| Mishap::Warehouse(number % self.warehouses);
        let plan = [
            (20, warehouse(0)),
            (35, Mishap::OrderService(0)),
            (50, warehouse(1)),
            (65, Mishap::Broker),
            (80, warehouse(2)),
            (95, warehouse(0)),
        ];
        plan.map(|(percent, mishap)| (self.orders * percent / 100, mishap))
            .to_vec()
    }

    /// How long everything has to stand still before nothing more is to be expected. Longer than the longest work, and
    /// than any wait of a service that tries again.
    pub(super) fn quiet(&self) -> Duration {
        let patience = if self.auto_ack {
            Duration::from_millis(1_500)
        } else {
            Duration::from_secs(15)
        };
        patience + 3 * self.work
    }
}
