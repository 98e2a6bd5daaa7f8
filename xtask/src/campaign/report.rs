//! The report of a campaign: `figures.json` for programmes, `figures.md` for people, both from the same outcomes.

use super::demand::number;
use super::part::Outcome;
use super::{Scale, Site, machine, parts};
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
    ("sync_longest_ms", "longest sync seen, ms"),
    ("unconfirmed_delivered", "never confirmed, delivered all the same"),
];

/// Writes both files. Parts of an earlier campaign in the same folder that were not run this time stay as they were.
pub(crate) fn write(folder: &Path, site: &Site, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let file = folder.join("figures.json");
    let machine = machine::describe(&site.scratch);
    let parts = parts::ALL.iter().filter_map(|part| {
        let outcome = outcomes.iter().find(|outcome| outcome.part.name == part.name);
        outcome
            .map(|outcome| part_of(outcome, site, &machine))
            .or_else(|| earlier(&file, part.name))
    });
    let parts: Vec<Value> = parts.collect();
    fs::create_dir_all(folder)?;
    let text = serde_json::to_string_pretty(&json!({ "parts": parts }))? + "\n";
    fs::write(&file, text).context("cannot write the figures")?;
    fs::write(folder.join("figures.md"), page(&parts)).context("cannot write the page")
}

/// What a folder has of a part from before.
fn earlier(file: &Path, name: &str) -> Option<Value> {
    let all: Value = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
    let parts = all["parts"].as_array()?;
    parts.iter().find(|part| part["name"] == name).cloned()
}

fn part_of(outcome: &Outcome, site: &Site, machine: &Value) -> Value {
    json!({
        "name": outcome.part.name,
        "title": outcome.part.title,
        "full": site.scale == Scale::Full,
        "judged": !outcome.part.demands.is_empty(),
        "seconds": outcome.took.as_secs(),
        "complaints": outcome.complaints,
        "figures": outcome.figures,
        "machine": machine,
    })
}

fn page(parts: &[Value]) -> String {
    let mut page = "# Figures of the campaign\n\nWritten by `cargo xtask campaign`, not by hand. A short run does a tenth of a whole one.\n\n\
                    | part | | run | took | commit | date |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for part in parts {
        let machine = &part["machine"];
        let changed = if machine["tree_is_clean"] == Value::Bool(true) {
            ""
        } else {
            ", changed"
        };
        page += &format!(
            "| {} | {} | {} | {} s | {}{changed} | {} |\n",
            text(&part["title"]),
            finding(part),
            if part["full"] == Value::Bool(true) {
                "whole"
            } else {
                "short"
            },
            part["seconds"],
            text(&machine["commit"]),
            text(&machine["date"]),
        );
    }
    for (family, title) in [
        ("kill-", "SIGKILL under load, with a backlog"),
        ("cut-", "Power cuts under load, with a backlog"),
    ] {
        page += &side_by_side(family, title, parts);
    }
    for part in parts.iter().filter(|part| !is_compared(part)) {
        page += &format!(
            "\n## {}\n\n{}",
            text(&part["title"]),
            all_figures(&part["figures"])
        );
    }
    page + &machines(parts)
}

/// What a part showed, in a few words.
fn finding(part: &Value) -> String {
    let complaints = part["complaints"].as_array().map_or(&[][..], Vec::as_slice);
    match (complaints.is_empty(), part["judged"] == Value::Bool(true)) {
        (false, _) => format!("**not shown**: {}", plain_list(complaints)),
        (true, true) => "shown".to_owned(),
        (true, false) => "reported, not judged".to_owned(),
    }
}

/// The machines, each once.
fn machines(parts: &[Value]) -> String {
    let of = |part: &Value| {
        let machine = &part["machine"];
        let words = ["processor", "memory", "kernel", "file_system"].map(|key| text(&machine[key]));
        format!("{} cores, {}", machine["cores"], words.join(", "))
    };
    let mut lines: Vec<String> = parts.iter().map(of).collect();
    lines.sort();
    lines.dedup();
    format!("\n## Machine\n\n{}\n", lines.join("\n\n"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_compared(part: &Value) -> bool {
    let name = text(&part["name"]);
    name.starts_with("kill-") || name.starts_with("cut-")
}

/// The parts of one family as columns.
fn side_by_side(family: &str, title: &str, parts: &[Value]) -> String {
    let columns: Vec<&Value> = parts
        .iter()
        .filter(|part| text(&part["name"]).starts_with(family))
        .collect();
    if columns.is_empty() {
        return String::new();
    }
    let names = columns
        .iter()
        .map(|part| text(&part["name"]).trim_start_matches(family));
    let mut table = format!(
        "\n## {title}\n\n| | {} |\n|---|",
        names.collect::<Vec<_>>().join(" | ")
    );
    table += &"---|".repeat(columns.len());
    for (key, heading) in COMPARED {
        let cells = columns.iter().map(|part| cell(&part["figures"], key));
        table += &format!("\n| {heading} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    table + "\n"
}

/// A figure, or what stands in its place: an audit counts crashes, a campaign of power cuts counts cuts.
fn cell(figures: &Value, key: &str) -> String {
    let other = if key == "crashes" { "cuts" } else { key };
    number(figures, key)
        .or_else(|| number(figures, other))
        .map_or_else(|| "not measured".to_owned(), short)
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
