//! Series as SVG: one picture a case, a panel for figures that have an axis in common, both axes logarithmic.
//!
//! ```text
//! 10 us |            /
//!  1 us |  ----------
//!       +------------------
//!         1   100   10,000
//! ```

use std::fmt::Write as _;

use super::Figures;
use super::plot::{COLOURS, text};
use super::results::{Measured, Results, unit};
use super::scale::{Axis, Panel, Point};
use super::target::OURS;
use crate::compare::table::Spread;

const PANEL_WIDTH: f64 = 400.0;
const HEIGHT: f64 = 330.0;
/// Of a panel: where its axes lie, and how long they are.
const LEFT: f64 = 70.0;
const TOP: f64 = 66.0;
const ACROSS: f64 = 300.0;
const UP: f64 = 210.0;
const KEY_EVERY: f64 = 16.0;

/// Every series that was measured: file name and content.
pub fn all(results: &Results) -> Vec<(String, String)> {
    let plot = |axis: &Axis| Some((format!("{}.svg", axis.name()), one(results, *axis)?));
    Axis::ALL.iter().filter_map(plot).collect()
}

fn one(results: &Results, axis: Axis) -> Option<String> {
    let points = medians(results, axis.name());
    let panels: Vec<_> = axis
        .panels()
        .iter()
        .filter_map(|panel| draw(panel, axis, &points))
        .collect();
    if panels.is_empty() {
        return None;
    }
    let width = PANEL_WIDTH * panels.len() as f64;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {HEIGHT:.0}" font-family="sans-serif" font-size="12" fill="#6b7683">
"##
    );
    let title = format!(
        "{}, commit {}, both axes logarithmic",
        axis.name(),
        results.commit
    );
    text(&mut svg, LEFT, 16.0, "start", &title);
    for (index, panel) in panels.iter().enumerate() {
        let _ = writeln!(
            svg,
            r#"<g transform="translate({:.0} 0)">"#,
            PANEL_WIDTH * index as f64
        );
        svg.push_str(panel);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// The middle of all rounds, point by point.
fn medians(results: &Results, case: &str) -> Vec<Point> {
    let ours = |run: &&Measured| run.case == case && run.broker == OURS;
    let rounds: Vec<&Measured> = results.measured.iter().filter(ours).collect();
    let Some(first) = rounds.first() else {
        return Vec::new();
    };
    let median = |at: f64, name: &str| {
        let points = rounds
            .iter()
            .flat_map(|run| &run.series)
            .filter(|point| point.at == at);
        Spread::of(points.filter_map(|point| point.figures.get(name).copied())).map(|spread| spread.median)
    };
    let point = |point: &Point| {
        let figures = point
            .figures
            .keys()
            .filter_map(|name| Some((name.clone(), median(point.at, name)?)));
        Point {
            at: point.at,
            figures: figures.collect::<Figures>(),
        }
    };
    first.series.iter().map(point).collect()
}

/// A logarithmic axis that covers its values in whole decades.
struct Scale {
    low: f64,
    high: f64,
    length: f64,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64>, length: f64) -> Option<Self> {
        let spread = Spread::of(values.filter(|&value| value > 0.0))?;
        let low = spread.min.log10().floor();
        let high = spread.max.log10().ceil().max(low + 1.0);
        Some(Self { low, high, length })
    }

    fn place(&self, value: f64) -> f64 {
        (value.log10() - self.low) / (self.high - self.low) * self.length
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|decade| 10_f64.powi(decade))
    }
}

fn draw(panel: &Panel, axis: Axis, points: &[Point]) -> Option<String> {
    let of = |name: &str| -> Vec<(f64, f64)> {
        let values = points
            .iter()
            .filter_map(|point| Some((point.at, *point.figures.get(name)?)));
        values.filter(|&(at, value)| at > 0.0 && value > 0.0).collect()
    };
    let lines: Vec<_> = panel
        .lines
        .iter()
        .map(|&(name, label)| (label, of(name)))
        .collect();
    let every = || lines.iter().flat_map(|(_, values)| values.iter().copied());
    let across = Scale::of(every().map(|(at, _)| at), ACROSS)?;
    let up = Scale::of(every().map(|(_, value)| value), UP)?;
    let mut svg = String::new();
    text(&mut svg, LEFT, 36.0, "start", panel.title);
    for at in across.decades() {
        let x = LEFT + across.place(at);
        rule(&mut svg, (x, TOP), (x, TOP + UP));
        text(&mut svg, x, TOP + UP + 16.0, "middle", &count(at));
    }
    for value in up.decades() {
        let y = TOP + UP - up.place(value);
        rule(&mut svg, (LEFT, y), (LEFT + ACROSS, y));
        text(
            &mut svg,
            LEFT - 6.0,
            y + 4.0,
            "end",
            &tick(panel.lines[0].0, value),
        );
    }
    text(
        &mut svg,
        LEFT + ACROSS / 2.0,
        TOP + UP + 34.0,
        "middle",
        axis.label(),
    );
    for (index, (label, values)) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let place = |&(at, value): &(f64, f64)| (LEFT + across.place(at), TOP + UP - up.place(value));
        let places: Vec<(f64, f64)> = values.iter().map(place).collect();
        curve(&mut svg, &places, colour);
        key(&mut svg, index, label, colour);
    }
    Some(svg)
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        r##"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="#9aa5b1" stroke-opacity="0.4"/>"##,
        from.0, from.1, to.0, to.1
    );
}

