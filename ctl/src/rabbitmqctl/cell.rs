//! Values as RabbitMQ's tools print them: Erlang terms, in five formats.

use serde_json::{Map, Value};

/// A value in a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    /// Text, a number, a flag; null for what is not known.
    Plain(Value),
    /// Tags: words in square brackets.
    Words(Vec<String>),
    /// Arguments of a queue, an exchange, a binding or a consumer. The API does not tell their types, so these are the usual ones.
    Arguments(Map<String, Value>),
    /// A definition or a value, which RabbitMQ holds as text of JSON.
    Json(Value),
}

impl Cell {
    pub(super) fn text(text: &str) -> Self {
        Self::Plain(Value::String(text.to_owned()))
    }

    /// As in the table.
    pub(super) fn table(&self) -> String {
        match self {
            Self::Plain(value) => plain(value),
            Self::Words(words) => format!("[{}]", words.join(", ")),
            Self::Arguments(arguments) => {
                let pair = |(key, value): (&String, &Value)| format!("{{{key:?},{}}}", inspected(value));
                format!("[{}]", arguments.iter().map(pair).collect::<Vec<_>>().join(","))
            }
            Self::Json(value) => value.to_string(),
        }
    }

    /// As JSON.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Plain(Value::Null) => Value::String(String::new()),
            Self::Plain(value) => value.clone(),
            Self::Words(words) => words.iter().cloned().map(Value::String).collect(),
            Self::Arguments(arguments) => arguments.iter().map(|(key, value)| typed(key, value)).collect(),
            Self::Json(value) => Value::String(value.to_string()),
        }
    }

    /// As a field of comma-separated values.
    pub(super) fn csv(&self) -> String {
        format!("\"{}\"", self.table().replace('"', "\"\""))
    }

    /// As in the table with lines around it.
    pub(super) fn pretty(&self) -> String {
        match self {
            Self::Words(words) => words.join(", "),
            Self::Arguments(arguments) => {
                let tuple = |(key, value): (&String, &Value)| erlang_argument(key, value);
                arguments.iter().map(tuple).collect::<Vec<_>>().join("\n")
            }
            // A table has no room for a tab.
            other => other.table().replace('\t', " "),
        }
    }

    /// As an Erlang term.
    pub(super) fn erlang(&self) -> String {
        match self {
            Self::Plain(Value::Null) => "''".to_owned(),
            Self::Plain(Value::String(text)) if text.is_empty() => "''".to_owned(),
            Self::Plain(Value::String(text)) => binary(text),
            Self::Plain(other) => plain(other),
            Self::Words(words) => format!("[{}]", words.join(",")),
            Self::Arguments(arguments) => {
                let tuple = |(key, value): (&String, &Value)| erlang_argument(key, value);
                format!("[{}]", arguments.iter().map(tuple).collect::<Vec<_>>().join(","))
            }
            Self::Json(value) => binary(&value.to_string()),
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => format!("[{}]", values.iter().map(plain).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// As Elixir shows a term within another.
fn inspected(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(values) => format!("[{}]", values.iter().map(inspected).collect::<Vec<_>>().join(",")),
        Value::Object(object) => {
            let pair = |(key, value): (&String, &Value)| format!("{{{key:?},{}}}", inspected(value));
            format!("[{}]", object.iter().map(pair).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

/// AMQP's type of a value, as RabbitMQ would most likely have it.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "void",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "double",
        Value::Number(_) => "long",
        Value::String(_) => "longstr",
        Value::Array(_) => "array",
        Value::Object(_) => "table",
    }
}

fn typed(key: &str, value: &Value) -> Value {
    Value::Array(vec![key.into(), kind(value).into(), value.clone()])
}

fn erlang_argument(key: &str, value: &Value) -> String {
    format!("{{{},{},{}}}", binary(key), kind(value), erlang(value))
}

fn erlang(value: &Value) -> String {
    match value {
        Value::Null => "undefined".to_owned(),
        Value::String(text) => binary(text),
        Value::Array(values) => format!("[{}]", values.iter().map(erlang).collect::<Vec<_>>().join(",")),
        Value::Object(object) => {
            let tuple = |(key, value): (&String, &Value)| erlang_argument(key, value);
            format!("[{}]", object.iter().map(tuple).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

/// A binary, whose bytes are shown as Latin-1, as Erlang does.
fn binary(text: &str) -> String {
    let bytes: String = text.bytes().map(char::from).collect();
    let escaped = bytes.replace('\\', "\\\\").replace('"', "\\\"");
    let escaped = escaped
        .replace('\t', "\\t")
        .replace('\n', "\\n")
        .replace('\r', "\\r");
    format!("<<\"{escaped}\">>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What RabbitMQ 3.10.8 printed.
    #[test]
    fn five_formats() {
        let check = |cell: Cell, expected: [&str; 5]| {
            let seen = [
                cell.table(),
                cell.json().to_string(),
                cell.csv(),
                cell.pretty(),
                cell.erlang(),
            ];
            assert_eq!(seen, expected);
        };
        check(
            Cell::text("ttl"),
            ["ttl", "\"ttl\"", "\"ttl\"", "ttl", "<<\"ttl\">>"],
        );
        check(Cell::Plain(Value::Null), ["", "\"\"", "\"\"", "", "''"]);
        check(Cell::Plain(json!(7)), ["7", "7", "\"7\"", "7", "7"]);
        check(
            Cell::Plain(json!(true)),
            ["true", "true", "\"true\"", "true", "true"],
        );
        let tags = ["management".to_owned(), "monitoring".to_owned()];
        check(
            Cell::Words(tags.to_vec()),
            [
                "[management, monitoring]",
                r#"["management","monitoring"]"#,
                "\"[management, monitoring]\"",
                "management, monitoring",
                "[management,monitoring]",
            ],
        );
        let Value::Object(arguments) = json!({"x": 1, "y": "z"}) else {
            unreachable!()
        };
        check(
            Cell::Arguments(arguments),
            [
                r#"[{"x",1},{"y","z"}]"#,
                r#"[["x","long",1],["y","longstr","z"]]"#,
                r#""[{""x"",1},{""y"",""z""}]""#,
                "{<<\"x\">>,long,1}\n{<<\"y\">>,longstr,<<\"z\">>}",
                "[{<<\"x\">>,long,1},{<<\"y\">>,longstr,<<\"z\">>}]",
            ],
        );
        check(
            Cell::Json(json!({"message-ttl": 60000})),
            [
                r#"{"message-ttl":60000}"#,
                r#""{\"message-ttl\":60000}""#,
                r#""{""message-ttl"":60000}""#,
                r#"{"message-ttl":60000}"#,
                r#"<<"{\"message-ttl\":60000}">>"#,
            ],
        );
    }
}
