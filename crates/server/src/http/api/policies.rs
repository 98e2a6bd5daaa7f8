//! Policies and operator policies: this broker has none.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Extension, Path};
use axum::routing::get;
use serde_json::json;

use super::Answer;
use crate::http::Node;
use crate::http::caller::Caller;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/policies", get(list))
        .route("/api/policies/{vhost}", get(list_in))
        .route("/api/operator-policies", get(list))
        .route("/api/operator-policies/{vhost}", get(list_in))
}

async fn list() -> Answer {
    Ok(Json(json!([])))
}

async fn list_in(Extension(caller): Extension<Caller>, Path(vhost): Path<String>) -> Answer {
    caller.vhost(&vhost)?;
    Ok(Json(json!([])))
}
