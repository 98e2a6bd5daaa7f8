//! The pages, one file each. A page asks the API and says what it was told; what a form orders is asked of the API likewise.

mod aside;
pub(crate) mod assets;
mod channels;
mod connections;
mod definitions;
mod exchange;
mod exchanges;
mod health;
mod holders;
mod log_in;
mod overview;
mod policies;
mod queue;
mod queues;
mod risks;
mod users;
mod vhosts;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};

use crate::Console;
use crate::ask::Problem;
use crate::form::FORM_BYTES_MAX;
use crate::guard;
use crate::visit::{Done, Order, View, Visit};

/// All pages.
pub(crate) fn router(console: Arc<Console>) -> Router {
    Router::new()
        .merge(assets::routes())
        .merge(log_in::routes())
        .merge(overview::routes())
        .merge(queues::routes())
        .merge(queue::routes())
        .merge(exchanges::routes())
        .merge(exchange::routes())
        .merge(connections::routes())
        .merge(channels::routes())
        .merge(policies::routes())
        .merge(vhosts::routes())
        .merge(users::routes())
        .merge(risks::routes())
        .merge(aside::routes())
        .merge(holders::routes())
        .merge(health::routes())
        .merge(definitions::routes())
        .fallback(elsewhere)
        .method_not_allowed_fallback(elsewhere)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn_with_state(
            console.names.clone(),
            guard::guard,
        ))
        .with_state(console)
}

async fn elsewhere(method: Method, visit: Result<Visit, Response>) -> Response {
    let visit = match visit {
        Ok(visit) => visit,
        Err(response) => return response,
    };
    if method == Method::GET {
        visit.show(Err(Problem::new(StatusCode::NOT_FOUND, "There is no such page.")))
    } else {
        StatusCode::METHOD_NOT_ALLOWED.into_response()
    }
}

/// A page that is looked at.
fn view<F, Fut>(page: F) -> MethodRouter<Arc<Console>>
where
    F: Fn(Arc<Visit>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<View, Problem>> + Send,
{
    get(async move |visit: Visit| {
        let visit = Arc::new(visit);
        let result = page(visit.clone()).await;
        visit.show(result)
    })
}

/// A form that is sent.
fn act<F, Fut>(order: F) -> MethodRouter<Arc<Console>>
where
    F: Fn(Arc<Order>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Done, Problem>> + Send,
{
    post(async move |sent: Order| {
        let sent = Arc::new(sent);
        let result = order(sent.clone()).await;
        sent.answer(result)
    })
}
