//! A document that a browser uploads: `multipart/form-data` (RFC 7578) with the file in a field of its own, as RabbitMQ's pages send it.

/// The field that the file is in.
const FILE: &str = "file";
/// The field that says where to go afterwards.
const REDIRECT: &str = "redirect";
/// Most fields that are looked at.
const FIELDS_MAX: usize = 16;

/// What was sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Form<'a> {
    /// The document.
    pub(super) file: Option<&'a [u8]>,
    /// Where to go afterwards.
    pub(super) redirect: Option<&'a str>,
}

/// The text between fields, if that content type is a form's.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let parameter = parameters.split(';').map(str::trim);
    let mut boundaries = parameter.filter_map(|parameter| parameter.strip_prefix("boundary="));
    boundaries.next().map(|boundary| boundary.trim_matches('"'))
}

impl<'a> Form<'a> {
    /// Reads what lies between boundaries. What makes no sense is no field.
    pub(super) fn parse(body: &'a [u8], boundary: &str) -> Self {
        let mut form = Self::default();
        let first = format!("--{boundary}");
        let next = format!("\r\n--{boundary}");
        let Some(start) = find(body, first.as_bytes()) else {
            return form;
        };
        let mut rest = &body[start + first.len()..];
        for _ in 0..FIELDS_MAX {
            // Behind the last boundary there are two dashes.
            let Some(field) = rest.strip_prefix(b"\r\n") else {
                break;
            };
            let Some(end) = find(field, next.as_bytes()) else {
                break;
            };
            form.take(&field[..end]);
            rest = &field[end + next.len()..];
        }
        form
    }

    fn take(&mut self, field: &'a [u8]) {
        let Some(middle) = find(field, b"\r\n\r\n") else {
            return;
        };
        let head = String::from_utf8_lossy(&field[..middle]);
        let value = &field[middle + 4..];
        // Not `filename`, which ends alike.
        let named = |name: &str| head.contains(&format!("; name=\"{name}\""));
        if named(FILE) {
            self.file = Some(value);
        } else if named(REDIRECT) {
            self.redirect = std::str::from_utf8(value).ok().map(str::trim);
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_in_the_content_type() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Some("abc"));
        assert_eq!(
            boundary("Multipart/Form-Data; charset=utf-8; boundary=\"a b\""),
            Some("a b")
        );
        assert_eq!(boundary("application/json"), None);
        assert_eq!(boundary("application/json; boundary=abc"), None);
        assert_eq!(boundary("multipart/form-data; x=y"), None);
    }

    #[track_caller]
    fn check(body: &str, file: Option<&str>, redirect: Option<&str>) {
        let form = Form::parse(body.as_bytes(), "XX");
        let expected = Form {
            file: file.map(str::as_bytes),
            redirect,
        };
        assert_eq!(form, expected, "{body:?}");
    }

    #[test]
    fn fields_lie_between_boundaries() {
        let file = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d.json\"\r\nContent-Type: application/json\r\n\r\n{\"a\": \"--X\"}\r\n--XX";
        check(&format!("{file}--\r\n"), Some("{\"a\": \"--X\"}"), None);
        let redirect =
            "\r\nContent-Disposition: form-data; name=\"redirect\"\r\n\r\n../#/import\r\n--XX--\r\n";
        check(
            &format!("{file}{redirect}"),
            Some("{\"a\": \"--X\"}"),
            Some("../#/import"),
        );
        check(
            &format!("preamble\r\n{file}{redirect}"),
            Some("{\"a\": \"--X\"}"),
            Some("../#/import"),
        );
        let empty = "--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n\r\n--XX--";
        check(empty, Some(""), None);
    }

    #[test]
    fn what_makes_no_sense_is_no_field() {
        for body in [
            "",
            "--XX",
            "--XX--",
            "--XX\r\n\r\n",
            "--XX\r\n; name=\"file\"\r\n--XX--",
            "nonsense",
            "--XX\r\n; name=\"file\"\r\n\r\nx",
        ] {
            check(body, None, None);
        }
    }
}
