//! Paths of the API: names are escaped, so that a slash or a space in one stays within its segment.

use std::fmt::Write as _;

/// `/api` with a segment for each part, escaped.
pub(crate) fn path(segments: &[&str]) -> String {
    let mut path = String::from("/api");
    for segment in segments {
        path.push('/');
        path.push_str(&escaped(segment));
    }
    path
}

/// Everything but the unreserved characters as `%xx`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_their_segment() {
        let check = |segments: &[&str], expected: &str| assert_eq!(path(segments), expected, "{segments:?}");
        check(&["overview"], "/api/overview");
        check(&["queues", "/", "a b/c"], "/api/queues/%2F/a%20b%2Fc");
        check(&["queues", "é", "..%"], "/api/queues/%C3%A9/..%25");
        check(&["exchanges", "/", ""], "/api/exchanges/%2F/");
    }
}
