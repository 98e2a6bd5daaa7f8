//! The timeline as a picture: rates, backlog and restart times over one axis of time, with the faults through all of them.
//!
//! An SVG with its own style, which follows the reader's choice of light or dark. No script.

use super::timeline::{Slice, Strike, Timeline};
use crate::faults::Fault;
use std::fmt::Write;

const WIDTH: f64 = 1040.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 1024.0;
const HEIGHT: f64 = 440.0;
/// Top and bottom of each panel.
const RATES: (f64, f64) = (40.0, 220.0);
const BACKLOG: (f64, f64) = (250.0, 320.0);
const RESTARTS: (f64, f64) = (350.0, 404.0);

const STYLE: &str = "
.p{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:var(--ink,#1d2330)}
.p .dim{fill:var(--dim,#667085)} .p .title{font-weight:600}
.p .grid{stroke:var(--line,#e3e7ee);stroke-width:1} .p .axis{stroke:var(--dim,#98a2b3);stroke-width:1}
.p .confirm{fill:#2f6fed;fill-opacity:.22;stroke:#2f6fed;stroke-width:1.5;stroke-linejoin:round}
.p .deliver{fill:none;stroke:#12936f;stroke-width:1.25;stroke-linejoin:round}
.p .backlog{fill:#8a63d2;fill-opacity:.25;stroke:#8a63d2;stroke-width:1.25}
.p .down{fill:#d64545;fill-opacity:.16} .p .paused{fill:#d98a1f;fill-opacity:.2} .p .drain{fill:#98a2b3;fill-opacity:.12}
.p .kill9{stroke:#d64545;fill:#d64545} .p .between{stroke:#a3235f;fill:#a3235f} .p .term{stroke:#6b7688;fill:#6b7688}
.p .pause{stroke:#d98a1f;fill:#d98a1f} .p .death{stroke:#000;fill:#000} .p .strike{stroke-width:1;stroke-opacity:.55}
@media (prefers-color-scheme:dark){.p{fill:var(--ink,#e6e9ef)} .p .dim{fill:var(--dim,#98a2b3)} .p .grid{stroke:var(--line,#2a3140)}
.p .confirm{stroke:#6b9bff;fill:#6b9bff} .p .deliver{stroke:#3ecf9f} .p .backlog{stroke:#b08cf0;fill:#b08cf0} .p .death{stroke:#fff;fill:#fff}
.p .kill9{stroke:#ff7a7a;fill:#ff7a7a} .p .between{stroke:#f06ab0;fill:#f06ab0} .p .down{fill:#ff7a7a}}
";

/// Draws a run.
pub(super) fn draw(timeline: &Timeline) -> String {
    let picture = Picture {
        timeline,
        seconds: (timeline.end.max(1) as f64) / 1e6,
        out: String::new(),
    };
    picture.draw()
}

struct Picture<'a> {
    timeline: &'a Timeline,
    seconds: f64,
    out: String,
}

impl Picture<'_> {
    fn draw(mut self) -> String {
        let title =
            "Confirms and deliveries a second, backlog, and restart times over the run, with the faults";
        self.put(&format!(
            "<svg class=\"p\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"100%\" role=\"img\" aria-label=\"{title}\"><style>{STYLE}</style>"
        ));
        self.bands();
        self.rates();
        self.backlog();
        self.restarts();
        self.strikes();
        self.time_axis();
        self.put("</svg>");
        self.out
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn x(&self, micros: u64) -> f64 {
        LEFT + (RIGHT - LEFT) * (micros as f64 / 1e6 / self.seconds).min(1.0)
    }

    /// Where nobody answered, and where only the drain was.
    fn bands(&mut self) {
        let (top, bottom) = (RATES.0, RESTARTS.1);
        if let Some(draining) = self.timeline.draining {
            self.band(draining, self.timeline.end, (top, bottom), "drain", "drain");
        }
        for strike in &self.timeline.strikes {
            let back = strike.back.unwrap_or(self.timeline.end);
            let class = match strike.fault {
                Some(Fault::Pause(_)) => "paused",
                _ => "down",
            };
            self.band(strike.at, back, (top, bottom), class, &tell(strike));
        }
    }

    fn band(&mut self, from: u64, to: u64, (top, bottom): (f64, f64), class: &str, title: &str) {
        let (left, right) = (self.x(from), self.x(to));
        let (width, height) = ((right - left).max(0.6), bottom - top);
        self.put(&format!(
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\"><title>{title}</title></rect>"
        ));
    }

    fn rates(&mut self) {
        let seconds = self.timeline.width as f64 / 1e6;
        let rate = |count: u64| count as f64 / seconds;
        let confirmed: Vec<f64> = self.slices(|slice| rate(slice.confirmed));
        let delivered: Vec<f64> = self.slices(|slice| rate(slice.delivered));
        // A drain without publishers is faster than anything else, and would press the rest to the ground.
        let loaded = self
            .timeline
            .draining
            .map_or(usize::MAX, |at| (at / self.timeline.width) as usize);
        let highest = confirmed.iter().chain(delivered.iter().take(loaded));
        let top = nice(highest.copied().fold(1.0, f64::max));
        self.panel(RATES, top, "messages a second");
        self.area(&confirmed, RATES, top, "confirm");
        self.line(&delivered, RATES, top, "deliver");
        self.put(&format!(
            "<g transform=\"translate({},18)\"><rect class=\"confirm\" width=\"14\" height=\"9\" y=\"-8\"/><text x=\"20\">confirmed</text>\
             <path class=\"deliver\" d=\"M100 -4h18\"/><text x=\"124\">delivered</text></g>",
            RIGHT - 190.0
        ));
        self.legend();
    }

    /// The kinds of faults that there were.
    fn legend(&mut self) {
        let mut x = LEFT;
        let kinds = [
            ("kill9", "SIGKILL"),
            ("between", "SIGKILL and the command between"),
            ("term", "SIGTERM"),
            ("pause", "pause"),
            ("death", "died by itself"),
        ];
        for (class, text) in kinds {
            let count = self
                .timeline
                .strikes
                .iter()
                .filter(|strike| kind(strike) == class)
                .count();
            if count > 0 {
                self.put(&format!(
                    "<g transform=\"translate({x:.0},18)\"><path class=\"{class}\" d=\"M0 -9h8l-4 8z\"/><text x=\"13\">{count} {text}</text></g>"
                ));
                x += 40.0 + 7.0 * (text.len() + 2) as f64;
            }
        }
    }

    fn backlog(&mut self) {
        let messages = self.timeline.backlogs();
        let top = nice(messages.iter().copied().fold(1.0, f64::max));
        self.panel(BACKLOG, top, "confirmed and not acked");
        self.area(&messages, BACKLOG, top, "backlog");
    }

    fn restarts(&mut self) {
        let restarts = self.timeline.restarts();
        let Some(longest) = restarts.last() else {
            return self.panel(RESTARTS, 1.0, "no restart");
        };
        let top = nice(*longest);
        self.panel(RESTARTS, top, "milliseconds from a fault to the first answer");
        for strike in &self.timeline.strikes {
            if let (Some(back), false) = (strike.back, matches!(strike.fault, Some(Fault::Pause(_)))) {
                let (x, millis) = (self.x(strike.at), (back - strike.at) as f64 / 1e3);
                let y = height(millis, RESTARTS, top);
                let (class, title) = (kind(strike), tell(strike));
                self.put(&format!(
                    "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"><title>{title}</title></circle>"
                ));
            }
        }
    }

    fn strikes(&mut self) {
        for strike in &self.timeline.strikes {
            let (x, class, title) = (self.x(strike.at), kind(strike), tell(strike));
            let (top, bottom) = (RATES.0, RATES.1);
            self.put(&format!(
                "<g class=\"{class}\"><title>{title}</title><path class=\"strike\" d=\"M{x:.1} {top}V{bottom}\"/><path d=\"M{:.1} {}h8l-4 8z\" stroke=\"none\"/></g>",
                x - 4.0,
                top - 9.0
            ));
        }
    }

    fn time_axis(&mut self) {
        let step = nice(self.seconds / 8.0);
        let mut second = 0.0;
        while second <= self.seconds {
            let x = self.x((second * 1e6) as u64);
            self.put(&format!(
                "<path class=\"axis\" d=\"M{x:.1} {}v5\"/><text class=\"dim\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{second} s</text>",
                RESTARTS.1,
                RESTARTS.1 + 20.0
            ));
            second += step;
        }
    }

    /// Grid, numbers and title of a panel.
    fn panel(&mut self, panel: (f64, f64), top: f64, title: &str) {
        let steps = if panel.1 - panel.0 > 100.0 { 4 } else { 2 };
        for step in 0..=steps {
            let value = top * f64::from(step) / f64::from(steps);
            let y = height(value, panel, top);
            self.put(&format!(
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text class=\"dim\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                short(value)
            ));
        }
        self.put(&format!(
            "<text class=\"dim\" x=\"{}\" y=\"{}\">{title}</text>",
            LEFT + 6.0,
            panel.0 + 13.0
        ));
    }

    fn slices(&self, value: impl Fn(&Slice) -> f64) -> Vec<f64> {
        self.timeline.slices.iter().map(value).collect()
    }

    fn points(&self, values: &[f64], panel: (f64, f64), top: f64) -> String {
        let mut points = String::new();
        for (at, value) in values.iter().enumerate() {
            let middle = at as u64 * self.timeline.width + self.timeline.width / 2;
            let letter = if at == 0 { 'M' } else { 'L' };
            let (x, y) = (self.x(middle), height(value.min(top), panel, top));
            // Writing to a string cannot fail.
            let _ = write!(points, "{letter}{x:.1} {y:.1}");
        }
        points
    }

    fn line(&mut self, values: &[f64], panel: (f64, f64), top: f64, class: &str) {
        let points = self.points(values, panel, top);
        self.put(&format!("<path class=\"{class}\" d=\"{points}\"/>"));
    }

    fn area(&mut self, values: &[f64], panel: (f64, f64), top: f64, class: &str) {
        if values.is_empty() {
            return;
        }
        let points = self.points(values, panel, top);
        let last = self.x((values.len() as u64 - 1) * self.timeline.width + self.timeline.width / 2);
        let (first, bottom) = (self.x(self.timeline.width / 2), panel.1);
        self.put(&format!(
            "<path class=\"{class}\" d=\"{points}L{last:.1} {bottom}L{first:.1} {bottom}Z\"/>"
        ));
    }
}

fn height(value: f64, (above, below): (f64, f64), top: f64) -> f64 {
    below - (below - above) * (value / top).clamp(0.0, 1.0)
}

/// The class of a strike.
fn kind(strike: &Strike) -> &'static str {
    strike.fault.map_or("death", Fault::name)
}

fn tell(strike: &Strike) -> String {
    let at = strike.at as f64 / 1e6;
    let what = strike.fault.map_or("died by itself", Fault::name);
    let back = match strike.back {
        Some(back) => format!(", back after {:.0} ms", (back - strike.at) as f64 / 1e3),
        None => ", not back".into(),
    };
    format!("{what} at {at:.2} s{back}, {} messages waited", strike.backlog)
}

/// The next 1, 2 or 5 times a power of ten.
fn nice(value: f64) -> f64 {
    let value = value.max(1e-3);
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= value * 0.999);
    step.unwrap_or(10.0) * power
}

/// A number for an axis.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", trim(v / 1e6)),
        v if v >= 1e4 => format!("{}k", trim(v / 1e3)),
        v => trim(v),
    }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Entry, Range};
    use std::time::Duration;

    #[test]
    fn axes_end_at_round_numbers() {
        let ends: Vec<f64> = [0.7, 1.0, 23.0, 37_000.0, 51.0].into_iter().map(nice).collect();
        assert_eq!(ends, [1.0, 1.0, 25.0, 50_000.0, 100.0]);
        let texts: Vec<String> = [0.0, 12.5, 37_500.0, 2e6].into_iter().map(short).collect();
        assert_eq!(texts, ["0", "12.5", "37.5k", "2M"]);
    }

    #[test]
    fn every_element_is_closed() {
        let mut timeline = Timeline::new();
        let range = Range {
            publisher: 1,
            first: 1,
            count: 5,
        };
        let entries = [
            Entry::Confirmed(range),
            Entry::Fault(Fault::Kill),
            Entry::Ending { life: 0 },
            Entry::Started { life: 1 },
            Entry::Fault(Fault::Pause(Duration::from_millis(5))),
            Entry::Draining,
        ];
        for (at, entry) in entries.iter().enumerate() {
            timeline.see(at as u64 * 100_000, entry);
        }
        let svg = draw(&timeline);
        for element in ["svg", "g", "text", "title", "style"] {
            let opened =
                svg.matches(&format!("<{element}>")).count() + svg.matches(&format!("<{element} ")).count();
            assert_eq!(opened, svg.matches(&format!("</{element}>")).count(), "{element}");
        }
        assert!(svg.contains("1 SIGKILL") && svg.contains("back after 200 ms"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn an_empty_run_can_be_drawn() {
        assert!(draw(&Timeline::new()).ends_with("</svg>\n"));
    }
}
