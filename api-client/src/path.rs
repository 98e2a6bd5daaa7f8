//! Paths of the API: names are escaped, so that a slash or a space in one stays within its segment.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the unreserved characters is escaped.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// `/api` with a segment for each part, escaped.
pub fn path(segments: &[&str]) -> String {
    let mut path = String::from("/api");
    for segment in segments {
        path.push('/');
        path.extend(utf8_percent_encode(segment, RESERVED));
    }
    path
}

/// One value behind the question mark, escaped.
pub fn escaped(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
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
