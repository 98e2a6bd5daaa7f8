//! What holds for every page: who may call it from where, and what a browser may do with it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// Only what we serve ourselves: no scripts or styles within pages, no frames around them, no forms to elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Refuses requests that a page of somebody else made, and says to browsers how to treat the answer.
pub(crate) async fn guard(State(names): State<Arc<Vec<String>>>, request: Request, next: Next) -> Response {
    let mut response = match refusal(request.method(), request.headers(), &names) {
        Some((status, why)) => (status, why).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn refusal(method: &Method, headers: &HeaderMap, names: &[String]) -> Option<(StatusCode, &'static str)> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.filter(|host| is_ours(host, names)) else {
        let why = "This name is not the console's. Use the address of the machine, or add the name to http.names.\n";
        return Some((StatusCode::MISDIRECTED_REQUEST, why));
    };
    let changes = !matches!(*method, Method::GET | Method::HEAD);
    (changes && !is_from_here(headers, host)).then_some((
        StatusCode::FORBIDDEN,
        "The form was sent from a page of another site.\n",
    ))
}

/// Addresses, `localhost`, and the names that were given. A name that an attacker made to lead here is none of these.
fn is_ours(host: &str, names: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.trim_end_matches('.');
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

/// Browsers say where a form comes from. Programs that say nothing are held to the form's token all the same.
fn is_from_here(headers: &HeaderMap, host: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let origin = text("origin").is_none_or(|origin| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    });
    site && origin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, given: &[(&'static str, &str)], expected: Option<u16>) {
        let headers: HeaderMap = given
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value")))
            .collect();
        let refused = refusal(&method, &headers, &["broker.example".to_owned()]);
        assert_eq!(
            refused.map(|(status, _)| status.as_u16()),
            expected,
            "{method} {given:?}"
        );
    }

    #[test]
    fn names_that_lead_here_by_trick_are_refused() {
        for host in [
            "127.0.0.1:15672",
            "localhost",
            "[::1]:15672",
            "10.1.2.3",
            "BROKER.example:1",
            "broker.example.",
        ] {
            check(Method::GET, &[("host", host)], None);
        }
        for host in [
            "attacker.example",
            "localhost.attacker.example",
            "",
            "[evil]:1",
            "127.0.0.1.nip.example",
        ] {
            check(Method::GET, &[("host", host)], Some(421));
        }
        check(Method::GET, &[], Some(421));
    }

    #[test]
    fn forms_of_other_sites_are_refused() {
        let host = ("host", "localhost:15672");
        check(Method::POST, &[host], None);
        check(Method::POST, &[host, ("origin", "http://localhost:15672")], None);
        check(
            Method::POST,
            &[
                host,
                ("origin", "https://localhost:15672"),
                ("sec-fetch-site", "same-origin"),
            ],
            None,
        );
        check(
            Method::POST,
            &[host, ("origin", "http://localhost:8080")],
            Some(403),
        );
        check(Method::POST, &[host, ("origin", "null")], Some(403));
        check(Method::POST, &[host, ("sec-fetch-site", "cross-site")], Some(403));
        check(Method::POST, &[host, ("sec-fetch-site", "same-site")], Some(403));
        check(Method::GET, &[host, ("sec-fetch-site", "cross-site")], None);
    }
}
