//! The text that Prometheus reads, in the format that it asks for.
//!
//! | | text 0.0.4 | OpenMetrics 1.0.0 |
//! |---|---|---|
//! | a counter `x_total` is introduced as | `x_total` | `x` |
//! | no type | `untyped` | `unknown` |
//! | at the end | nothing | `# EOF` |
//!
//! Written here and not by `prometheus-client`, which writes OpenMetrics only and leaves label values as they are
//! (prometheus/client_rust#151): queues may have quotes and line ends in their names. The parsers of Prometheus' Python client read what is
//! written here in the tests.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use everack_broker::name::Name;

use super::metric::{Kind, Metric};
use crate::engine::disk_figures::Distribution;

/// Most bytes of a page. It takes a hundred thousand queues, each for itself, to have more.
const BYTES_MAX: usize = 128 << 20;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    OpenMetrics,
}

/// What distinguishes a number from others of its metric.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// See the module documentation.
pub(super) struct Page<'a> {
    text: String,
    format: Format,
    /// How high counters were: they must not fall, and their parts are not all looked at at the same moment.
    heights: Option<&'a mut HashMap<String, f64>>,
    full: bool,
}

/// One metric on a page.
pub(super) struct Family<'p, 'a> {
    page: &'p mut Page<'a>,
    name: String,
    kind: Kind,
}

impl Format {
    /// The one that an `Accept` header wants most; OpenMetrics if both are equally welcome, text if nothing is said.
    pub(super) fn wanted(accept: &str) -> Self {
        let quality = |wanted: &str| {
            let kinds = accept.split(',').filter_map(|kind| {
                let mut parts = kind.split(';').map(str::trim);
                let quality = |part: &str| part.strip_prefix("q=")?.parse::<f64>().ok();
                (parts.next() == Some(wanted)).then(|| parts.find_map(quality).unwrap_or(1.0))
            });
            kinds.fold(0.0, f64::max)
        };
        let open = quality("application/openmetrics-text");
        if open > 0.0 && open >= quality("text/plain") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl<'a> Page<'a> {
    pub(super) fn new(format: Format, heights: Option<&'a mut HashMap<String, f64>>) -> Self {
        Self {
            text: String::new(),
            format,
            heights,
            full: false,
        }
    }

    /// Introduces a metric.
    pub(super) fn family(&mut self, prefix: &str, metric: &Metric) -> Family<'_, 'a> {
        let name = format!("{prefix}{}", metric.name);
        let (shown, kind) = match (self.format, metric.kind) {
            (Format::OpenMetrics, Kind::Counter) => (name.trim_end_matches("_total"), "counter"),
            (Format::OpenMetrics, Kind::Untyped) => (name.as_str(), "unknown"),
            (_, kind) => (name.as_str(), kind.name()),
        };
        let help = metric.help;
        let _ = writeln!(self.text, "# TYPE {shown} {kind}\n# HELP {shown} {help}");
        Family {
            kind: metric.kind,
            page: self,
            name,
        }
    }

    /// The text; none if it would be too much.
    pub(super) fn finish(mut self) -> Option<String> {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        (!self.full).then_some(self.text)
    }
}

impl Family<'_, '_> {
    /// A number.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: f64) {
        let name = std::mem::take(&mut self.name);
        let rises = self.kind != Kind::Gauge;
        self.page.line(&name, labels, None, value, rises);
        self.name = name;
    }

    /// How often something was how large; so many of what was counted are one of the metric's unit.
    pub(super) fn histogram(&mut self, distribution: &Distribution, unit: f64) {
        let name = std::mem::take(&mut self.name);
        let bucket = format!("{name}_bucket");
        for (bound, count) in &distribution.below {
            let bound = format!("{:?}", *bound as f64 / unit);
            self.page.line(&bucket, &[], Some(&bound), *count as f64, false);
        }
        let (count, sum) = (distribution.count as f64, distribution.sum as f64 / unit);
        self.page.line(&bucket, &[], Some("+Inf"), count, false);
        self.page.line(&format!("{name}_count"), &[], None, count, false);
        self.page.line(&format!("{name}_sum"), &[], None, sum, false);
        self.name = name;
    }
}

impl Page<'_> {
    fn line(&mut self, name: &str, labels: Labels<'_>, bound: Option<&str>, value: f64, rises: bool) {
        if self.text.len() > BYTES_MAX {
            self.full = true;
            return;
        }
        let begin = self.text.len();
        self.text.push_str(name);
        let bound = bound.map(|bound| ("le", bound));
        for (index, (label, value)) in labels.iter().copied().chain(bound).enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{label}=\"{}\"", escaped(value));
        }
        if bound.is_some() || !labels.is_empty() {
            self.text.push('}');
        }
        let value = match &mut self.heights {
            Some(heights) if rises => height(heights, &self.text[begin..], value),
            _ => value,
        };
        let _ = if value.fract() == 0.0 && value.abs() < 9e15 {
            writeln!(self.text, " {}", value as i64)
        } else {
            writeln!(self.text, " {value}")
        };
    }
}

