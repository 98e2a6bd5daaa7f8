//! Bars as SVG: one picture a figure, a group of bars a case, on a logarithmic axis, as brokers differ by a hundred times.
//!
//! ```text
//! case   |######## everack 0.074 us
//!        |###################################### rabbitmq 10.8 us
//! ```

use std::fmt::Write as _;

use super::results::{Results, brokers, unit};

/// File name, figure, title.
const PLOTS: [(&str, &str, &str); 3] = [
    (
        "cpu.svg",
        "cpu_us_per_message",
        "Broker CPU a message (less is better)",
    ),
    (
        "rate.svg",
        "received_per_second",
        "Messages received a second (more is better)",
    ),
    (
        "memory.svg",
        "resident_bytes_max",
        "Most resident memory (less is better)",
    ),
];
const LEFT: f64 = 110.0;
const WIDTH: f64 = 860.0;
const BARS: f64 = 560.0;
const BAR: f64 = 14.0;
const TOP: f64 = 56.0;
/// Readable on white and on black, and told apart without colours by the text behind each bar.
pub(super) const COLOURS: [&str; 4] = ["#2f81d8", "#d9822b", "#7a8794", "#3a9e5c"];

struct Bar<'a> {
    case: &'a str,
    broker: usize,
    value: f64,
}

/// Every picture that there are figures for: file name and content.
pub fn all(results: &Results) -> Vec<(String, String)> {
    let plot =
        |&(file, figure, title): &(&str, &str, &str)| Some((file.to_owned(), one(results, figure, title)?));
    PLOTS.iter().filter_map(plot).collect()
}

fn one(results: &Results, figure: &str, title: &str) -> Option<String> {
    let brokers = brokers(results);
    let bars = bars(results, &brokers, figure);
    let least = bars.iter().map(|bar| bar.value).fold(f64::INFINITY, f64::min);
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    if bars.is_empty() || least <= 0.0 {
        return None;
    }
    let (low, high) = (
        least.log10().floor(),
        most.log10().ceil().max(least.log10().floor() + 1.0),
    );
    let length = |value: f64| (value.log10() - low) / (high - low) * BARS;
    let mut svg = head(bars.len(), title, &results.commit);
    for decade in low as i32..=high as i32 {
        axis(
            &mut svg,
            LEFT + length(10_f64.powi(decade)),
            bars.len(),
            &unit(figure, 10_f64.powi(decade)),
        );
    }
    for (row, bar) in bars.iter().enumerate() {
        let y = TOP + row as f64 * (BAR + 4.0);
        if row == 0 || bars[row - 1].case != bar.case {
            text(&mut svg, LEFT - 8.0, y + BAR - 3.0, "end", bar.case);
        }
        let (width, colour) = (length(bar.value).max(1.0), COLOURS[bar.broker % COLOURS.len()]);
        let _ = writeln!(
            svg,
            r#"<rect x="{LEFT}" y="{y:.1}" width="{width:.1}" height="{BAR}" fill="{colour}"/>"#
        );
        let label = format!("{} {}", brokers[bar.broker], unit(figure, bar.value));
        text(&mut svg, LEFT + width + 6.0, y + BAR - 3.0, "start", &label);
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn bars<'a>(results: &'a Results, brokers: &[&str], figure: &str) -> Vec<Bar<'a>> {
    let mut bars: Vec<Bar<'a>> = Vec::new();
    for run in results.measured.iter().filter(|run| run.series.is_empty()) {
        let Some(broker) = brokers.iter().position(|broker| *broker == run.broker) else {
            continue;
        };
        if bars
            .iter()
            .any(|bar| bar.case == run.case && bar.broker == broker)
        {
            continue;
        }
        if let Some(spread) = results.spread(&run.case, &run.broker, figure) {
            bars.push(Bar {
                case: &run.case,
                broker,
                value: spread.median,
            });
        }
    }
    bars
}

fn head(bars: usize, title: &str, commit: &str) -> String {
    let height = TOP + bars as f64 * (BAR + 4.0) + 16.0;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" font-family="sans-serif" font-size="12" fill="#6b7683">
"##
    );
    text(
        &mut svg,
        LEFT,
        18.0,
        "start",
        &format!("{title}, commit {commit}, logarithmic"),
    );
    svg
}

fn axis(svg: &mut String, x: f64, bars: usize, label: &str) {
    let bottom = TOP + bars as f64 * (BAR + 4.0);
    let _ = writeln!(
        svg,
        r##"<line x1="{x:.1}" y1="{:.1}" x2="{x:.1}" y2="{bottom:.1}" stroke="#9aa5b1" stroke-opacity="0.4"/>"##,
        TOP - 8.0
    );
    text(svg, x, TOP - 14.0, "middle", label);
}

/// Words at a place.
pub(super) fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Figures;
    use crate::suite::case::Case;
    use crate::suite::results::Measured;

    #[test]
    fn ten_times_as_much_is_one_decade_longer() {
        let mut results = Results::new("a<b", 1.0);
        let case: Case = "w1a".parse().expect("w1a is known");
        for (broker, cpu) in [("everack", 0.1), ("rabbitmq", 10.0)] {
            let figures = Figures::from([("cpu_us_per_message".to_owned(), cpu)]);
            results.add(Measured::new(&case, broker, 1, figures));
        }
        let plots = all(&results);
        assert_eq!(plots.len(), 1);
        let (name, svg) = &plots[0];
        assert_eq!(name, "cpu.svg");
        assert!(svg.contains("a&lt;b"), "{svg}");
        assert!(
            svg.contains(r#"width="1.0""#),
            "the least lies at the axis: {svg}"
        );
        assert!(svg.contains(&format!(r#"width="{BARS:.1}""#)), "{svg}");
    }
}
