//! Line charts as SVG, drawn here from the samples of the API: they work without a script, and a script only puts newer ones in their place.

use std::fmt::Write as _;

use maud::{Markup, html};
use serde_json::Value;

use super::format::field;

/// Units of the picture; it is stretched to the width that there is.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 140.0;

/// One line.
pub(crate) struct Series {
    pub(crate) label: &'static str,
    /// Milliseconds since 1970, and the value then; oldest first.
    points: Vec<(f64, f64)>,
    /// The value now, as it is shown in the legend.
    now: Option<f64>,
}

impl Series {
    /// The history of a length: `queue_totals.messages_ready` has it in `messages_ready_details.samples`.
    pub(crate) fn length(label: &'static str, value: &Value, path: &str) -> Self {
        Self {
            label,
            points: samples(value, path),
            now: field(value, path).as_f64(),
        }
    }

    /// The history of a rate, which is the slope of a counter's samples.
    pub(crate) fn rate(label: &'static str, value: &Value, path: &str) -> Self {
        let counts = samples(value, path);
        let slope = |pair: &[(f64, f64)]| {
            let seconds = (pair[1].0 - pair[0].0) / 1000.0;
            (pair[1].0, (pair[1].1 - pair[0].1).max(0.0) / seconds)
        };
        Self {
            label,
            points: counts.windows(2).map(slope).collect(),
            now: super::format::rate(value, path),
        }
    }
}

/// Newest first, as RabbitMQ has them; turned round. What is no number, or stands twice, is left out.
fn samples(value: &Value, path: &str) -> Vec<(f64, f64)> {
    let details = field(value, &format!("{path}_details"));
    let samples = details["samples"].as_array().map_or(&[][..], Vec::as_slice);
    let mut points: Vec<(f64, f64)> = samples
        .iter()
        .filter_map(|sample| Some((sample["timestamp"].as_f64()?, sample["sample"].as_f64()?)))
        .collect();
    points.sort_by(|left, right| left.0.total_cmp(&right.0));
    points.dedup_by(|left, right| left.0 == right.0);
    points
}

/// A chart of several lines. `show` writes a value for people.
pub(crate) fn chart(title: &str, series: &[Series], show: fn(f64) -> String) -> Markup {
    let points = || series.iter().flat_map(|series| &series.points);
    let (first, last) = points().fold((f64::MAX, f64::MIN), |(first, last), (time, _)| {
        (first.min(*time), last.max(*time))
    });
    let top = ceiling(points().map(|(_, value)| *value).fold(0.0, f64::max));
    let drawn = last > first;
    html! {
        figure class="chart" {
            figcaption { (title) }
            @if drawn {
                div class="plot" {
                    div class="scale" aria-hidden="true" { span { (show(top)) } span { (show(top / 2.0)) } span { (show(0.0)) } }
                    svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(spoken(title, series, show)) {
                        @for part in 0..3 {
                            @let y = HEIGHT * f64::from(part) / 2.0;
                            line class="grid" x1="0" x2=(WIDTH) y1=(y) y2=(y) {}
                        }
                        @for (index, series) in series.iter().enumerate() {
                            polyline class=(format!("line s{index}")) points=(polyline(&series.points, first, last, top)) {}
                        }
                    }
                    div class="times" aria-hidden="true" {
                        span { (super::format::duration((last - first) as u64)) " ago" } span { "now" }
                    }
                }
            } @else {
                div class="plot none" { p { "No history yet" } }
            }
            (legend(series, show))
        }
    }
}

fn legend(series: &[Series], show: fn(f64) -> String) -> Markup {
    html! {
        ul class="legend" {
            @for (index, series) in series.iter().enumerate() {
                li { span class=(format!("key s{index}")) aria-hidden="true" {} (series.label) " "
                    b { (series.now.map_or_else(|| "–".to_owned(), show)) } }
            }
        }
    }
}

fn polyline(points: &[(f64, f64)], first: f64, last: f64, top: f64) -> String {
    let mut text = String::with_capacity(points.len() * 12);
    for (time, value) in points {
        let x = (time - first) / (last - first) * WIDTH;
        let y = HEIGHT - value / top * HEIGHT;
        let _ = write!(text, "{x:.1},{y:.1} ");
    }
    text.truncate(text.trim_end().len());
    text
}

/// For who does not see it.
fn spoken(title: &str, series: &[Series], show: fn(f64) -> String) -> String {
    let mut text = title.to_owned();
    for (index, series) in series.iter().enumerate() {
        let values = series.points.iter().map(|(_, value)| *value);
        let most = show(values.fold(0.0, f64::max));
        let now = series.now.map_or_else(|| "unknown".to_owned(), show);
        let sign = if index == 0 { ':' } else { ';' };
        let _ = write!(text, "{sign} {} now {now}, at most {most}", series.label);
    }
    text
}

/// The smallest of 1, 2, 5, 10, 20, … that is not below; 1 at least.
fn ceiling(value: f64) -> f64 {
    let mut unit = 1.0;
    loop {
        for step in [1.0, 2.0, 5.0] {
            if value <= step * unit {
                return step * unit;
            }
        }
        unit *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::look::format::per_second;

    fn history() -> Value {
        json!({ "publish": 70, "publish_details": { "rate": 4.0, "samples": [
            { "timestamp": 15_000, "sample": 70 },
            { "timestamp": 10_000, "sample": 50 },
            { "timestamp": 5_000, "sample": 0 },
            { "timestamp": "soon", "sample": 0 },
            { "timestamp": 5_000, "sample": 1 },
        ] } })
    }

    #[test]
    fn rates_are_slopes_and_lengths_are_as_they_are() {
        let rate = Series::rate("publish", &history(), "publish");
        assert_eq!(rate.points, [(10_000.0, 10.0), (15_000.0, 4.0)]);
        assert_eq!(rate.now, Some(4.0));
        let length = Series::length("messages", &history(), "publish");
        assert_eq!(
            length.points,
            [(5_000.0, 0.0), (10_000.0, 50.0), (15_000.0, 70.0)]
        );
        assert_eq!(length.now, Some(70.0));
        assert!(Series::rate("x", &Value::Null, "a.b").points.is_empty());
    }

    #[test]
    fn scales_end_at_round_numbers() {
        for (value, expected) in [
            (0.0, 1.0),
            (1.0, 1.0),
            (1.1, 2.0),
            (3.0, 5.0),
            (70.0, 100.0),
            (1e9, 1e9),
        ] {
            assert_eq!(ceiling(value), expected);
        }
    }

    #[test]
    fn a_chart_is_drawn_and_told() {
        let drawn = chart(
            "Rates",
            &[Series::rate("publish", &history(), "publish")],
            per_second,
        )
        .into_string();
        assert!(drawn.contains(r#"points="0.0,0.0 600.0,84.0""#), "{drawn}");
        assert!(
            drawn.contains("Rates: publish now 4.0/s, at most 10/s"),
            "{drawn}"
        );
        let empty = chart(
            "Rates",
            &[Series::rate("publish", &Value::Null, "publish")],
            per_second,
        );
        assert!(empty.into_string().contains("No history yet"));
    }
}
