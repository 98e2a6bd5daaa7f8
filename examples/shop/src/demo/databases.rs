//! Fresh databases for an act: two SQLite files, or two schemas in a PostgreSQL database that was named.

use crate::database::{Database, Dialect};
use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor};
use std::path::Path;

/// Where the two kinds of services keep what they know. They do not share a database: the broker is all they share.
pub(super) struct Databases {
    pub(super) orders: String,
    pub(super) warehouse: String,
    made: Option<Made>,
}

/// Schemas to be dropped in the end.
struct Made {
    url: String,
    schemas: [String; 2],
}

impl Databases {
    /// Two new files in `directory`.
    pub(super) fn in_files(directory: &Path) -> Self {
        let file = |name: &str| format!("sqlite://{}", directory.join(name).display());
        Self {
            orders: file("orders.db"),
            warehouse: file("warehouse.db"),
            made: None,
        }
    }

    /// Two new schemas in the PostgreSQL database at `url`.
    pub(super) async fn in_server(url: &str) -> Result<Self> {
        anyhow::ensure!(
            Dialect::of(url)? == Dialect::Postgres,
            "--database takes a postgres:// URL; SQLite files are made anew for each demo without being asked"
        );
        let run = format!("everack_demo_{:08x}", fastrand::u32(..));
        let schemas = [format!("{run}_orders"), format!("{run}_warehouse")];
        for schema in &schemas {
            execute(url, format!("CREATE SCHEMA {schema}"))
                .await
                .context("cannot create a schema for the demo")?;
        }
        let separator = if url.contains('?') { '&' } else { '?' };
        let [orders, warehouse] = schemas
            .each_ref()
            .map(|schema| format!("{url}{separator}options[search_path]={schema}"));
        Ok(Self {
            orders,
            warehouse,
            made: Some(Made {
                url: url.to_owned(),
                schemas,
            }),
        })
    }

    /// Drops what [`Self::in_server`] has made. Files go with their directory.
    pub(super) async fn drop(self) -> Result<()> {
        let Some(Made { url, schemas }) = self.made else {
            return Ok(());
        };
        for schema in schemas {
            execute(&url, format!("DROP SCHEMA {schema} CASCADE")).await?;
        }
        Ok(())
    }
}

async fn execute(url: &str, statement: String) -> Result<()> {
    let database = Database::open(url, "").await?;
    database.pool().execute(AssertSqlSafe(statement)).await?;
    database.close().await;
    Ok(())
}
