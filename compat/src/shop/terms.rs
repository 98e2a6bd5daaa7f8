//! What the programmes in Rust share besides the shop's own figures.

use anyhow::{Result, bail, ensure};
use std::time::Duration;

/// Where orders are published.
pub const EXCHANGE: &str = "shop";
/// Where prices are asked for.
pub const PRICES: &str = "shop-prices";
/// Orders that the warehouse has in work, at most.
pub const PREFETCH: u16 = 20;
/// How long an answer is waited for.
pub const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The command line of a programme that plays both sides: the broker's URL, and how many orders there are.
///
/// # Errors
/// Other words than `shop URL ORDERS`.
pub fn arguments() -> Result<(String, usize)> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, url, orders] = arguments.as_slice() else {
        bail!("ROLE URL ORDERS")
    };
    ensure!(role == "shop", "the only role is shop");
    Ok((url.clone(), orders.parse()?))
}
