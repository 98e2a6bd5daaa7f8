//! The report of a campaign: `figures.json` for programmes, `figures.md` for people, both from the same outcomes.

use super::demand::number;
use super::part::Outcome;
use super::{Scale, Site, machine};
use anyhow::Context;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Figures of an audit that stand side by side for the brokers.
const COMPARED: &[(&str, &str)] = &[
    ("crashes", "crashes"),
    ("confirmed", "confirmed"),
    ("lost", "**lost**"),
    ("damaged", "damaged"),
    ("phantom", "phantom"),
    ("reordered", "reordered"),
    ("duplicated", "duplicated after ack"),
    ("resurrected", "settled, and back after a crash"),
    (
        "resurrected_oldest_ack_ms",
        "oldest of those settlements, ms before the crash",
    ),
    ("sync_longest_ms", "longest sync of the audit's own journal, ms"),
    ("unconfirmed_delivered", "never confirmed, delivered all the same"),
];

pub(crate) fn write(folder: &Path, site: &Site, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let machine = machine::describe(&site.scratch);
    let parts: Vec<Value> = outcomes.iter().map(part).collect();
    let all = json!({ "machine": machine, "full": site.scale == Scale::Full, "parts": parts });
    fs::create_dir_all(folder)?;
    let text = serde_json::to_string_pretty(&all)? + "\n";
    fs::write(folder.join("figures.json"), text).context("cannot write the figures")?;
    fs::write(folder.join("figures.md"), page(&machine, site, outcomes)).context("cannot write the page")
}

fn part(outcome: &Outcome) -> Value {
    json!({
        "name": outcome.part.name,
        "title": outcome.part.title,
        "seconds": outcome.took.as_secs(),
        "complaints": outcome.complaints,
        "figures": outcome.figures,
    })
}

fn page(machine: &Value, site: &Site, outcomes: &[Outcome]) -> String {
    let word = |key: &str| machine[key].as_str().unwrap_or_default().to_owned();
    let extent = if site.scale == Scale::Full {
        "full"
    } else {
        "short"
    };
    let dirty = if machine["tree_is_clean"] == Value::Bool(true) {
        ""
    } else {
        ", with changes"
    };
    let mut page = format!(
        "# Figures of one campaign\n\nWritten by `cargo xtask campaign` ({extent}), not by hand. Commit {}{dirty}, {}, {} cores ({}), {}, {}, {}.\n\n",
        word("commit"),
        word("date"),
        machine["cores"],
        word("processor"),
        word("memory"),
        word("kernel"),
        word("file_system"),
    );
    page += "| part | | took |\n|---|---|---|\n";
    for outcome in outcomes {
        let mark = match (outcome.is_good(), outcome.part.demands.is_empty()) {
            (false, _) => format!("**not shown**: {}", outcome.complaints.join("; ")),
            (true, true) => "reported, not judged".to_owned(),
            (true, false) => "shown".to_owned(),
        };
        page += &format!(
            "| {} | {mark} | {} s |\n",
            outcome.part.title,
            outcome.took.as_secs()
        );
    }
    for (family, title) in [
        ("kill-", "SIGKILL under load, with a backlog"),
        ("cut-", "Power cuts under load, with a backlog"),
    ] {
        page += &side_by_side(family, title, outcomes);
    }
    for outcome in outcomes.iter().filter(|outcome| !is_compared(outcome)) {
        page += &format!("\n## {}\n\n{}", outcome.part.title, all_figures(&outcome.figures));
    }
    page
}

fn is_compared(outcome: &Outcome) -> bool {
    outcome.part.name.starts_with("kill-") || outcome.part.name.starts_with("cut-")
}

/// The parts of one family as columns.
fn side_by_side(family: &str, title: &str, outcomes: &[Outcome]) -> String {
    let columns: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| outcome.part.name.starts_with(family))
        .collect();
    if columns.is_empty() {
        return String::new();
    }
    let names = columns
        .iter()
        .map(|outcome| outcome.part.name.trim_start_matches(family));
    let mut table = format!(
        "\n## {title}\n\n| | {} |\n|---|",
        names.collect::<Vec<_>>().join(" | ")
    );
    table += &"---|".repeat(columns.len());
    for (key, heading) in COMPARED {
        let cells = columns.iter().map(|outcome| cell(&outcome.figures, key));
        table += &format!("\n| {heading} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    table + "\n"
}

fn cell(figures: &Value, key: &str) -> String {
    number(figures, key).map_or_else(|| "not measured".to_owned(), short)
}

/// Everything a part counted, nested objects with dots.
fn all_figures(figures: &Value) -> String {
    let mut rows = Vec::new();
    gather("", figures, &mut rows);
    let row = |(key, value): &(String, String)| format!("| {key} | {value} |\n");
    format!("| | |\n|---|---|\n{}", rows.iter().map(row).collect::<String>())
}

fn gather(prefix: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let key = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                gather(&key, value, rows);
            }
        }
        Value::Array(list) if list.iter().any(|item| item.is_object() || item.is_array()) => {
            for (index, item) in list.iter().enumerate() {
                gather(&format!("{prefix}.{index}"), item, rows);
            }
        }
        Value::Array(list) => rows.push((prefix.replace('_', " "), plain_list(list))),
        Value::Number(figure) => rows.push((
            prefix.replace('_', " "),
            figure.as_f64().map_or_else(String::new, short),
        )),
        Value::String(text) => rows.push((prefix.replace('_', " "), text.clone())),
        other => rows.push((prefix.replace('_', " "), other.to_string())),
    }
}

fn plain_list(list: &[Value]) -> String {
    let words = list
        .iter()
        .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
    words.collect::<Vec<_>>().join(", ")
}

/// A number as people read it: thousands apart, three digits behind the point at most.
fn short(figure: f64) -> String {
    let text = format!("{figure:.3}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits: Vec<char> = whole.chars().collect();
    let mut apart = String::new();
    for (index, digit) in digits.iter().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digits[index - 1] != '-' {
            apart.push(' ');
        }
        apart.push(*digit);
    }
    match fraction.trim_end_matches('0') {
        "" => apart,
        rest => format!("{apart}.{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let check = |figure: f64, text: &str| assert_eq!(short(figure), text);
        check(0.0, "0");
        check(12.0, "12");
        check(1234567.0, "1 234 567");
        check(-1234.5, "-1 234.5");
        check(0.1234, "0.123");
    }

    #[test]
    fn nested_figures_are_shown() {
        let figures = json!({ "lost": 3, "lying": { "runs": 1000 }, "found": ["a", "b"] });
        assert_eq!(
            all_figures(&figures),
            "| | |\n|---|---|\n| found | a, b |\n| lost | 3 |\n| lying.runs | 1 000 |\n"
        );
    }
}
