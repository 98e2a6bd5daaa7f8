//! One door to the databases: SQLite embedded by default, PostgreSQL by URL.
//!
//! Both speak the SQL that the services use, down to `ON CONFLICT` and `RETURNING`; [`Dialect`] holds the few words in
//! which they differ. Each service brings its own tables; this module does not know them.

use anyhow::{Context, Result, bail};
use sqlx::any::AnyPoolOptions;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Executor, Transaction};
use std::time::Duration;

/// How long a writer waits for another process to finish its transaction on the same SQLite file.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(15);
/// Connections to PostgreSQL at most, per process.
const POSTGRES_CONNECTIONS_MAX: u32 = 4;
/// Any number will do, as long as every service uses the same: it names the lock that guards creating the tables.
const SCHEMA_LOCK: i64 = 0x5348_4F50;

/// The databases that the services run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A file, shared by several processes.
    Sqlite,
    /// A server.
    Postgres,
}

impl Dialect {
    /// Reads the kind from a database URL.
    pub fn of(url: &str) -> Result<Self> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            _ => bail!("the database URL must begin with sqlite:// or postgres://, not as in {url:?}"),
        }
    }

    /// What a query appends to pass over rows that another process has just locked. SQLite has one writer at a time,
    /// so that there is nothing to pass over.
    pub fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }
}

/// A pool of connections and what they speak.
#[derive(Clone, Debug)]
pub struct Database {
    pool: AnyPool,
    dialect: Dialect,
}

impl Database {
    /// Connects, and creates the tables of `schema` (statements that may be run again on a database that has them).
    /// A SQLite file that does not exist is created.
    pub async fn open(url: &str, schema: &'static str) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let dialect = Dialect::of(url)?;
        let options = AnyPoolOptions::new().acquire_timeout(Duration::from_secs(30));
        let pool = match dialect {
            // One connection a process: the process's own writers then queue up in order here, instead of meeting
            // each other at the file's lock, where waiting is polling.
            Dialect::Sqlite => {
                let options = options
                    .max_connections(1)
                    .after_connect(|connection, _| Box::pin(async move { prepare_sqlite(connection).await }));
                options.connect(&created_when_missing(url)).await
            }
            Dialect::Postgres => {
                options
                    .max_connections(POSTGRES_CONNECTIONS_MAX)
                    .connect(url)
                    .await
            }
        };
        let pool = pool.with_context(|| format!("cannot open the database {}", without_password(url)))?;
        let database = Self { pool, dialect };
        database
            .create_tables(schema)
            .await
            .context("cannot create the tables")?;
        Ok(database)
    }

    async fn create_tables(&self, schema: &'static str) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin().await?;
        if self.dialect == Dialect::Postgres {
            // IF NOT EXISTS is no guard against two services that start at the same moment.
            sqlx::query("SELECT pg_advisory_xact_lock($1)")
                .bind(SCHEMA_LOCK)
                .execute(&mut *transaction)
                .await?;
        }
        for statement in schema
            .split(';')
            .map(str::trim)
            .filter(|statement| !statement.is_empty())
        {
            transaction.execute(AssertSqlSafe(statement)).await?;
        }
        transaction.commit().await
    }

    /// Begins a transaction that is going to write. On SQLite it takes the write lock at once: a transaction that read
    /// first and asked for the lock later would fail when another process wrote in between.
    pub async fn begin(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.dialect {
            Dialect::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await,
            Dialect::Postgres => self.pool.begin().await,
        }
    }

    /// For single statements.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// What is spoken here.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Write-ahead log, so that readers do not wait for writers; every commit synced, because an accepted order must
/// survive a power cut as well. Switching to the log can meet another process that does the same, which SQLite reports
/// at once instead of waiting, hence the tries.
async fn prepare_sqlite(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let busy_timeout = format!("PRAGMA busy_timeout = {}", SQLITE_BUSY_TIMEOUT.as_millis());
    connection.execute(AssertSqlSafe(busy_timeout)).await?;
    let mut tries = 0;
    while let Err(error) = connection.execute("PRAGMA journal_mode = WAL").await {
        tries += 1;
        if tries == 100 {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(20 + fastrand::u64(0..30))).await;
    }
    connection.execute("PRAGMA synchronous = FULL").await?;
    connection.execute("PRAGMA foreign_keys = ON").await?;
    Ok(())
}

/// SQLite's own default is to refuse a file that is not there.
fn created_when_missing(url: &str) -> String {
    match url.split_once('?') {
        None => format!("{url}?mode=rwc"),
        Some((_, query)) if query.contains("mode=") => url.to_owned(),
        Some(_) => format!("{url}&mode=rwc"),
    }
}

/// The URL as it may appear in a log.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        None => url.to_owned(),
        Some(at) => {
            let user = rest[..at].split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{}", &rest[at + 1..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialects() {
        assert_eq!(Dialect::of("sqlite://shop.db").unwrap(), Dialect::Sqlite);
        assert_eq!(
            Dialect::of("postgres://localhost/shop").unwrap(),
            Dialect::Postgres
        );
        assert_eq!(
            Dialect::of("postgresql://localhost/shop").unwrap(),
            Dialect::Postgres
        );
        assert!(Dialect::of("mysql://localhost/shop").is_err());
        assert!(Dialect::of("shop.db").is_err());
    }

    #[test]
    fn passwords_stay_out_of_logs() {
        let check = |url: &str, expected: &str| assert_eq!(without_password(url), expected);
        check(
            "postgres://ann:secret@db:5432/shop",
            "postgres://ann@db:5432/shop",
        );
        check("postgres://ann:se@cret@db/shop", "postgres://ann@db/shop");
        check("postgres://db/shop", "postgres://db/shop");
        check("sqlite://shop.db", "sqlite://shop.db");
        check("nonsense", "nonsense");
    }

    #[test]
    fn files_are_created() {
        let check = |url: &str, expected: &str| assert_eq!(created_when_missing(url), expected);
        check("sqlite://shop.db", "sqlite://shop.db?mode=rwc");
        check(
            "sqlite://shop.db?cache=private",
            "sqlite://shop.db?cache=private&mode=rwc",
        );
        check("sqlite://shop.db?mode=ro", "sqlite://shop.db?mode=ro");
    }
}
