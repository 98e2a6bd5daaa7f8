//! The resources. Each file knows one: who may see it, and how it looks.

mod aliveness;
mod attempts;
mod bindings;
mod channels;
mod connections;
mod consumers;
mod definitions;
mod delayed;
mod details;
mod exchanges;
mod filter;
mod gets;
mod health;
mod holders;
mod limits;
mod messages;
mod moves;
mod nodes;
mod order;
mod overview;
mod parameters;
mod permissions;
mod policies;
mod publish;
mod queues;
mod search;
mod standing;
mod statistics;
mod stores;
mod to_json;
mod users;
mod vhosts;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::Node;
use super::body::BODY_BYTES_MAX;
use super::caller::{self, Caller};
use super::refusal::Refusal;
use super::rows::{Row, Shown};
use super::view::{Parameters, View};
use crate::audit_log::Act;

pub(crate) use self::definitions::load as load_definitions;
pub(crate) use self::parameters::cluster_name;

/// What is answered, before somebody looks at it.
struct Json(Value);

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        let mut response = StatusCode::OK.into_response();
        response.extensions_mut().insert(Arc::new(Shown::Whole(self.0)));
        response
    }
}

/// A list whose entries are made when they are seen: of ten thousand queues a page shows a hundred.
struct Listed(Vec<Row>);

impl IntoResponse for Listed {
    fn into_response(self) -> Response {
        let mut response = StatusCode::OK.into_response();
        response.extensions_mut().insert(Arc::new(Shown::Rows(self.0)));
        response
    }
}

/// JSON, or why there is none.
type Answer = Result<Json, Refusal>;
/// A list, or why there is none.
type List = Result<Listed, Refusal>;
/// 201 for what is new, 204 for what was there or is gone; or why nothing has changed.
type Written = Result<StatusCode, Refusal>;

/// What can be had in pages, as RabbitMQ has it; elsewhere `page` and `name` mean nothing.
const PAGED: [&str; 4] = [
    "/api/queues",
    "/api/exchanges",
    "/api/connections",
    "/api/channels",
];
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// All resources, for users that may see them.
pub(super) fn router(node: Arc<Node>) -> Router {
    let resources = Router::new()
        .merge(overview::routes())
        .merge(nodes::routes())
        .merge(connections::routes())
        .merge(channels::routes())
        .merge(consumers::routes())
        .merge(exchanges::routes())
        .merge(delayed::routes())
        .merge(queues::routes())
        .merge(bindings::routes())
        .merge(vhosts::routes())
        .merge(users::routes())
        .merge(permissions::routes())
        .merge(policies::routes())
        .merge(parameters::routes())
        .merge(definitions::routes())
        .merge(limits::routes())
        .merge(health::routes())
        .merge(attempts::routes())
        .merge(stores::routes())
        .merge(moves::routes())
        .merge(holders::routes())
        .merge(aliveness::routes())
        .merge(standing::routes())
        .merge(publish::routes())
        .merge(gets::routes())
        .route("/api/whoami", get(whoami))
        .method_not_allowed_fallback(async || Refusal::Method)
        .layer(middleware::from_fn(look))
        .route_layer(middleware::from_fn_with_state(node.clone(), written_down))
        .route_layer(middleware::from_fn_with_state(node.clone(), caller::authorise));
    resources
        .merge(standing::open_routes())
        .fallback(async || Refusal::NotFound)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(in_time))
        .with_state(node)
}

async fn whoami(Extension(caller): Extension<Caller>) -> Answer {
    Ok(Json(json!({
        "name": to_json::name(&caller.user.name),
        "tags": caller.user.tags,
        "is_internal_user": true,
    })))
}

/// 201 for what is new, 204 for what was there.
fn written(new: bool) -> StatusCode {
    if new {
        StatusCode::CREATED
    } else {
        StatusCode::NO_CONTENT
    }
}

/// Leaves a trail of what somebody has changed, or tried to. Messages that are published and gotten are no administration.
async fn written_down(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let is_act = !method.is_safe() && !path.ends_with("/publish") && !path.ends_with("/get");
    if !is_act {
        return next.run(request).await;
    }
    let who = request.extensions().get::<Caller>();
    let who = who.map_or_else(String::new, |caller| caller.user.name.to_string());
    let from = request.extensions().get::<caller::Peer>();
    let from = from.map_or_else(String::new, |peer| peer.0.to_string());
    let response = next.run(request).await;
    node.authenticator.audit.record(Act {
        who: &who,
        from: &from,
        over: "http",
        what: &format!("{method} {path}"),
        outcome: response.status().as_str(),
    });
    response
}

/// Makes text of an answer, as it was asked to look.
async fn look(Query(parameters): Query<Parameters>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let paged = PAGED
        .iter()
        .any(|list| path.starts_with(list) || path.ends_with(list));
    let paged = paged || path == "/api/vhosts";
    let view = match View::of(parameters.paged(paged)) {
        Ok(view) => view,
        Err(refusal) => return refusal.into_response(),
    };
    let mut response = next.run(request).await;
    let answer = response.extensions_mut().remove::<Arc<Shown>>();
    let Some(answer) = answer.and_then(Arc::into_inner) else {
        return response;
    };
    let seen = match view {
        Some(view) => view.apply(answer),
        None => Ok(answer.into_whole()),
    };
    seen.map_or_else(Refusal::into_response, |seen| axum::Json(seen).into_response())
}

/// Bounds the time of an answer, and keeps it out of caches.
async fn in_time(request: Request, next: Next) -> Response {
    let answered = tokio::time::timeout(ANSWER_MAX, next.run(request)).await;
    let late = |_| Refusal::Busy("the answer took too long").into_response();
    let mut response = answered.unwrap_or_else(late);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
