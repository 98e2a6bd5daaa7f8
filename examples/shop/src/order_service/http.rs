//! The HTTP side: `POST /orders`, `GET /orders/{id}`, `GET /health`. Never speaks to the broker.

use super::relay::Status;
use super::store::{Accepted, Store};
use crate::order::Order;
use crate::service::now_ms;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

/// The largest order fits into a thirtieth of this.
const BODY_BYTES_MAX: usize = 16 * 1024;

#[derive(Clone)]
struct Shop {
    store: Store,
    relay: Status,
}

pub(super) fn router(store: Store, relay: Status) -> Router {
    Router::new()
        .route("/orders", post(post_order))
        .route("/orders/{id}", get(get_order))
        .route("/health", get(get_health))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Shop { store, relay })
}

/// 201 when the order is new, 200 when it was accepted before, so that a customer who got no answer simply asks again.
/// Either way it is in the database when the answer leaves, and so is the outbox row that will bring it to the broker.
async fn post_order(State(shop): State<Shop>, body: Result<Json<Order>, JsonRejection>) -> Response {
    let Json(order) = match body {
        Ok(order) => order,
        Err(rejection) => return refusal(rejection.status(), &rejection.body_text()),
    };
    if let Err(invalid) = order.validate() {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, &invalid.to_string());
    }
    let status = match shop.store.accept(&order, now_ms()).await {
        Ok(Accepted::New) => StatusCode::CREATED,
        Ok(Accepted::Known) => StatusCode::OK,
        Ok(Accepted::Conflict) => return refusal(StatusCode::CONFLICT, "another order has this id"),
        Err(error) => return unavailable(&error),
    };
    shop.relay.wake();
    let location = [(header::LOCATION, format!("/orders/{}", order.id))];
    (
        status,
        location,
        Json(json!({ "id": order.id, "status": "accepted" })),
    )
        .into_response()
}

async fn get_order(State(shop): State<Shop>, Path(id): Path<String>) -> Response {
    match shop.store.find(&id).await {
        Ok(Some((order, published))) => {
            let Order { id, item, quantity } = order;
            Json(json!({ "id": id, "item": item, "quantity": quantity, "published": published }))
                .into_response()
        }
        Ok(None) => refusal(StatusCode::NOT_FOUND, "no such order"),
        Err(error) => unavailable(&error),
    }
}

/// A broker that is down does not make the service unhealthy: it still takes orders, and the outbox keeps them.
async fn get_health(State(shop): State<Shop>) -> Response {
    let broker = if shop.relay.connected() {
        "connected"
    } else {
        "disconnected"
    };
    match shop.store.outbox_count().await {
        Ok(outbox) => Json(json!({ "database": "ok", "broker": broker, "outbox": outbox })).into_response(),
        Err(error) => unavailable(&error),
    }
}

fn refusal(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

/// The customer does not learn what is wrong with our database, the operator does.
fn unavailable(error: &anyhow::Error) -> Response {
    tracing::error!("the database refused: {error:#}");
    let retry = [(header::RETRY_AFTER, "1")];
    (
        StatusCode::SERVICE_UNAVAILABLE,
        retry,
        Json(json!({ "error": "try again later" })),
    )
        .into_response()
}
