//! The report as Markdown, with the timeline as a picture beside it.

use super::page::{Page, Table, count};
use std::fmt::Write;

/// The page; the timeline is expected in the file `picture`.
pub(super) fn render(page: &Page, picture: &str) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let verdict = if page.clean { "clean" } else { "broken" };
    let _ = write!(
        out,
        "# {}\n\n**Verdict: {verdict}.** {}\n\n",
        page.title, page.lead
    );
    let _ = writeln!(out, "| | | |\n|---|---:|---|");
    for tile in &page.tiles {
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            tile.name,
            count(tile.count),
            tile.meaning
        );
    }
    let _ = write!(
        out,
        "\n![rates, backlog and restart times over the run]({picture})\n"
    );
    if !page.broken.is_empty() {
        let _ = write!(
            out,
            "\n## Broken messages\n\nThe first of each kind, with everything that the journal has of them.\n"
        );
    }
    for broken in &page.broken {
        let _ = write!(out, "\n### {}\n\n{}\n", broken.title, broken.note);
        if !broken.history.is_empty() {
            let _ = write!(out, "\n```text\n{}\n```\n", broken.history.join("\n"));
        }
    }
    page.tables.iter().for_each(|table| render_table(&mut out, table));
    let _ = write!(out, "\n## What this does not say\n\n");
    for limit in page.limits {
        let _ = writeln!(out, "- {limit}");
    }
    render_table(&mut out, &page.faults);
    out
}

fn render_table(out: &mut String, table: &Table) {
    if table.rows.is_empty() {
        return;
    }
    let columns = table.rows[0].len();
    let head = match table.head.is_empty() {
        true => vec![""; columns],
        false => table.head.clone(),
    };
    let _ = write!(
        out,
        "\n## {}\n\n| {} |\n|{}\n",
        table.title,
        head.join(" | "),
        "---|".repeat(columns)
    );
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
}
