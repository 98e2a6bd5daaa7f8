//! The customers: they send orders over HTTP, at a steady pace, and ask again until they are told "accepted".

use super::scene::Scene;
use crate::order::Order;
use anyhow::{Context, Result, bail};
use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const ITEMS: [&str; 6] = [
    "teapot",
    "bicycle bell",
    "garden chair",
    "wool blanket",
    "chess set",
    "desk lamp",
];
/// Customers who have a request under way at the same time.
const CUSTOMERS: usize = 16;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// A customer who is not served for so long ends the story with an error: that is a bug, not a mishap.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all customers have seen so far. Only this counts as accepted, whatever the services think.
#[derive(Default)]
pub(super) struct Seen {
    accepted: Mutex<Vec<String>>,
    retries: AtomicUsize,
}

impl Seen {
    pub(super) fn accepted_count(&self) -> usize {
        self.accepted
            .lock()
            .expect("no customer panics while writing down an id")
            .len()
    }

    /// How often a request had to be sent again.
    pub(super) fn retries(&self) -> usize {
        self.retries.load(Ordering::Relaxed)
    }

    /// The ids of all accepted orders, sorted.
    pub(super) fn accepted_ids(&self) -> Vec<String> {
        let mut ids = self
            .accepted
            .lock()
            .expect("no customer panics while writing down an id")
            .clone();
        ids.sort_unstable();
        ids
    }
}

/// A browser.
pub(super) type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// Makes one.
pub(super) fn http_client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Sends `count` orders, `scene.rate` a second, each until it is accepted.
pub(super) async fn send_orders(scene: Scene, services: Vec<SocketAddr>, seen: Arc<Seen>) -> Result<()> {
    let client = http_client();
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut customers = JoinSet::<Result<()>>::new();
    for _ in 0..CUSTOMERS {
        let (client, services, seen, next) = (client.clone(), services.clone(), seen.clone(), next.clone());
        customers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= scene.orders {
                    return Ok(());
                }
                let due = start + Duration::from_secs_f64(number as f64 / scene.rate);
                tokio::time::sleep_until(due.into()).await;
                let order = order(number);
                insist(&client, &services, number, &order, &seen).await?;
                seen.accepted
                    .lock()
                    .expect("no customer panics while writing down an id")
                    .push(order.id);
            }
        });
    }
    while let Some(customer) = customers.join_next().await {
        customer??;
    }
    Ok(())
}

fn order(number: usize) -> Order {
    let item = ITEMS[number % ITEMS.len()].to_owned();
    Order {
        id: format!("order-{number:06}"),
        item,
        quantity: 1 + (number % 5) as i64,
    }
}

/// Sends one order to one service after the other until one of them accepts it. The id is the same every time, so that
/// a service that did accept it, and died before it could say so, does no harm.
async fn insist(
    client: &HttpClient,
    services: &[SocketAddr],
    number: usize,
    order: &Order,
    seen: &Seen,
) -> Result<()> {
    let body = Bytes::from(serde_json::to_vec(order)?);
    let deadline = Instant::now() + PATIENCE;
    for attempt in number.. {
        let service = services[attempt % services.len()];
        match post(client, service, body.clone()).await {
            Ok(StatusCode::CREATED | StatusCode::OK) => return Ok(()),
            Ok(status) if status.is_client_error() => bail!("{} was refused with {status}", order.id),
            Ok(_) | Err(_) => {}
        }
        if Instant::now() > deadline {
            break;
        }
        seen.retries.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20 + fastrand::u64(0..60))).await;
    }
    bail!("nobody accepted {} within {} s", order.id, PATIENCE.as_secs())
}

async fn post(client: &HttpClient, service: SocketAddr, body: Bytes) -> Result<StatusCode> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{service}/orders"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))?;
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.request(request)).await;
    Ok(answer.context("no answer in time")??.status())
}
