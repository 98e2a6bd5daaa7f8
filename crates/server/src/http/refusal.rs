//! What is answered to a request that gets nothing: RabbitMQ's status codes and its JSON.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use everack_broker::catalog::{Refusal as Refused, RefusalKind};
use serde_json::json;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nobody logged in, or with the wrong password, or from the wrong place.
    LogIn(&'static str),
    /// The user may not see this.
    Rights(&'static str),
    /// The user may not do this, the broker says.
    Forbidden(String),
    /// There is no such thing.
    NotFound,
    /// What the request needs is not there, the broker says.
    Missing(String),
    /// The path is served, but not with this method.
    Method,
    /// The request makes no sense, or the broker refuses it, for this reason.
    Bad(String),
    /// As [`Refusal::Bad`]: what is wrong with a value, and the value.
    Value(&'static str, String),
    /// It cannot be done as things are.
    Conflict(&'static str),
    /// There is no such page.
    Range(String),
    /// The body is longer than this, in bytes.
    TooLarge(usize),
    /// It took too long, or too many ask at once.
    Busy(&'static str),
}

impl From<Refused> for Refusal {
    /// As RabbitMQ's management translates what the broker says.
    fn from(refused: Refused) -> Self {
        match refused.kind {
            RefusalKind::NotFound => Refusal::Missing(refused.text),
            RefusalKind::AccessRefused | RefusalKind::NotAllowed => Refusal::Forbidden(refused.text),
            RefusalKind::PreconditionFailed | RefusalKind::ResourceLocked | RefusalKind::CommandInvalid => {
                Refusal::Bad(refused.text)
            }
        }
    }
}

impl Refusal {
    /// See [`Refusal::Bad`].
    pub(super) fn bad(reason: &str) -> Self {
        Refusal::Bad(reason.to_owned())
    }

    /// What RabbitMQ says where one of its components refuses a value.
    pub(super) fn invalid(reason: &str) -> Self {
        Refusal::Bad(format!("Validation failed\n\n{reason}\n"))
    }

    /// Why, in words.
    pub(super) fn reason(&self) -> String {
        let (_, _, reason) = self.parts();
        match self {
            Refusal::Value(_, value) => format!("{reason}: {value}"),
            _ => reason.into_owned(),
        }
    }

    fn parts(&self) -> (StatusCode, &'static str, Cow<'_, str>) {
        match self {
            // RabbitMQ spells the two differently, and there are scripts that know it.
            Refusal::LogIn(reason) => (StatusCode::UNAUTHORIZED, "not_authorized", (*reason).into()),
            Refusal::Rights(reason) => (StatusCode::UNAUTHORIZED, "not_authorised", (*reason).into()),
            Refusal::Forbidden(reason) => (StatusCode::UNAUTHORIZED, "not_authorised", reason.into()),
            Refusal::NotFound => (StatusCode::NOT_FOUND, "Object Not Found", "Not Found".into()),
            Refusal::Missing(reason) => (StatusCode::NOT_FOUND, "not_found", reason.into()),
            Refusal::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "Method Not Allowed",
                "the path is served, but not with this method".into(),
            ),
            Refusal::Bad(reason) => (StatusCode::BAD_REQUEST, "bad_request", reason.into()),
            Refusal::Value(what, _) => (StatusCode::BAD_REQUEST, "bad_request", (*what).into()),
            Refusal::Conflict(reason) => (StatusCode::CONFLICT, "conflict", (*reason).into()),
            Refusal::Range(reason) => (StatusCode::BAD_REQUEST, "page_out_of_range", reason.into()),
            Refusal::TooLarge(bytes) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                format!("the body is longer than {bytes} bytes").into(),
            ),
            Refusal::Busy(reason) => (StatusCode::SERVICE_UNAVAILABLE, "busy", (*reason).into()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error, reason) = self.parts();
        let reason = match &self {
            // RabbitMQ's tuples are lists in JSON.
            Refusal::Value(what, value) => json!([what, value]),
            _ => json!(reason),
        };
        let mut response = (status, Json(json!({ "error": error, "reason": reason }))).into_response();
        if let Refusal::LogIn(_) = self {
            let realm = HeaderValue::from_static("Basic realm=\"Everack Management\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
        }
        response
    }
}
