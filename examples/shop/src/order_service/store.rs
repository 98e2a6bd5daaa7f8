//! Orders and the outbox. What is written together is written in one transaction here, and nowhere else.
//!
//! A row of the outbox that has no `confirmed_ms` is still to be published. Several relays share the outbox; `due_ms`
//! keeps them apart: a relay that takes a row moves it into the future (its lease), and a row that nobody has finished
//! by then is anybody's again. So what a killed service had in hand is published by its siblings, or by itself after
//! its restart. A lease that ran out too early costs a message published twice, never one that is lost: marking a row
//! is right whoever holds it, because the broker did confirm it.

use crate::database::Database;
use crate::order::Order;
use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Row};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS orders (
        id TEXT PRIMARY KEY,
        item TEXT NOT NULL,
        quantity BIGINT NOT NULL,
        accepted_ms BIGINT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS outbox (
        order_id TEXT PRIMARY KEY REFERENCES orders (id),
        payload TEXT NOT NULL,
        claimed_by TEXT,
        due_ms BIGINT NOT NULL,
        refusals BIGINT NOT NULL,
        confirmed_ms BIGINT
    );
    CREATE INDEX IF NOT EXISTS outbox_open ON outbox (due_ms) WHERE confirmed_ms IS NULL;
    CREATE INDEX IF NOT EXISTS outbox_confirmed ON outbox (confirmed_ms) WHERE confirmed_ms IS NOT NULL
";

/// What became of an order that a customer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is in the database now, together with its outbox row.
    New,
    /// It was there before, with the same content: the customer asked again.
    Known,
    /// Another order has this id.
    Conflict,
}

/// A message to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// The order, and the message's id.
    pub order_id: String,
    /// The message's body.
    pub payload: String,
    /// How often the broker has returned or refused it.
    pub refusals: u32,
}

