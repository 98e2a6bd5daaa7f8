//! The books hold each order once, whatever the warehouses do.

use crate::support::{Bed, on_both_databases};
use anyhow::Result;
use everack_shop::order::Order;
use everack_shop::warehouse_service::{Books, Delivered, Totals};
use futures_util::future::try_join_all;

on_both_databases!(
    attempts_are_counted,
    shipped_once,
    simultaneous_shipments,
    in_hands
);

fn order(id: &str) -> Order {
    Order {
        id: id.to_owned(),
        item: "teapot".to_owned(),
        quantity: 1,
    }
}

async fn attempts_are_counted(bed: Bed) -> Result<()> {
    let books = &bed.books;
    let delivered = |attempts, failures, shipped| Delivered {
        attempts,
        failures,
        shipped,
    };
    assert_eq!(books.arrived("a", "w1", false).await?, delivered(1, 0, false));
    assert_eq!(books.totals().await?.redelivered, 0);
    assert_eq!(books.arrived("a", "w2", true).await?, delivered(2, 0, false));
    assert_eq!(books.failed("a").await?, 1);
    assert_eq!(books.failed("a").await?, 2);
    // A broker that lost its memory does not flag it, the books know better.
    assert_eq!(books.arrived("a", "w1", false).await?, delivered(3, 2, false));
    books.shipped(&order("a"), "w1", 1).await?;
    assert_eq!(books.arrived("a", "w1", true).await?, delivered(4, 2, true));
    // Flagged at first sight: the one who had it before died before it could write it down.
    assert_eq!(books.arrived("b", "w1", true).await?, delivered(1, 0, false));
    assert_eq!(books.totals().await?.redelivered, 4);
    Ok(())
}

async fn shipped_once(bed: Bed) -> Result<()> {
    let books = &bed.books;
    assert!(books.shipped(&order("a"), "w1", 1).await?);
    assert!(!books.shipped(&order("a"), "w2", 2).await?);
    assert!(books.shipped(&order("b"), "w2", 3).await?);
    books.park("c", "{", "not an order", 4).await?;
    books.park("c", "{", "not an order", 5).await?;
    assert_eq!(books.shipment_ids().await?, ["a", "b"]);
    assert_eq!(
        books.totals().await?,
        Totals {
            shipped: 2,
            shipped_twice: 0,
            redelivered: 0,
            parked: 1
        }
    );
    Ok(())
}

/// Eight warehouses, each with a connection of its own, write down the same twenty orders at the same time.
async fn simultaneous_shipments(bed: Bed) -> Result<()> {
    let warehouses = try_join_all((0..8).map(|_| Books::open(&bed.warehouse_url))).await?;
    let mut first = 0;
    for number in 0..20 {
        let order = order(&format!("a-{number:02}"));
        let each = async |books: &Books| -> Result<bool> {
            books.arrived(&order.id, "w", false).await?;
            books.shipped(&order, "w", 1).await
        };
        let outcomes = try_join_all(warehouses.iter().map(each)).await?;
        first += outcomes.into_iter().filter(|first| *first).count();
    }
    assert_eq!(first, 20, "each order had one who was first");
    assert_eq!(
        bed.books.totals().await?,
        Totals {
            shipped: 20,
            shipped_twice: 0,
            redelivered: 140,
            parked: 0
        }
    );
    Ok(())
}

async fn in_hands(bed: Bed) -> Result<()> {
    let books = &bed.books;
    for id in ["a", "b", "c", "d"] {
        books.arrived(id, "w1", false).await?;
    }
    books.shipped(&order("a"), "w1", 1).await?;
    books.park("b", "{}", "broken", 1).await?;
    books.arrived("c", "w2", true).await?;
    assert_eq!(books.in_hands_of("w1").await?, 1, "d");
    assert_eq!(books.in_hands_of("w2").await?, 1, "c");
    assert_eq!(books.in_hands_of("w3").await?, 0);
    Ok(())
}
