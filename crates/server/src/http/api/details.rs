//! Rates and history in answers: `NAME_details` beside `NAME`, as RabbitMQ has them.
//!
//! | parameter | what |
//! |---|---|
//! | `lengths_age=60&lengths_incr=5` | samples of the last minute, five seconds apart, of what lies in queues |
//! | `msg_rates_age`, `msg_rates_incr` | the same of what was published, delivered, acknowledged, ... |
//! | `data_rates_age`, `data_rates_incr` | of bytes over sockets |
//! | `node_stats_age`, `node_stats_incr` | of the node |
//! | `disable_stats=true` | queues and overview without figures; with `enable_queue_totals=true` with lengths only |

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::http::refusal::Refusal;
use crate::http::rows::Purpose;
use crate::statistics::range::Range;
use crate::statistics::track::Look;

/// What a request wants of the history.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ranges {
    pub(super) lengths: Option<Range>,
    pub(super) msg_rates: Option<Range>,
    pub(super) data_rates: Option<Range>,
    pub(super) node_stats: Option<Range>,
    pub(super) disable_stats: bool,
    pub(super) enable_queue_totals: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Parameters {
    lengths_age: Option<String>,
    lengths_incr: Option<String>,
    msg_rates_age: Option<String>,
    msg_rates_incr: Option<String>,
    data_rates_age: Option<String>,
    data_rates_incr: Option<String>,
    node_stats_age: Option<String>,
    node_stats_incr: Option<String>,
    disable_stats: Option<String>,
    enable_queue_totals: Option<String>,
}

impl Ranges {
    /// What of it is needed for a purpose.
    pub(super) fn for_purpose(self, purpose: Purpose<'_>) -> Self {
        match purpose {
            Purpose::Shown => self,
            Purpose::Sorted(_) => Self {
                disable_stats: self.disable_stats,
                enable_queue_totals: self.enable_queue_totals,
                ..Self::default()
            },
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Ranges {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let read = Query::<Parameters>::try_from_uri(&parts.uri);
        let Query(given) = read.map_err(|error| Refusal::Bad(error.to_string()))?;
        let range = |age: &Option<String>, incr: &Option<String>| Range::of(age.as_deref(), incr.as_deref());
        let truth = |given: &Option<String>| given.as_deref() == Some("true");
        Ok(Self {
            lengths: range(&given.lengths_age, &given.lengths_incr),
            msg_rates: range(&given.msg_rates_age, &given.msg_rates_incr),
            data_rates: range(&given.data_rates_age, &given.data_rates_incr),
            node_stats: range(&given.node_stats_age, &given.node_stats_incr),
            disable_stats: truth(&given.disable_stats),
            enable_queue_totals: truth(&given.enable_queue_totals),
        })
    }
}

/// Puts the details of `names` into an object; they are the numbers of the look from `from` on.
pub(super) fn add(shown: &mut Value, names: &[&str], look: &Look, from: usize) {
    let Value::Object(shown) = shown else {
        return;
    };
    for (index, name) in names.iter().enumerate() {
        shown.insert(format!("{name}_details"), of(look, from + index));
    }
}

/// An object of figures, with their details.
pub(super) fn figures(names: &[&str], numbers: &[u64], look: &Look, from: usize) -> Value {
    let named = names.iter().zip(numbers);
    let figures: Map<String, Value> = named
        .map(|(name, number)| ((*name).to_owned(), (*number).into()))
        .collect();
    let mut shown = Value::Object(figures);
    add(&mut shown, names, look, from);
    shown
}

fn of(look: &Look, index: usize) -> Value {
    let rate = look.rates[index];
    let Some(samples) = &look.samples else {
        return json!({ "rate": rate });
    };
    let (avg_rate, avg) = look.averages(index);
    let samples: Vec<Value> = samples
        .iter()
        .map(|sample| json!({ "sample": sample.row[index], "timestamp": sample.at_ms }))
        .collect();
    json!({ "rate": rate, "samples": samples, "avg_rate": avg_rate, "avg": avg })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::track::Sample;

    #[test]
    fn details_are_rabbitmqs() {
        let sample = |at_ms, number| Sample {
            at_ms,
            row: vec![0, number],
        };
        let look = Look {
            rates: vec![0.0, 2.5],
            samples: Some(vec![sample(10_000, 30), sample(5_000, 20)]),
        };
        let shown = figures(&["messages"], &[30], &look, 1);
        let expected = json!({
            "messages": 30,
            "messages_details": {
                "rate": 2.5, "avg_rate": 2.0, "avg": 25.0,
                "samples": [{ "sample": 30, "timestamp": 10_000 }, { "sample": 20, "timestamp": 5_000 }],
            },
        });
        assert_eq!(shown, expected);
        let look = Look {
            samples: None,
            ..look
        };
        let shown = figures(&["messages"], &[30], &look, 1);
        assert_eq!(
            shown,
            json!({ "messages": 30, "messages_details": { "rate": 2.5 } })
        );
    }

    #[tokio::test]
    async fn parameters_are_read_as_rabbitmq_reads_them() {
        let read = async |query: &str| {
            let request = axum::http::Request::builder().uri(format!("/api/queues?{query}"));
            let (mut parts, ()) = request.body(()).expect("it is one").into_parts();
            Ranges::from_request_parts(&mut parts, &()).await.expect("read")
        };
        let ranges = read("lengths_age=60&lengths_incr=5&disable_stats=true&sort=name").await;
        assert_eq!(ranges.lengths, Range::of(Some("60"), Some("5")));
        assert_eq!((ranges.msg_rates, ranges.disable_stats), (None, true));
        assert!(!ranges.enable_queue_totals);
        let ranges = read("msg_rates_age=x&msg_rates_incr=5&disable_stats=1").await;
        assert_eq!((ranges.msg_rates, ranges.disable_stats), (None, false));
    }
}
