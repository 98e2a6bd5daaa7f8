//! The report as one HTML file: no script, nothing to fetch, readable in light and dark and on paper.

use super::page::{Page, Table, count};
use std::fmt::Write;

const STYLE: &str = "
:root{--ink:#1d2330;--dim:#667085;--line:#e3e7ee;--paper:#fff;--card:#f7f8fa;--good:#12805c;--bad:#c62f2f}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--dim:#98a2b3;--line:#2a3140;--paper:#12151c;--card:#1a1f29;--good:#3ecf9f;--bad:#ff7a7a}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,'Segoe UI',sans-serif}
main{max-width:1080px;margin:0 auto;padding:40px 20px 80px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;text-wrap:balance} h2{font-size:18px;margin:44px 0 10px} h3{font-size:15px;margin:24px 0 2px}
.lead{font-size:17px;max-width:66ch;margin:14px 0 28px}
.badge{display:inline-block;font-weight:600;font-size:14px;padding:3px 12px;border-radius:99px;color:var(--paper);background:var(--good)}
.broken .badge{background:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(134px,1fr));gap:10px;margin:0 0 28px;padding:0;list-style:none}
.tiles li{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px}
.tiles b{display:block;font-size:24px;line-height:1.2;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.tiles span{font-weight:600;font-size:14px}.tiles small{display:block;color:var(--dim);font-size:12.5px;line-height:1.35;margin-top:4px}
.tiles .hit{border-color:var(--bad)} .tiles .hit b{color:var(--bad)}
.picture,.wide{overflow-x:auto} .picture svg{min-width:640px;display:block}
table{border-collapse:collapse;width:100%;font-size:14.5px} th{text-align:left;color:var(--dim);font-weight:600}
td,th{border-bottom:1px solid var(--line);padding:6px 12px 6px 0;vertical-align:top;font-variant-numeric:tabular-nums}
.pairs td:first-child{color:var(--dim);width:19em} td code{overflow-wrap:anywhere}
code,pre{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,monospace} pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px;overflow-x:auto}
p{margin:6px 0} ul{padding-left:20px;max-width:80ch} summary{cursor:pointer;font-size:18px;font-weight:600;margin:44px 0 10px}
";

/// The page with the picture in it.
pub(super) fn render(page: &Page, picture: &str) -> String {
    let mut out = String::new();
    let title = escape(&page.title);
    let (class, verdict) = match page.clean {
        true => ("clean", "clean"),
        false => ("broken", "broken"),
    };
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title><style>{STYLE}</style></head>\n<body><main class=\"{class}\">\n\
         <h1>{title}</h1>\n<span class=\"badge\">{verdict}</span>\n<p class=\"lead\">{}</p>\n<ul class=\"tiles\">\n",
        escape(&page.lead)
    );
    for tile in &page.tiles {
        let class = if tile.count > 0 { " class=\"hit\"" } else { "" };
        let (count, name, meaning) = (count(tile.count), escape(&tile.name), escape(tile.meaning));
        let _ = writeln!(
            out,
            "<li{class}><b>{count}</b><span>{name}</span><small>{meaning}</small></li>"
        );
    }
    let _ = write!(out, "</ul>\n<div class=\"picture\">\n{picture}</div>\n");
    if !page.broken.is_empty() {
        out += "<h2>Broken messages</h2>\n<p>The first of each kind, with everything that the journal has of them.</p>\n";
    }
    for broken in &page.broken {
        let _ = write!(
            out,
            "<h3>{}</h3>\n<p>{}</p>\n",
            rich(&broken.title),
            escape(&broken.note)
        );
        if !broken.history.is_empty() {
            let _ = writeln!(out, "<pre>{}</pre>", escape(&broken.history.join("\n")));
        }
    }
    for table in &page.tables {
        let _ = writeln!(out, "<h2>{}</h2>", escape(&table.title));
        render_table(&mut out, table);
    }
    out += "<h2>What this does not say</h2>\n<ul>\n";
    for limit in page.limits {
        let _ = writeln!(out, "<li>{}</li>", rich(limit));
    }
    out += "</ul>\n";
    if !page.faults.rows.is_empty() {
        let _ = writeln!(out, "<details><summary>{}</summary>", escape(&page.faults.title));
        render_table(&mut out, &page.faults);
        out += "</details>\n";
    }
    out + "</main></body></html>\n"
}

fn render_table(out: &mut String, table: &Table) {
    let class = if table.head.is_empty() {
        " class=\"pairs\""
    } else {
        ""
    };
    let _ = writeln!(out, "<div class=\"wide\"><table{class}>");
    if !table.head.is_empty() {
        let cells: String = table
            .head
            .iter()
            .map(|cell| format!("<th>{}</th>", escape(cell)))
            .collect();
        let _ = writeln!(out, "<tr>{cells}</tr>");
    }
    for row in &table.rows {
        let cells: String = row
            .iter()
            .map(|cell| format!("<td>{}</td>", rich(cell)))
            .collect();
        let _ = writeln!(out, "<tr>{cells}</tr>");
    }
    out.push_str("</table></div>\n");
}

/// Text with code between backticks.
fn rich(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(at, part)| match at % 2 {
            0 => escape(part),
            _ => format!("<code>{}</code>", escape(part)),
        })
        .collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
