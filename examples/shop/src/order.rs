//! An order, as customers send it and as it travels through the broker. Knows nothing of HTTP, databases or AMQP.

use serde::{Deserialize, Serialize};

/// Longest id accepted, in bytes. It is also the AMQP message id, a short string of at most 255 bytes.
pub const ID_BYTES_MAX: usize = 64;
/// Longest item name accepted, in bytes.
pub const ITEM_BYTES_MAX: usize = 200;
/// Most pieces of an item in one order.
pub const QUANTITY_MAX: i64 = 1_000;

/// What a customer wants. The id is the customer's own choice, so that a repeated request is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Chosen by the customer; the same id is the same order, in every database and in the broker.
    pub id: String,
    /// What to ship.
    pub item: String,
    /// Number of pieces, from 1 to [`QUANTITY_MAX`].
    pub quantity: i64,
}

/// Why an order is refused; the text is meant for the customer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The id is empty, too long, or holds characters that do not belong into a URL path.
    #[error("id must be 1 to {ID_BYTES_MAX} characters from A-Z, a-z, 0-9, '-', '_' and '.'")]
    Id,
    /// The item is blank or too long.
    #[error("item must be 1 to {ITEM_BYTES_MAX} bytes and not blank")]
    Item,
    /// The quantity is out of bounds.
    #[error("quantity must be from 1 to {QUANTITY_MAX}")]
    Quantity,
}

impl Order {
    /// Checks the bounds that every order keeps from here on.
    pub fn validate(&self) -> Result<(), Invalid> {
        let id_char = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if self.id.is_empty() || self.id.len() > ID_BYTES_MAX || !self.id.bytes().all(id_char) {
            return Err(Invalid::Id);
        }
        if self.item.trim().is_empty() || self.item.len() > ITEM_BYTES_MAX {
            return Err(Invalid::Item);
        }
        if !(1..=QUANTITY_MAX).contains(&self.quantity) {
            return Err(Invalid::Quantity);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, item: &str, quantity: i64, expected: Result<(), Invalid>) {
        let order = Order {
            id: id.into(),
            item: item.into(),
            quantity,
        };
        assert_eq!(order.validate(), expected, "{order:?}");
    }

    #[test]
    fn bounds() {
        check("a-1_B.2", "teapot", 1, Ok(()));
        check(&"x".repeat(64), &"y".repeat(200), 1_000, Ok(()));
        check("", "teapot", 1, Err(Invalid::Id));
        check(&"x".repeat(65), "teapot", 1, Err(Invalid::Id));
        check("a/b", "teapot", 1, Err(Invalid::Id));
        check("é", "teapot", 1, Err(Invalid::Id));
        check("a", "", 1, Err(Invalid::Item));
        check("a", "  ", 1, Err(Invalid::Item));
        check("a", &"y".repeat(201), 1, Err(Invalid::Item));
        check("a", "teapot", 0, Err(Invalid::Quantity));
        check("a", "teapot", -1, Err(Invalid::Quantity));
        check("a", "teapot", 1_001, Err(Invalid::Quantity));
    }
}
