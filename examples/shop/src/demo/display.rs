//! What a person sees: progress bars while it runs, one table in the end. Without a terminal, plain lines.

use super::verdict::{Tally, Verdict};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Instant;

const LABEL_WIDTH: usize = 34;
const NUMBER_WIDTH: usize = 12;

pub(super) struct Display {
    bars: Option<Bars>,
    start: Instant,
    terminal: bool,
}

struct Bars {
    all: MultiProgress,
    accepted: ProgressBar,
    published: ProgressBar,
    shipped: ProgressBar,
}

impl Display {
    /// A display for one act with `orders` orders.
    pub(super) fn open(title: &str, orders: usize) -> Self {
        let terminal = std::io::stdout().is_terminal();
        println!("\n{}", bold(title, terminal));
        let bars = (terminal && std::io::stderr().is_terminal()).then(|| Bars::new(orders as u64));
        Self {
            bars,
            start: Instant::now(),
            terminal,
        }
    }

    pub(super) fn progress(&self, accepted: u64, published: u64, shipped: u64) {
        let Some(bars) = &self.bars else { return };
        bars.accepted.set_position(accepted);
        bars.published.set_position(published);
        bars.shipped.set_position(shipped);
    }

    /// Something has happened.
    pub(super) fn event(&self, text: &str) {
        let line = format!("  {:>5.1} s  {text}", self.start.elapsed().as_secs_f64());
        match &self.bars {
            Some(bars) => bars.all.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    /// The act is over.
    pub(super) fn close(self, tally: &Tally) {
        if let Some(bars) = &self.bars {
            // A terminal that cannot be written to any more is no reason to withhold the result.
            let _ = bars.all.clear();
        }
        let lost = tally.comparison.lost;
        let lost = if lost == 0 {
            "nothing lost".to_owned()
        } else {
            format!("{lost} orders lost")
        };
        let shipped = tally.comparison.shipped;
        let line = format!("{shipped} of {} orders shipped, {lost}", tally.orders);
        println!(
            "  {:>5.1} s  {}",
            self.start.elapsed().as_secs_f64(),
            bold(&line, self.terminal)
        );
    }
}

impl Bars {
    fn new(orders: u64) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("  {prefix:<22} {bar:40.cyan/blue} {pos:>6} of {len}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = |prefix: &'static str| {
            all.add(
                ProgressBar::new(orders)
                    .with_style(style.clone())
                    .with_prefix(prefix),
            )
        };
        let (accepted, published, shipped) = (
            bar("orders accepted"),
            bar("safe with the broker"),
            bar("shipped"),
        );
        Self {
            all,
            accepted,
            published,
            shipped,
        }
    }
}

/// The table, and what it means in one sentence.
pub(super) fn print_verdict(verdict: &Verdict) {
    let terminal = std::io::stdout().is_terminal();
    println!();
    for line in table(verdict) {
        println!("  {line}");
    }
    println!("\n  {}", bold(&sentence(verdict), terminal));
}

fn table(verdict: &Verdict) -> Vec<String> {
    let rule = "-".repeat(LABEL_WIDTH + 2 * NUMBER_WIDTH);
    let row = |label: &str, number: fn(&Tally) -> String| {
        let (manual, auto) = (number(&verdict.manual_ack), number(&verdict.auto_ack));
        format!("{label:<LABEL_WIDTH$}{manual:>NUMBER_WIDTH$}{auto:>NUMBER_WIDTH$}")
    };
    vec![
        format!(
            "{:<LABEL_WIDTH$}{:>NUMBER_WIDTH$}{:>NUMBER_WIDTH$}",
            "", "manual ack", "auto-ack"
        ),
        rule.clone(),
        row("orders accepted", |tally| tally.orders.to_string()),
        row("orders shipped", |tally| tally.comparison.shipped.to_string()),
        row("orders LOST", |tally| tally.comparison.lost.to_string()),
        row("in the books more than once", |tally| {
            tally.comparison.shipped_twice.to_string()
        }),
        rule.clone(),
        row("warehouses killed at work", |tally| {
            tally.warehouse_kills.to_string()
        }),
        row("  orders in their hands then", |tally| tally.in_hands.to_string()),
        row("order services killed", |tally| {
            tally.order_service_kills.to_string()
        }),
        row("broker killed", |tally| tally.broker_kills.to_string()),
        row("deliveries flagged or repeated", |tally| {
            tally.redelivered.to_string()
        }),
        row("requests sent again by customers", |tally| {
            tally.retries.to_string()
        }),
        row("seconds", |tally| format!("{:.1}", tally.seconds)),
        rule,
    ]
}

fn sentence(verdict: &Verdict) -> String {
    let lost = verdict.auto_ack.comparison.lost;
    match (verdict.manual_ack.holds(), lost) {
        (true, 1..) => format!(
            "With manual ack every order was shipped exactly once; with auto-ack the same mishaps took {lost} paid orders."
        ),
        (true, 0) => {
            "Auto-ack has lost nothing this time: the mishaps were too gentle to show anything.".to_owned()
        }
        (false, _) => {
            "MANUAL ACK DID NOT KEEP ITS PROMISE: the books do not hold each order exactly once.".to_owned()
        }
    }
}

fn bold(text: &str, terminal: bool) -> String {
    if terminal {
        format!("\x1b[1m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::verdict::Comparison;

    #[test]
    fn the_table_is_even() {
        let manual_ack = Tally {
            orders: 1_000,
            ..Tally::default()
        };
        let comparison = Comparison {
            shipped: 900,
            lost: 100,
            ..Comparison::default()
        };
        let verdict = Verdict {
            manual_ack,
            auto_ack: Tally {
                comparison,
                ..manual_ack
            },
        };
        let lines = table(&verdict);
        assert!(
            lines
                .iter()
                .all(|line| line.len() == LABEL_WIDTH + 2 * NUMBER_WIDTH),
            "{lines:#?}"
        );
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("orders LOST") && line.ends_with(" 100")),
            "{lines:#?}"
        );
    }
}