/// What it was at most.
fn height(heights: &mut HashMap<String, f64>, series: &str, value: f64) -> f64 {
    if let Some(height) = heights.get_mut(series) {
        *height = height.max(value);
        return *height;
    }
    heights.insert(series.to_owned(), value);
    value
}

/// As both formats have it within quotes.
fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(value);
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    Cow::Owned(escaped.replace('\n', "\\n"))
}

/// A name as the value of a label. Bytes that are not UTF-8 are shown as `\xff`, so that two names do not look the same.
pub(super) fn label(name: &Name) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(name.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut label = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        label.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(label, "\\x{byte:02x}");
        }
    }
    Cow::Owned(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTER: Metric = Metric {
        name: "seen_total",
        kind: Kind::Counter,
        help: "What was seen",
    };

    fn page(format: Format, labels: Labels<'_>, value: f64) -> String {
        let mut page = Page::new(format, None);
        page.family("my_", &COUNTER).sample(labels, value);
        page.finish().expect("it is short")
    }

    #[test]
    fn both_formats_are_spoken() {
        let text = "# TYPE my_seen_total counter\n# HELP my_seen_total What was seen\nmy_seen_total 5\n";
        assert_eq!(page(Format::Text, &[], 5.0), text);
        let open = "# TYPE my_seen counter\n# HELP my_seen What was seen\nmy_seen_total 0.25\n# EOF\n";
        assert_eq!(page(Format::OpenMetrics, &[], 0.25), open);
    }

    #[test]
    fn label_values_are_escaped() {
        let name = Name::from(&b"a\\b\"c\nd\xff\xc3\xa9"[..]);
        let text = page(Format::Text, &[("vhost", "/"), ("queue", &label(&name))], 1.0);
        let line = text.lines().last().expect("there is one");
        assert_eq!(line, r#"my_seen_total{vhost="/",queue="a\\b\"c\nd\\xffé"} 1"#);
    }

    #[test]
    fn counters_do_not_fall() {
        let mut heights = HashMap::new();
        let mut scrape = |value| {
            let mut page = Page::new(Format::Text, Some(&mut heights));
            page.family("", &COUNTER).sample(&[("kind", "x")], value);
            let text = page.finish().expect("it is short");
            text.lines().last().map(str::to_owned)
        };
        assert_eq!(scrape(5.0).as_deref(), Some("seen_total{kind=\"x\"} 5"));
        assert_eq!(scrape(4.0).as_deref(), Some("seen_total{kind=\"x\"} 5"));
        assert_eq!(scrape(6.0).as_deref(), Some("seen_total{kind=\"x\"} 6"));
    }

    #[test]
    fn the_welcome_format_is_chosen() {
        let check = |accept: &str, expected| assert_eq!(Format::wanted(accept), expected, "{accept}");
        check("", Format::Text);
        check("*/*", Format::Text);
        check("text/html", Format::Text);
        check("application/openmetrics-text", Format::OpenMetrics);
        check(
            "application/openmetrics-text; version=1.0.0,text/plain",
            Format::OpenMetrics,
        );
        check(
            "application/openmetrics-text;q=0.2,text/plain;q=0.5",
            Format::Text,
        );
        check("application/openmetrics-text;q=0", Format::Text);
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        check(prometheus, Format::OpenMetrics);
    }

    #[test]
    fn histograms_rise() {
        let metric = Metric {
            name: "took_seconds",
            kind: Kind::Histogram,
            help: "How long",
        };
        let distribution = Distribution {
            below: vec![(100, 2), (2_500, 3)],
            count: 4,
            sum: 7_300,
        };
        let mut page = Page::new(Format::OpenMetrics, None);
        page.family("", &metric).histogram(&distribution, 1e6);
        let text = page.finish().expect("it is short");
        let lines: Vec<&str> = text.lines().skip(2).collect();
        let expected = [
            "took_seconds_bucket{le=\"0.0001\"} 2",
            "took_seconds_bucket{le=\"0.0025\"} 3",
            "took_seconds_bucket{le=\"+Inf\"} 4",
            "took_seconds_count 4",
            "took_seconds_sum 0.0073",
            "# EOF",
        ];
        assert_eq!(lines, expected);
    }
}
