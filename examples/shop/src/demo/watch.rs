//! The story for somebody who looks on over HTTP: how everything stands, and wishes whom to kill. It is JSON here; pages are put before it by who
//! starts the demo.
//!
//! | request | what |
//! |---|---|
//! | `GET /api/story` | how it stands |
//! | `POST /api/story/kill/warehouse/2`, `order-service/1`, `broker/0` | a wish: 202, 404 if there is no such one, 429 if too many wait |
//!
//! It is a room of its own, apart from the broker's console, because the broker is one of those that get killed.

use super::scene::Mishap;
use super::stage::Stage;
use super::verdict::Tally;
use crate::warehouse_service::Totals;
use anyhow::{Context, Result};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Puts pages before the story's JSON.
pub type Dress = fn(Router) -> Router;

/// How often a watcher is told how everything stands.
const PERIOD: Duration = Duration::from_millis(250);
/// How often the broker is asked how much waits: each time is a connection.
const QUEUE_PERIOD: Duration = Duration::from_secs(1);
/// Wishes that may wait.
const WISHES_MAX: usize = 8;
/// Events that are kept, newest last.
const EVENTS_MAX: usize = 60;
/// Looks into the queue at which an order has to be missing before it is called lost: what is on its way arrives meanwhile.
const LOOKS_OF_LOST: usize = 4;
/// Orders in the hands of one warehouse that are named.
const NAMED_MAX: i64 = 12;

/// The door for those who look on.
pub(super) struct Watch {
    shared: Arc<Mutex<Shared>>,
    looked: Mutex<Looked>,
}

/// When everything was looked at last.
struct Looked {
    at: Option<Instant>,
    queue_at: Option<Instant>,
    queued: Option<u32>,
    /// Orders that were in no place that is known, at the last looks into the queue.
    missing: VecDeque<i64>,
}

#[derive(Default)]
struct Shared {
    state: Value,
    /// Since when the act is played.
    began: Option<Instant>,
    events: VecDeque<Value>,
    /// Acts that are over.
    done: Vec<Value>,
    title: String,
    orders: usize,
    auto_ack: bool,
    /// How many order services and warehouses there are.
    actors: (usize, usize),
    wishes: VecDeque<Mishap>,
}

/// What the act knows at this moment.
pub(super) struct Look<'a> {
    pub(super) accepted: usize,
    /// Orders in the outbox.
    pub(super) waiting: i64,
    pub(super) totals: &'a Totals,
    pub(super) tally: &'a Tally,
}

