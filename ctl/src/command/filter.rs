//! Which messages are meant: by what they carry. Paths of Everack's own search by it, and orders are narrowed by it.

use clap::Args;
use everack_api_client::escaped;
use serde_json::{Map, Value, json};

/// What a message has to carry; all that is said has to be so.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Filter {
    /// Only with this message id.
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// Only with this correlation id.
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Only what was published to this exchange.
    #[arg(long, value_name = "NAME")]
    exchange: Option<String>,
    /// Only with this routing key.
    #[arg(long, value_name = "KEY")]
    routing_key: Option<String>,
    /// Only with this header, as `customer=4711`; may be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Only with this text somewhere in the body.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    if name.is_empty() || name.contains(':') {
        return Err("this is no name of a header that can be searched for".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

impl Filter {
    /// The names that the API has for texts, and what was said.
    fn texts(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let texts = [
            ("message_id", &self.message_id),
            ("correlation_id", &self.correlation_id),
            ("exchange", &self.exchange),
            ("routing_key", &self.routing_key),
            ("text", &self.text),
        ];
        texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.as_ref()?)))
    }

    /// Whether everything fits.
    pub(super) fn is_open(&self) -> bool {
        self.texts().next().is_none() && self.headers.is_empty()
    }

    /// As it stands behind the question mark of a list, with `&` in front.
    pub(super) fn query(&self) -> String {
        let texts = self
            .texts()
            .map(|(name, text)| format!("&{name}={}", escaped(text)));
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| format!("&header={}", escaped(&format!("{name}:{value}"))));
        texts.chain(headers).collect()
    }

    /// As an order has it; none if everything fits.
    pub(super) fn json(&self) -> Option<Value> {
        let texts = self.texts().map(|(name, text)| (name.to_owned(), json!(text)));
        let mut filter: Map<String, Value> = texts.collect();
        if !self.headers.is_empty() {
            let headers = self
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), json!(value)));
            filter.insert("headers".to_owned(), Value::Object(headers.collect()));
        }
        (!filter.is_empty()).then_some(Value::Object(filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        filter: Filter,
    }

    #[test]
    fn what_is_said_is_asked_for() {
        let check = |line: &str, query: &str, order: Option<Value>| {
            let words = line.split(' ').filter(|word| !word.is_empty());
            let filter = Line::parse_from(std::iter::once("x").chain(words)).filter;
            assert_eq!(
                (filter.query().as_str(), filter.json()),
                (query, order.clone()),
                "{line}"
            );
            assert_eq!(filter.is_open(), order.is_none(), "{line}");
        };
        check("", "", None);
        check("--text a&b", "&text=a%26b", Some(json!({"text": "a&b"})));
        check(
            "--header k=1 --header l=x=y --routing-key orders",
            "&routing_key=orders&header=k%3A1&header=l%3Ax%3Dy",
            Some(json!({"routing_key": "orders", "headers": {"k": "1", "l": "x=y"}})),
        );
        assert!(Line::try_parse_from(["x", "--header", "k"]).is_err());
        assert!(Line::try_parse_from(["x", "--header", "=v"]).is_err());
    }
}
