//! What the warehouses know: which orders reached them how often, which were shipped, which nobody could ship.
//!
//! Everything is keyed by the order's id. That is what makes "at least once" harmless: an order that is delivered twice
//! finds its shipment in the books, and the second row is never written.

use crate::database::Database;
use crate::order::Order;
use anyhow::Result;
use sqlx::Row;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS deliveries (
        order_id TEXT PRIMARY KEY,
        warehouse TEXT NOT NULL,
        attempts BIGINT NOT NULL,
        redelivered BIGINT NOT NULL,
        failures BIGINT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS shipments (
        order_id TEXT PRIMARY KEY,
        item TEXT NOT NULL,
        quantity BIGINT NOT NULL,
        warehouse TEXT NOT NULL,
        shipped_ms BIGINT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS parked (
        message_id TEXT PRIMARY KEY,
        payload TEXT NOT NULL,
        reason TEXT NOT NULL,
        parked_ms BIGINT NOT NULL
    )
";

/// What the books say about an order that has just been delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// How often it was delivered so far, this time included.
    pub attempts: i64,
    /// How often shipping it has failed.
    pub failures: i64,
    /// It has left the house already: nothing to do but to tell the broker.
    pub shipped: bool,
}

/// The sums that the story is judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Orders with a shipment.
    pub shipped: i64,
    /// Orders with more than one shipment row.
    pub shipped_twice: i64,
    /// Deliveries that were flagged as redelivered, or that were not the first of their order.
    pub redelivered: i64,
    /// Messages that wait for a person.
    pub parked: i64,
}

/// The warehouses' database.
#[derive(Clone, Debug)]
pub struct Books {
    database: Database,
}

impl Books {
    /// Opens the database and creates the tables that are missing.
    pub async fn open(url: &str) -> Result<Self> {
        Ok(Self {
            database: Database::open(url, SCHEMA).await?,
        })
    }

    /// Writes down that an order has arrived, before any work on it begins: a warehouse that dies at work leaves this
    /// row behind. `flagged` is the broker's own word that it is not the first delivery.
    pub async fn arrived(&self, order_id: &str, warehouse: &str, flagged: bool) -> Result<Delivered> {
        let mut transaction = self.database.begin().await?;
        let row = sqlx::query(
            "INSERT INTO deliveries (order_id, warehouse, attempts, redelivered, failures) VALUES ($1, $2, 1, $3, 0)
             ON CONFLICT (order_id) DO UPDATE SET warehouse = excluded.warehouse,
                attempts = deliveries.attempts + 1, redelivered = deliveries.redelivered + 1
             RETURNING attempts, failures",
        )
        .bind(order_id)
        .bind(warehouse)
        .bind(i64::from(flagged))
        .fetch_one(&mut *transaction)
        .await?;
        let shipped = sqlx::query("SELECT order_id FROM shipments WHERE order_id = $1").bind(order_id);
        let shipped = shipped.fetch_optional(&mut *transaction).await?.is_some();
        transaction.commit().await?;
        Ok(Delivered {
            attempts: row.try_get("attempts")?,
            failures: row.try_get("failures")?,
            shipped,
        })
    }

    /// Writes down a shipment. False when the order is in the books already, which then stay as they are.
    pub async fn shipped(&self, order: &Order, warehouse: &str, now_ms: i64) -> Result<bool> {
        let inserted = sqlx::query(
            "INSERT INTO shipments (order_id, item, quantity, warehouse, shipped_ms) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (order_id) DO NOTHING",
        )
        .bind(&order.id)
        .bind(&order.item)
        .bind(order.quantity)
        .bind(warehouse)
        .bind(now_ms)
        .execute(self.database.pool())
        .await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// Writes down that shipping has failed; says how often by now.
    pub async fn failed(&self, order_id: &str) -> Result<i64> {
        let update = "UPDATE deliveries SET failures = failures + 1 WHERE order_id = $1 RETURNING failures";
        let mut transaction = self.database.begin().await?;
        let row = sqlx::query(update)
            .bind(order_id)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(row.try_get(0)?)
    }

    /// Keeps a message that cannot be shipped, for a person to look at.
    pub async fn park(&self, message_id: &str, payload: &str, reason: &str, now_ms: i64) -> Result<()> {
        sqlx::query(
            "INSERT INTO parked (message_id, payload, reason, parked_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (message_id) DO NOTHING",
        )
        .bind(message_id)
        .bind(payload)
        .bind(reason)
        .bind(now_ms)
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// Number of orders that reached this warehouse last and are neither shipped nor parked: in its hands, as far as
    /// the books can tell.
    pub async fn in_hands_of(&self, warehouse: &str) -> Result<i64> {
        let query = sqlx::query(
            "SELECT COUNT(*) FROM deliveries WHERE warehouse = $1
                AND NOT EXISTS (SELECT 1 FROM shipments WHERE shipments.order_id = deliveries.order_id)
                AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.message_id = deliveries.order_id)",
        );
        Ok(query
            .bind(warehouse)
            .fetch_one(self.database.pool())
            .await?
            .try_get(0)?)
    }

    /// Some of these orders, by id.
    pub async fn ids_in_hands_of(&self, warehouse: &str, most: i64) -> Result<Vec<String>> {
        let query = sqlx::query(
            "SELECT order_id FROM deliveries WHERE warehouse = $1
                AND NOT EXISTS (SELECT 1 FROM shipments WHERE shipments.order_id = deliveries.order_id)
                AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.message_id = deliveries.order_id)
                ORDER BY order_id LIMIT $2",
        );
        let rows = query
            .bind(warehouse)
            .bind(most)
            .fetch_all(self.database.pool())
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Number of rows in the shipments table.
    pub async fn shipment_count(&self) -> Result<i64> {
        Ok(sqlx::query("SELECT COUNT(*) FROM shipments")
            .fetch_one(self.database.pool())
            .await?
            .try_get(0)?)
    }

    /// The order id of every row in the shipments table, in order; an id that stood there twice would come twice.
    pub async fn shipment_ids(&self) -> Result<Vec<String>> {
        let query = sqlx::query("SELECT order_id FROM shipments ORDER BY order_id");
        query
            .fetch_all(self.database.pool())
            .await?
            .iter()
            .map(|row| Ok(row.try_get(0)?))
            .collect()
    }

    /// Adds everything up.
    pub async fn totals(&self) -> Result<Totals> {
        let row = sqlx::query(
            "SELECT
                (SELECT COUNT(DISTINCT order_id) FROM shipments) AS shipped,
                (SELECT COUNT(*) FROM
                    (SELECT order_id FROM shipments GROUP BY order_id HAVING COUNT(*) > 1) AS twice) AS shipped_twice,
                (SELECT CAST(COALESCE(SUM(redelivered), 0) AS BIGINT) FROM deliveries) AS redelivered,
                (SELECT COUNT(*) FROM parked) AS parked",
        )
        .fetch_one(self.database.pool())
        .await?;
        Ok(Totals {
            shipped: row.try_get("shipped")?,
            shipped_twice: row.try_get("shipped_twice")?,
            redelivered: row.try_get("redelivered")?,
            parked: row.try_get("parked")?,
        })
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.database.close().await;
    }
}
