//! Plain values of policies, limits and topic permissions: how each is written, read and refused. What makes sense is the
//! catalog's to say.

use everack_broker::arguments::{Arguments, Value};
use everack_broker::catalog::{ApplyTo, TopicPermission};
use everack_broker::name::Name;
use toml::de::DeValue;

use super::setting::{expected, quoted};
use super::table::Scalar;

/// The most there may be of something; -1 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most(pub Option<u64>);

impl Scalar for Most {
    fn type_name() -> String {
        "whole number, or -1 for no limit".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        match signed(value) {
            Some(-1) => Ok(Self(None)),
            Some(number) => u64::try_from(number)
                .map(|number| Self(Some(number)))
                .map_err(|_| format!("must be -1 or more, not {number}")),
            None => Err(expected("a whole number, or -1 for no limit", value)),
        }
    }

    fn show(&self) -> String {
        self.0.map_or_else(|| "-1".to_owned(), |most| most.to_string())
    }
}

/// Which of several policies counts: the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority(pub i32);

impl Scalar for Priority {
    fn type_name() -> String {
        "whole number".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let number = signed(value).and_then(|number| i32::try_from(number).ok());
        number.map(Self).ok_or_else(|| expected("a whole number", value))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// What a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliesTo(pub ApplyTo);

impl Scalar for AppliesTo {
    fn type_name() -> String {
        "\"all\", \"queues\", \"classic_queues\", \"quorum_queues\", \"streams\", \"exchanges\"".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let text = value
            .as_str()
            .ok_or_else(|| expected("a word in quotes", value))?;
        let parsed = ApplyTo::parse(text).map(Self);
        parsed.map_err(|_| format!("must be one of {}, not {text:?}", <Self as Scalar>::type_name()))
    }

    fn show(&self) -> String {
        quoted(&self.0.to_string())
    }
}

/// What a policy sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySettings(pub Arguments);

impl Scalar for PolicySettings {
    fn type_name() -> String {
        "table of settings, such as { max-length = 1000, overflow = \"reject-publish\" }".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let DeValue::Table(entries) = value else {
            return Err(expected("a table of settings", value));
        };
        let mut settings = Vec::new();
        for (key, value) in entries.iter() {
            let name: &str = key.get_ref();
            let value = argument(value.get_ref())
                .ok_or_else(|| format!("has a setting {name:?} that is no text, whole number or boolean"))?;
            settings.push((name.to_owned(), value));
        }
        Ok(Self(
            settings
                .into_iter()
                .map(|(name, value)| (Name::new(name.as_bytes()), value))
                .collect(),
        ))
    }

    fn show(&self) -> String {
        let shown = |value: &Value| match value {
            Value::LongString(bytes) => quoted(&String::from_utf8_lossy(bytes)),
            Value::Bool(value) => value.to_string(),
            other => other.as_integer().unwrap_or_default().to_string(),
        };
        let entries = self
            .0
            .iter()
            .map(|(name, value)| format!("{name} = {}", shown(value)));
        format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
    }
}

/// A regular expression over routing keys, which may name the user and the vhost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPattern(pub String);

impl Scalar for TopicPattern {
    fn type_name() -> String {
        "regular expression; {username} and {vhost} stand for their names".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        let nobody = || Name::new(b"");
        match TopicPermission::new(nobody(), nobody(), nobody(), text.clone(), String::new()) {
            Ok(_) => Ok(Self(text)),
            Err(refusal) => Err(format!("cannot be used as a pattern: {}", refusal.text)),
        }
    }

    fn show(&self) -> String {
        quoted(&self.0)
    }
}

fn argument(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::from(text.as_ref())),
        DeValue::Boolean(value) => Some((*value).into()),
        other => signed(other).map(Value::Long),
    }
}

fn signed(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}
