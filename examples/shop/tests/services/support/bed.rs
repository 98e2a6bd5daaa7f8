//! A test bed: empty databases, and the services as real processes.

use super::postgres::Postgres;
use anyhow::{Context, Result};
use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode};
use everack_shop::database::Database;
use everack_shop::order::Order;
use everack_shop::order_service::Store;
use everack_shop::warehouse_service::Books;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use serde_json::Value;
use std::fmt::Debug;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything takes on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// Empty databases for one test.
pub(crate) struct Bed {
    pub(crate) orders_url: String,
    pub(crate) warehouse_url: String,
    pub(crate) store: Store,
    pub(crate) books: Books,
    _directory: TempDir,
    _server: Option<Postgres>,
}

/// Runs a test on a fresh bed.
pub(crate) fn run(kind: Kind, test: impl AsyncFnOnce(Bed) -> Result<()>) {
    let server = match kind {
        Kind::Sqlite => None,
        Kind::Postgres => match Postgres::start() {
            Some(server) => Some(server),
            None => return,
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let bed = Bed::make(server).await.expect("a test bed");
        test(bed).await.expect("the test goes through");
    });
}

impl Bed {
    async fn make(server: Option<Postgres>) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let [orders_url, warehouse_url] = match &server {
            None => ["orders", "warehouse"].map(|name| {
                let file = directory.path().join(format!("{name}.db"));
                format!("sqlite://{}", file.display())
            }),
            Some(server) => {
                // The server's port is open a moment before it serves.
                let admin = eventually(async || Database::open(&server.url("postgres"), "").await.ok()).await;
                sqlx::query("CREATE DATABASE orders")
                    .execute(admin.pool())
                    .await?;
                sqlx::query("CREATE DATABASE warehouse")
                    .execute(admin.pool())
                    .await?;
                admin.close().await;
                ["orders", "warehouse"].map(|name| server.url(name))
            }
        };
        let store = Store::open(&orders_url).await?;
        let books = Books::open(&warehouse_url).await?;
        Ok(Self {
            orders_url,
            warehouse_url,
            store,
            books,
            _directory: directory,
            _server: server,
        })
    }

    /// Puts orders a-00, a-01, ... into the database, as if a service had accepted them.
    pub(crate) async fn accept(&self, count: usize) -> Result<()> {
        for number in 0..count {
            let (id, item) = (format!("a-{number:02}"), "teapot".to_owned());
            self.store
                .accept(
                    &Order {
                        id,
                        item,
                        quantity: 2,
                    },
                    0,
                )
                .await?;
        }
        Ok(())
    }

    /// Starts an order service and waits until it listens.
    pub(crate) fn order_service(&self, name: &str, broker: &str, more: &[&str]) -> Service {
        let mut command = Command::new(env!("CARGO_BIN_EXE_order-service"));
        command.args(["--listen", "127.0.0.1:0", "--name", name, "--broker", broker]);
        command
            .args(["--database", &self.orders_url])
            .args(more)
            .stdout(Stdio::piped());
        let mut service = Service::start(command);
        let output = service.child.stdout.take().expect("its output is a pipe");
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .expect("a line that says where it listens");
        let address = line
            .trim()
            .rsplit_once(' ')
            .expect("an address at the end of the line")
            .1;
        service.address = address.to_owned();
        service
    }

    pub(crate) fn warehouse(&self, name: &str, broker: &str, more: &[&str]) -> Service {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warehouse-service"));
        command
            .args([
                "--name",
                name,
                "--broker",
                broker,
                "--database",
                &self.warehouse_url,
            ])
            .args(more);
        Service::start(command)
    }
}

/// A service as a process. Dropping it kills it.
pub(crate) struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start(mut command: Command) -> Self {
        die_with_test(&mut command);
        let child = command.stdin(Stdio::null()).spawn().expect("the service starts");
        Self {
            child,
            address: String::new(),
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn end(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it can be signalled");
        eventually(async || self.child.try_wait().expect("it can be waited for")).await
    }

    pub(crate) async fn post_order(&self, id: &str) -> Result<StatusCode> {
        let body = serde_json::json!({ "id": id, "item": "teapot", "quantity": 2 });
        Ok(self.http(Method::POST, "/orders", &body.to_string()).await?.0)
    }

    pub(crate) async fn get(&self, path: &str) -> Result<(StatusCode, Value)> {
        self.http(Method::GET, path, "").await
    }

    /// One request; the answer's body is null when it is not JSON.
    pub(crate) async fn http(&self, method: Method, path: &str, body: &str) -> Result<(StatusCode, Value)> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request).await.context("no answer")?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Binds a child's life to the thread of the test that starts it, should the test end without dropping it.
pub(crate) fn die_with_test(command: &mut Command) {
    // SAFETY: between fork and exec only one system call is made, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "it did not happen in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Looks until it sees `expected`.
pub(crate) async fn becomes<T: PartialEq + Debug>(expected: T, mut look: impl AsyncFnMut() -> Result<T>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look().await.expect("looking works");
        if seen == expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "expected {expected:?}, it is still {seen:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Looks for a while and sees nothing but `expected`.
pub(crate) async fn stays<T: PartialEq + Debug>(expected: T, mut look: impl AsyncFnMut() -> Result<T>) {
    let end = Instant::now() + Duration::from_millis(600);
    while Instant::now() < end {
        assert_eq!(look().await.expect("looking works"), expected);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