impl Watch {
    /// Serves at that address, and says where.
    pub(super) async fn open(address: SocketAddr, dress: Dress) -> Result<Self> {
        let shared = Arc::<Mutex<Shared>>::default();
        let story = Router::new()
            .route("/api/story", get(show))
            .route("/api/story/kill/{what}/{number}", post(wish))
            .with_state(shared.clone());
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("--watch: cannot listen on {address}"))?;
        println!("Watch the story at http://{}/", listener.local_addr()?);
        let serving = axum::serve(listener, dress(story));
        tokio::spawn(async move { serving.await });
        Ok(Self {
            shared,
            looked: Mutex::new(Looked {
                at: None,
                queue_at: None,
                queued: None,
                missing: VecDeque::new(),
            }),
        })
    }

    /// An act begins.
    pub(super) fn begin(&self, title: &str, orders: usize, auto_ack: bool) {
        let mut shared = self.shared();
        shared.began = Some(Instant::now());
        shared.title = title.to_owned();
        (shared.orders, shared.auto_ack) = (orders, auto_ack);
        shared.events.clear();
        shared.wishes.clear();
        shared.state = Value::Null;
        self.looked.lock().expect("nobody panics with it").missing.clear();
    }

    /// An act is over.
    pub(super) fn end(&self, tally: &Tally) {
        let mut shared = self.shared();
        let done = json!({
            "auto_ack": shared.auto_ack,
            "orders": tally.orders,
            "shipped": tally.comparison.shipped,
            "lost": tally.comparison.lost,
            "shipped_twice": tally.comparison.shipped_twice,
            "redelivered": tally.redelivered,
            "holds": tally.holds(),
        });
        shared.done.push(done);
        shared.state = Value::Null;
    }

    /// Something has happened.
    pub(super) fn event(&self, text: &str) {
        let mut shared = self.shared();
        let seconds = shared.began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        shared
            .events
            .push_back(json!({ "seconds": seconds, "text": text }));
        if shared.events.len() > EVENTS_MAX {
            shared.events.pop_front();
        }
    }

    /// The next wish, once.
    pub(super) fn wish(&self) -> Option<Mishap> {
        self.shared().wishes.pop_front()
    }

    /// Writes down how everything stands, if it is time again.
    pub(super) async fn look(&self, stage: &Stage, look: Look<'_>) -> Result<()> {
        if !self.is_time() {
            return Ok(());
        }
        let (queued, is_new) = self.queued(stage).await;
        let mut order_services = Vec::new();
        for (number, (name, alive)) in stage.order_services().enumerate() {
            let unconfirmed = stage.store.claimed_count(name).await?;
            order_services
                .push(json!({ "number": number, "name": name, "alive": alive, "unconfirmed": unconfirmed }));
        }
        let (mut warehouses, mut in_hands) = (Vec::new(), 0);
        for (number, (name, alive)) in stage.warehouses().enumerate() {
            let held = if alive {
                stage.books.in_hands_of(name).await?
            } else {
                0
            };
            let named = match held {
                0 => Vec::new(),
                _ => stage.books.ids_in_hands_of(name, NAMED_MAX).await?,
            };
            in_hands += held;
            warehouses.push(
                json!({ "number": number, "name": name, "alive": alive, "held": held, "orders": named }),
            );
        }
        let shipped = look.totals.shipped;
        if let Some(queued) = queued.filter(|_| is_new) {
            self.missed(look.accepted as i64 - shipped - look.waiting - in_hands - i64::from(queued));
        }
        let lost = self.lost();
        let mut shared = self.shared();
        shared.actors = (order_services.len(), warehouses.len());
        shared.state = json!({
            "accepted": look.accepted,
            "outbox": look.waiting,
            "queued": queued,
            "in_hands": in_hands,
            "shipped": shipped,
            "redelivered": look.totals.redelivered,
            // In none of these places, for longer than any way takes.
            "lost": lost,
            "broker": { "alive": stage.broker_is_up() },
            "order_services": order_services,
            "warehouses": warehouses,
            "kills": look.tally.warehouse_kills + look.tally.order_service_kills + look.tally.broker_kills,
        });
        Ok(())
    }

    fn is_time(&self) -> bool {
        let mut looked = self.looked.lock().expect("nobody panics with it");
        let is_time = looked.at.is_none_or(|at| at.elapsed() >= PERIOD);
        if is_time {
            looked.at = Some(Instant::now());
        }
        is_time
    }

    /// So many orders are in no place that is known.
    fn missed(&self, missing: i64) {
        let mut looked = self.looked.lock().expect("nobody panics with it");
        looked.missing.push_back(missing.max(0));
        if looked.missing.len() > LOOKS_OF_LOST {
            looked.missing.pop_front();
        }
    }

    /// The fewest that were missing at any of the last looks; unknown before there were enough.
    fn lost(&self) -> Option<i64> {
        let looked = self.looked.lock().expect("nobody panics with it");
        let enough = looked.missing.len() == LOOKS_OF_LOST;
        looked.missing.iter().min().copied().filter(|_| enough)
    }

    /// What waits in the queue, as it was a second ago at most, and whether it was looked up now; unknown while the broker is dead.
    async fn queued(&self, stage: &Stage) -> (Option<u32>, bool) {
        let (at, known) = {
            let looked = self.looked.lock().expect("nobody panics with it");
            (looked.queue_at, looked.queued)
        };
        if !stage.broker_is_up() {
            return (None, false);
        }
        if at.is_some_and(|at| at.elapsed() < QUEUE_PERIOD) {
            return (known, false);
        }
        let queued = stage.queue_length().await.ok();
        let mut looked = self.looked.lock().expect("nobody panics with it");
        (looked.queue_at, looked.queued) = (Some(Instant::now()), queued);
        (queued, true)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("nobody panics with it")
}

async fn show(State(shared): State<Arc<Mutex<Shared>>>) -> Json<Value> {
    let shared = lock(&shared);
    let mut shown = json!({
        "title": shared.title,
        "auto_ack": shared.auto_ack,
        "orders": shared.orders,
        "seconds": shared.began.map(|began| began.elapsed().as_secs_f64()),
        "events": shared.events,
        "done": shared.done,
        "playing": !shared.state.is_null(),
    });
    if let (Some(shown), Some(state)) = (shown.as_object_mut(), shared.state.as_object()) {
        shown.extend(state.clone());
    }
    Json(shown)
}

async fn wish(
    State(shared): State<Arc<Mutex<Shared>>>,
    Path((what, number)): Path<(String, usize)>,
) -> StatusCode {
    let mut shared = lock(&shared);
    let (order_services, warehouses) = shared.actors;
    let mishap = match what.as_str() {
        "warehouse" if number < warehouses => Mishap::Warehouse(number),
        "order-service" if number < order_services => Mishap::OrderService(number),
        "broker" => Mishap::Broker,
        _ => return StatusCode::NOT_FOUND,
    };
    if shared.wishes.len() >= WISHES_MAX {
        return StatusCode::TOO_MANY_REQUESTS;
    }
    shared.wishes.push_back(mishap);
    StatusCode::ACCEPTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wishes_are_bounded_and_about_those_who_are_there() {
        let shared = Arc::new(Mutex::new(Shared {
            actors: (1, 2),
            ..Shared::default()
        }));
        let wish = async |what: &str, number| {
            let path = Path((what.to_owned(), number));
            super::wish(State(shared.clone()), path).await.as_u16()
        };
        assert_eq!(wish("warehouse", 2).await, 404);
        assert_eq!(wish("order-service", 1).await, 404);
        assert_eq!(wish("king", 0).await, 404);
        assert_eq!(wish("warehouse", 1).await, 202);
        for _ in 1..WISHES_MAX {
            assert_eq!(wish("broker", 0).await, 202);
        }
        assert_eq!(wish("broker", 0).await, 429);
        assert_eq!(lock(&shared).wishes.pop_front(), Some(Mishap::Warehouse(1)));
    }
}