fn curve(svg: &mut String, places: &[(f64, f64)], colour: &str) {
    let list: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        svg,
        r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
        list.join(" ")
    );
    for (x, y) in places {
        let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#);
    }
}

/// What a line is, one below the other in the panel's upper left corner.
fn key(svg: &mut String, index: usize, label: &str, colour: &str) {
    let y = TOP + 14.0 + KEY_EVERY * index as f64;
    let _ = writeln!(
        svg,
        r#"<rect x="{:.1}" y="{:.1}" width="14" height="4" fill="{colour}"/>"#,
        LEFT + 8.0,
        y - 6.0
    );
    text(svg, LEFT + 28.0, y, "start", label);
}

/// A power of ten: `100`, `10k`, `1M`.
fn count(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{:.0}G", value / 1e9),
        value if value >= 1e6 => format!("{:.0}M", value / 1e6),
        value if value >= 1e3 => format!("{:.0}k", value / 1e3),
        value => format!("{value}"),
    }
}

/// A power of ten of a figure. Powers of two would lie crookedly on such an axis: bytes are counted in thousands.
fn tick(figure: &str, value: f64) -> String {
    match figure {
        figure if figure.ends_with("bytes_per_second") => format!("{}B/s", count(value)),
        figure if figure.contains("bytes") => format!("{}B", count(value)),
        figure if figure.ends_with("_per_second") => format!("{}/s", count(value)),
        figure => unit(figure, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::case::Case;

    /// Rounds of a series: queues, and microseconds a message.
    fn results(rounds: &[&[(f64, f64)]]) -> Results {
        let mut results = Results::new("test", 1.0);
        let case = Case::Scale(Axis::Queues);
        for (round, points) in (1..).zip(rounds) {
            let point = |&(at, cpu): &(f64, f64)| Point {
                at,
                figures: Figures::from([("cpu_us_per_message".to_owned(), cpu)]),
            };
            let mut measured = Measured::new(&case, OURS, round, Figures::new());
            measured.series = points.iter().map(point).collect();
            results.add(measured);
        }
        results
    }

    #[test]
    fn a_line_goes_through_the_middle_of_all_rounds() {
        let plots = all(&results(&[
            &[(1.0, 0.1), (100.0, 9.0)],
            &[(1.0, 0.1), (100.0, 10.0)],
            &[(1.0, 0.1), (100.0, 99.0)],
        ]));
        assert_eq!(plots.len(), 1);
        let (name, svg) = &plots[0];
        assert_eq!(name, "scale-queues.svg");
        let (left, right) = (LEFT, LEFT + ACROSS);
        let line = format!(r#"points="{left:.1},{:.1} {right:.1},{TOP:.1}""#, TOP + UP);
        assert!(svg.contains(&line), "{svg}");
        assert_eq!(
            svg.matches("<g ").count(),
            1,
            "figures that nobody measured have no panel: {svg}"
        );
    }

    #[test]
    fn without_points_there_is_no_picture() {
        assert_eq!(all(&results(&[])), []);
        assert_eq!(all(&results(&[&[]])), []);
    }

    #[test]
    fn ticks_are_short() {
        for (figure, value, text) in [
            ("cpu_us_per_message", 0.1, "0.100 us"),
            ("resident_bytes_max", 1e8, "100MB"),
            ("body_bytes_per_second", 1e9, "1GB/s"),
            ("w2_received_per_second", 1e4, "10k/s"),
        ] {
            assert_eq!(tick(figure, value), text);
        }
    }
}
