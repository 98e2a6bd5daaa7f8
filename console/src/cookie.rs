//! Cookies: read, and made so that scripts cannot read them and other sites cannot send them.

use axum::http::{HeaderMap, HeaderValue, header};

/// The value of a cookie.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Cookies are for all ports of a host, and two brokers may run on one: the port is part of the name.
pub(crate) fn name(what: &str, headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let port = host.and_then(|host| host.rsplit_once(':')).map(|(_, port)| port);
    let port = port.filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    match port {
        Some(port) => format!("everack-{what}-{port}"),
        None => format!("everack-{what}"),
    }
}

/// What makes a browser keep a cookie for that long; it forgets it, if that is 0.
pub(crate) fn set(headers: &HeaderMap, name: &str, value: &str, seconds: u64) -> HeaderValue {
    let mut line = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}");
    // Only a proxy knows whether the browser's end is encrypted. Who lies about it hurts only itself.
    let proto = headers.get("x-forwarded-proto");
    if proto.is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https")) {
        line += "; Secure";
    }
    HeaderValue::from_str(&line).expect("names and values are digits and letters")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        [(name, value.parse().expect("a header"))].into_iter().collect()
    }

    #[test]
    fn cookies_are_found_by_name() {
        let headers = headers(header::COOKIE, "a=1; everack-x=2;b=; =3; c");
        let check = |name: &str, expected: Option<&str>| assert_eq!(find(&headers, name), expected, "{name}");
        check("a", Some("1"));
        check("everack-x", Some("2"));
        check("b", Some(""));
        check("c", None);
        check("x", None);
    }

    #[test]
    fn brokers_on_one_host_have_cookies_of_their_own() {
        let check = |host: &str, expected: &str| {
            assert_eq!(name("session", &headers(header::HOST, host)), expected, "{host}");
        };
        check("localhost:15672", "everack-session-15672");
        check("[::1]:1", "everack-session-1");
        check("broker.example", "everack-session");
        check("broker.example:", "everack-session");
        check("x:1;a=b", "everack-session");
    }

    #[test]
    fn cookies_are_kept_from_scripts_other_sites_and_open_lines() {
        let plain = HeaderMap::new();
        assert_eq!(
            set(&plain, "n", "v", 5),
            "n=v; Path=/; HttpOnly; SameSite=Strict; Max-Age=5"
        );
        let proxy = [(
            header::HeaderName::from_static("x-forwarded-proto"),
            HeaderValue::from_static("https"),
        )];
        let line = set(&proxy.into_iter().collect(), "n", "v", 5);
        assert!(line.as_bytes().ends_with(b"; Secure"));
    }
}
