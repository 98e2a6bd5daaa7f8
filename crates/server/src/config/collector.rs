//! The values that say where traces go, and of how many messages.

use axum::http::{HeaderName, HeaderValue, Uri};
use toml::de::DeValue;

use super::setting::{Words, expected, quoted};
use super::table::Scalar;

/// Where a collector listens; none for "".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Option<String>);

impl Endpoint {
    /// Its address, if there is one.
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl Scalar for Endpoint {
    fn type_name() -> String {
        "URL, or \"\" for none".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| expected("a URL in quotes", value))?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let uri: Option<Uri> = text.parse().ok();
        let sound = uri.is_some_and(|uri| {
            let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
            let user = uri.authority().is_some_and(|of| of.as_str().contains('@'));
            scheme && !user && uri.query().is_none() && uri.host().is_some_and(|host| !host.is_empty())
        });
        if sound {
            Ok(Self(Some(text.to_owned())))
        } else {
            Err(format!(
                "must be a URL such as \"http://127.0.0.1:4318\" or \"https://collector:4318/v1/traces\", without user and query, not {text:?}"
            ))
        }
    }

    fn show(&self) -> String {
        quoted(self.get().unwrap_or_default())
    }
}

/// A share of the whole, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(f64);

impl Share {
    /// 0 to 1.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Scalar for Share {
    fn type_name() -> String {
        "number, 0 to 1".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let text = match value {
            DeValue::Float(float) => float.as_str().to_owned(),
            DeValue::Integer(integer) => integer.to_string(),
            other => return Err(expected("a number from 0 to 1", other)),
        };
        match text.replace('_', "").parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            _ => Err(format!("must be a number from 0 to 1, not {text}")),
        }
    }

    fn show(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// Lines of HTTP headers, `Name: value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers(pub Vec<String>);

impl Scalar for Headers {
    fn type_name() -> String {
        "list of \"Name: value\"".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let Words(lines) = Words::from_value(value)?;
        let sound = |line: &String| {
            let parts = line.split_once(':');
            parts.is_some_and(|(name, value)| {
                name.trim().parse::<HeaderName>().is_ok() && value.trim().parse::<HeaderValue>().is_ok()
            })
        };
        // What is wrong is not repeated: it may be half a secret.
        match lines.iter().position(|line| !sound(line)) {
            None => Ok(Self(lines)),
            Some(at) => Err(format!(
                "must be lines such as \"Authorization: Bearer ...\"; number {} is not",
                at + 1
            )),
        }
    }

    fn show(&self) -> String {
        Words(self.0.clone()).show()
    }
}
