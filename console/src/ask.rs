//! Asks the management API, in this process, as the user that is logged in.

use std::any::Any;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tower::ServiceExt as _;

/// Most bytes of an answer that is read. Definitions are the longest.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// What stays as it is in a part of a path or a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Proof that somebody has logged in: made by the API, not looked into here. The API checks with each request whether it still holds.
#[derive(Clone)]
pub struct Pass(Arc<dyn Any + Send + Sync>);

impl Pass {
    /// Wraps what the API wants to see again.
    pub fn new<T: Any + Send + Sync>(proof: Arc<T>) -> Self {
        Self(proof)
    }

    /// What was wrapped, if it is of that type.
    pub fn proof<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.clone().downcast().ok()
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pass")
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Why the API gives no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// The API's `reason`, or `error` where there is none.
    pub(crate) reason: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { status, reason }
    }

    /// The user's fault, who filled in a form.
    pub(crate) fn bad(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }
}

/// An answer, or why there is none.
pub(crate) type Answer<T = Value> = Result<T, Problem>;

/// Who asks.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) api: Router,
    pub(crate) pass: Pass,
    pub(crate) peer: Peer,
}

impl Ask {
    /// What lies under a path (see [`path`]), perhaps with a query behind it.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    /// The same, and `None` where the API has no such path or thing, or the user may not see it: parts of a page that can be missing.
    pub(crate) async fn find(&self, path: &str) -> Option<Value> {
        self.get(path).await.ok()
    }

    /// Changes something; what is answered, or null.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.call(method, path, body, &[]).await
    }

    /// The same, with headers.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&'static str, HeaderValue)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or(Bytes::new(), |body| body.to_string().into());
        let mut request = request
            .body(Body::from(body))
            .map_err(|error| Problem::bad(error.to_string()))?;
        request.extensions_mut().insert(self.pass.clone());
        request.extensions_mut().insert(self.peer);
        read(deliver(&self.api, request).await).await
    }
}

/// Logs in: a pass, and what the API says of the user.
pub(crate) async fn log_in(
    api: &Router,
    peer: Peer,
    user: &str,
    password: &str,
) -> Result<(Pass, Value), Problem> {
    let mut request = Request::get("/api/whoami")
        .header(header::AUTHORIZATION, basic(user, password))
        .body(Body::empty())
        .map_err(|error| Problem::bad(error.to_string()))?;
    request.extensions_mut().insert(peer);
    let mut response = deliver(api, request).await;
    let pass = response.extensions_mut().remove::<Pass>();
    let about = read(response).await?;
    let pass = pass.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "Login failed"))?;
    Ok((pass, about))
}

pub(crate) async fn deliver(api: &Router, request: Request<Body>) -> Response<Body> {
    match api.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

pub(crate) async fn read(response: Response<Body>) -> Answer {
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
    let body =
        body.map_err(|_| Problem::new(StatusCode::BAD_GATEWAY, "the answer is too long to be shown"))?;
    let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(value);
    }
    let reason = ["reason", "error"]
        .iter()
        .find_map(|field| value[field].as_str())
        .unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason was given"));
    Err(Problem::new(status, reason))
}

/// A path of the API from its parts, each escaped: names may hold anything.
pub(crate) fn path(parts: &[&str]) -> String {
    let mut path = "/api".to_owned();
    for part in parts {
        path.push('/');
        path += &escape(part);
    }
    path
}

/// A link to a page with a query: each value escaped. Names stand in queries, because browsers take `..` out of paths.
pub(crate) fn link(page: &str, query: &[(&str, &str)]) -> String {
    let mut link = page.to_owned();
    for (index, (name, value)) in query.iter().enumerate() {
        let sign = if index == 0 { '?' } else { '&' };
        let _ = write!(link, "{sign}{name}={}", escape(value));
    }
    link
}

/// One part of a path or a query, escaped.
pub(crate) fn escape(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

fn basic(user: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = "Basic ".to_owned();
    for bytes in format!("{user}:{password}").as_bytes().chunks(3) {
        let byte = |index: usize| u32::from(bytes.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) as usize & 63;
            encoded.push(if digit > bytes.len() {
                '='
            } else {
                DIGITS[value].into()
            });
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_paths_and_links() {
        assert_eq!(
            path(&["queues", "/", "a b?&#\u{e9}"]),
            "/api/queues/%2F/a%20b%3F%26%23%C3%A9"
        );
        assert_eq!(
            link("/queue", &[("vhost", "/"), ("name", "..")]),
            "/queue?vhost=%2F&name=.."
        );
    }

    #[test]
    fn credentials_are_encoded_as_the_api_reads_them() {
        for (user, password, expected) in [
            ("guest", "guest", "Basic Z3Vlc3Q6Z3Vlc3Q="),
            ("a", "b:c", "Basic YTpiOmM="),
            ("", "", "Basic Og=="),
            ("abc", "de", "Basic YWJjOmRl"),
        ] {
            assert_eq!(basic(user, password), expected);
        }
    }
}