/// The order service's database.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens the database and creates the tables that are missing.
    pub async fn open(url: &str) -> Result<Self> {
        Ok(Self {
            database: Database::open(url, SCHEMA).await?,
        })
    }

    /// Takes an order that has been validated. When this returns, order and outbox row are both durable, or neither.
    pub async fn accept(&self, order: &Order, now_ms: i64) -> Result<Accepted> {
        let mut transaction = self.database.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO orders (id, item, quantity, accepted_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&order.id)
        .bind(&order.item)
        .bind(order.quantity)
        .bind(now_ms)
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            let row = sqlx::query("SELECT id, item, quantity FROM orders WHERE id = $1").bind(&order.id);
            let known = order_from(&row.fetch_one(&mut *transaction).await?)?;
            return Ok(if known == *order {
                Accepted::Known
            } else {
                Accepted::Conflict
            });
        }
        sqlx::query("INSERT INTO outbox (order_id, payload, due_ms, refusals) VALUES ($1, $2, $3, 0)")
            .bind(&order.id)
            .bind(serde_json::to_string(order)?)
            .bind(now_ms)
            .execute(&mut *transaction)
            .await?;
        transaction
            .commit()
            .await
            .context("the order was not committed")?;
        Ok(Accepted::New)
    }

    /// An order, and whether the broker has confirmed it.
    pub async fn find(&self, id: &str) -> Result<Option<(Order, bool)>> {
        let row = sqlx::query(
            "SELECT id, item, quantity,
                (SELECT COUNT(*) FROM outbox WHERE order_id = id AND confirmed_ms IS NULL) AS waiting
             FROM orders WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(self.database.pool())
        .await?;
        row.map(|row| Ok((order_from(&row)?, row.try_get::<i64, _>("waiting")? == 0)))
            .transpose()
    }

    /// Takes up to `count` rows that are due, for `name`, until `lease_until_ms`.
    pub async fn claim(
        &self,
        name: &str,
        count: usize,
        now_ms: i64,
        lease_until_ms: i64,
    ) -> Result<Vec<OutboxRow>> {
        // A look before the leap: reading takes no write lock, and most of the time there is nothing to do.
        let due = "SELECT order_id FROM outbox WHERE confirmed_ms IS NULL AND due_ms <= $1 LIMIT 1";
        if sqlx::query(due)
            .bind(now_ms)
            .fetch_optional(self.database.pool())
            .await?
            .is_none()
        {
            return Ok(Vec::new());
        }
        let claim = format!(
            "UPDATE outbox SET claimed_by = $1, due_ms = $2 WHERE order_id IN (
                SELECT order_id FROM outbox WHERE confirmed_ms IS NULL AND due_ms <= $3
                ORDER BY due_ms LIMIT $4 {})
             RETURNING order_id, payload, refusals",
            self.database.dialect().skip_locked()
        );
        let mut transaction = self.database.begin().await?;
        let rows = sqlx::query(AssertSqlSafe(claim))
            .bind(name)
            .bind(lease_until_ms)
            .bind(now_ms)
            .bind(i64::try_from(count)?)
            .fetch_all(&mut *transaction)
            .await?;
        transaction.commit().await?;
        rows.iter().map(outbox_row_from).collect()
    }

    /// Writes down how a round of publishing ended: what the broker confirmed is done, what it refused is due again at
    /// the time given with it.
    pub async fn settle(&self, confirmed: &[String], refused: &[(String, i64)], now_ms: i64) -> Result<()> {
        let mut transaction = self.database.begin().await?;
        for id in confirmed {
            sqlx::query(
                "UPDATE outbox SET confirmed_ms = $1, claimed_by = NULL WHERE order_id = $2 AND confirmed_ms IS NULL",
            )
            .bind(now_ms)
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        }
        for (id, due_ms) in refused {
            sqlx::query(
                "UPDATE outbox SET due_ms = $1, refusals = refusals + 1, claimed_by = NULL
                 WHERE order_id = $2 AND confirmed_ms IS NULL",
            )
            .bind(due_ms)
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Gives back everything that `name` has claimed and not finished: it is due at once.
    pub async fn release(&self, name: &str, now_ms: i64) -> Result<u64> {
        let released = sqlx::query(
            "UPDATE outbox SET due_ms = $1, claimed_by = NULL WHERE claimed_by = $2 AND confirmed_ms IS NULL",
        )
        .bind(now_ms)
        .bind(name)
        .execute(self.database.pool())
        .await?;
        Ok(released.rows_affected())
    }

    /// Number of orders accepted.
    pub async fn order_count(&self) -> Result<i64> {
        self.count("SELECT COUNT(*) FROM orders").await
    }

    /// Number of orders that the broker has not confirmed yet.
    pub async fn outbox_count(&self) -> Result<i64> {
        self.count("SELECT COUNT(*) FROM outbox WHERE confirmed_ms IS NULL")
            .await
    }

    /// Number of orders that `name` has taken to publish and not finished.
    pub async fn claimed_count(&self, name: &str) -> Result<i64> {
        let count = sqlx::query("SELECT COUNT(*) FROM outbox WHERE confirmed_ms IS NULL AND claimed_by = $1");
        Ok(count
            .bind(name)
            .fetch_one(self.database.pool())
            .await?
            .try_get(0)?)
    }

    /// The ids of all orders, in order.
    pub async fn order_ids(&self) -> Result<Vec<String>> {
        let rows = sqlx::query("SELECT id FROM orders ORDER BY id")
            .fetch_all(self.database.pool())
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Deletes outbox rows confirmed before `before_ms`; the orders stay.
    pub async fn prune(&self, before_ms: i64) -> Result<u64> {
        let pruned = sqlx::query("DELETE FROM outbox WHERE confirmed_ms IS NOT NULL AND confirmed_ms < $1");
        Ok(pruned
            .bind(before_ms)
            .execute(self.database.pool())
            .await?
            .rows_affected())
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.database.close().await;
    }

    async fn count(&self, query: &'static str) -> Result<i64> {
        Ok(sqlx::query(query)
            .fetch_one(self.database.pool())
            .await?
            .try_get(0)?)
    }
}

fn order_from(row: &sqlx::any::AnyRow) -> Result<Order> {
    Ok(Order {
        id: row.try_get("id")?,
        item: row.try_get("item")?,
        quantity: row.try_get("quantity")?,
    })
}

fn outbox_row_from(row: &sqlx::any::AnyRow) -> Result<OutboxRow> {
    Ok(OutboxRow {
        order_id: row.try_get("order_id")?,
        payload: row.try_get("payload")?,
        refusals: u32::try_from(row.try_get::<i64, _>("refusals")?).unwrap_or(u32::MAX),
    })
}
