//! What is answered to a request that gets nothing: RabbitMQ's status codes and its JSON.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody logged in, or with the wrong password, or from the wrong place.
    LogIn(&'static str),
    /// The user may not see this.
    Rights(&'static str),
    /// There is no such thing.
    NotFound,
    /// The path is served, but not with this method.
    Method,
    /// It took too long, or too many ask at once.
    Busy(&'static str),
}

impl Refusal {
    fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        match *self {
            // RabbitMQ spells the two differently, and there are scripts that know it.
            Refusal::LogIn(reason) => (StatusCode::UNAUTHORIZED, "not_authorized", reason),
            Refusal::Rights(reason) => (StatusCode::UNAUTHORIZED, "not_authorised", reason),
            Refusal::NotFound => (StatusCode::NOT_FOUND, "Object Not Found", "Not Found"),
            Refusal::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "Method Not Allowed",
                "the path is served, but not with this method",
            ),
            Refusal::Busy(reason) => (StatusCode::SERVICE_UNAVAILABLE, "busy", reason),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error, reason) = self.parts();
        let mut response = (status, Json(json!({ "error": error, "reason": reason }))).into_response();
        if let Refusal::LogIn(_) = self {
            let realm = HeaderValue::from_static("Basic realm=\"Everack Management\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
        }
        response
    }
}
