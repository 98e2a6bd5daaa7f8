//! What a request brings along: a JSON object within bounds, and its fields by type.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use everack_broker::arguments::Arguments;
use serde_json::{Map, Value};

use super::from_json;
use super::refusal::Refusal;

/// Most bytes of a body. What nests deeper than the parser's 128 levels is refused too.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;

/// How many values arguments may hold, those within others included; the same for clients of AMQP.
const ARGUMENT_VALUES_MAX: usize = 4096;

/// A JSON object; an empty one, where nothing was sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Body(Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|_| Refusal::TooLarge(BODY_BYTES_MAX))?;
        Self::parse(&bytes)
    }
}

impl From<Map<String, Value>> for Body {
    fn from(fields: Map<String, Value>) -> Self {
        Self(fields)
    }
}

impl Body {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(_) => Err(Refusal::bad("not_json")),
            Err(error) => Err(Refusal::Bad(format!("not_json: {error}"))),
        }
    }

    /// A field; none if it is missing or null.
    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// Refuses a body without these fields, in RabbitMQ's words. Null is there.
    pub(super) fn require(&self, fields: &[&str]) -> Result<(), Refusal> {
        self.require_with(fields, ",")
    }

    /// As [`Body::require`], where RabbitMQ prints one field a line.
    pub(super) fn require_by_line(&self, fields: &[&str]) -> Result<(), Refusal> {
        self.require_with(fields, ",\n ")
    }

    fn require_with(&self, fields: &[&str], between: &str) -> Result<(), Refusal> {
        let missing = fields.iter().filter(|field| !self.0.contains_key(**field));
        let missing: Vec<String> = missing.map(|field| format!("{{key_missing,{field}}}")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Refusal::Bad(format!("[{}]", missing.join(between))))
    }

    /// A whole number that is not negative, also in words as RabbitMQ takes them.
    pub(super) fn whole(&self, field: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let whole = match value {
            Value::String(text) => text.parse().ok(),
            value => value.as_u64(),
        };
        let given = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        whole
            .map(Some)
            .ok_or_else(|| Refusal::Value("not_integer", given()))
    }

    /// A text that has to be there.
    pub(super) fn required_text(&self, field: &str) -> Result<&str, Refusal> {
        self.require(&[field])?;
        self.text(field)?
            .ok_or_else(|| Refusal::Bad(format!("{field} is not a string")))
    }

    /// An object that has to be there.
    pub(super) fn required_object(&self, field: &str) -> Result<&Map<String, Value>, Refusal> {
        self.require(&[field])?;
        self.typed(field, "an object", Value::as_object)?
            .ok_or_else(|| Refusal::Bad(format!("{field} is not an object")))
    }

    /// Labels: a list of texts, or one text with commas between them.
    pub(super) fn words(&self, field: &str) -> Result<Option<Vec<String>>, Refusal> {
        self.typed(field, "a list of strings", |value| match value {
            Value::Array(words) => words.iter().map(|word| Some(word.as_str()?.to_owned())).collect(),
            Value::String(text) => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                Some(words.map(str::to_owned).collect())
            }
            _ => None,
        })
    }

    /// A text.
    pub(super) fn text(&self, field: &str) -> Result<Option<&str>, Refusal> {
        self.typed(field, "a string", Value::as_str)
    }

    /// A truth value, also in words as RabbitMQ takes them.
    pub(super) fn truth(&self, field: &str) -> Result<Option<bool>, Refusal> {
        self.typed(field, "a boolean", |value| match value {
            Value::Bool(truth) => Some(*truth),
            Value::String(word) => match word.as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            _ => None,
        })
    }

    /// `arguments`, an object; none at all, where it is missing.
    pub(super) fn arguments(&self) -> Result<Arguments, Refusal> {
        read_arguments(self.get("arguments"), "arguments")
    }

    fn typed<'a, T>(
        &'a self,
        field: &str,
        what: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        self.get(field)
            .map(|value| read(value).ok_or_else(|| Refusal::Bad(format!("{field} is not {what}"))))
            .transpose()
    }
}

/// An object as arguments; none at all, where it is missing.
pub(super) fn read_arguments(value: Option<&Value>, field: &str) -> Result<Arguments, Refusal> {
    match value {
        None => Ok(Arguments::default()),
        // Some clients have one type for empty lists and empty objects.
        Some(Value::Array(values)) if values.is_empty() => Ok(Arguments::default()),
        Some(Value::Object(object)) if values_in(object) <= ARGUMENT_VALUES_MAX => {
            Ok(from_json::arguments(object))
        }
        Some(Value::Object(_)) => Err(Refusal::Bad(format!(
            "{field}: more than {ARGUMENT_VALUES_MAX} values"
        ))),
        Some(_) => Err(Refusal::Bad(format!("{field} is not an object"))),
    }
}

fn values_in(object: &Map<String, Value>) -> usize {
    object.values().map(values_of).sum()
}

fn values_of(value: &Value) -> usize {
    1 + match value {
        Value::Object(object) => values_in(object),
        Value::Array(values) => values.iter().map(values_of).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Body {
        Body::parse(text.as_bytes()).expect("it is an object")
    }

    #[test]
    fn nothing_is_an_empty_object_and_what_is_no_object_is_refused() {
        for text in ["", " \n", "{}"] {
            assert_eq!(body(text), Body::default(), "{text:?}");
        }
        for text in ["[]", "1", "{", "nonsense", &"[".repeat(1000)] {
            assert!(Body::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn fields_have_types() {
        let body = body(r#"{"t": "x", "yes": true, "no": "false", "null": null, "n": 1}"#);
        assert_eq!(body.text("t"), Ok(Some("x")));
        assert_eq!(body.text("null"), Ok(None));
        assert_eq!(body.truth("yes"), Ok(Some(true)));
        assert_eq!(body.truth("no"), Ok(Some(false)));
        assert_eq!(body.truth("missing"), Ok(None));
        assert!(body.text("n").is_err());
        assert!(body.truth("t").is_err());
    }

    #[test]
    fn arguments_are_an_object() {
        let one: Arguments = [("x", 1i64.into())].into_iter().collect();
        assert_eq!(body(r#"{"arguments": {"x": 1}}"#).arguments(), Ok(one));
        assert_eq!(body(r#"{"arguments": []}"#).arguments(), Ok(Arguments::default()));
        assert_eq!(body("{}").arguments(), Ok(Arguments::default()));
        assert!(body(r#"{"arguments": [1]}"#).arguments().is_err());
        let many = format!(
            r#"{{"arguments": {{"x": [{}1]}}}}"#,
            "1,".repeat(ARGUMENT_VALUES_MAX)
        );
        assert!(body(&many).arguments().is_err());
    }
}
