//! What is told about a run: as JSON, and as a page for people.
//!
//! The verdict is done when the report begins; it goes through the journal once more, for the timeline and for the histories of
//! broken messages.

mod facts;
mod html;
mod json;
mod markdown;
mod page;
mod svg;
mod timeline;

pub(crate) use facts::{Facts, Machine, command_line, now};
pub(crate) use json::json;

use crate::journal::{self, Reader};
use crate::verdict::{Verdict, histories};
use anyhow::Context;
use page::Page;
use std::fs;
use std::path::Path;
use timeline::Timeline;

/// The timeline's file, beside report.md.
const PICTURE: &str = "timeline.svg";

/// Writes report.md, report.html and report.json into a directory.
pub(crate) fn write(folder: &Path, journals: &Path, verdict: &Verdict, facts: &Facts) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut timeline = Timeline::new();
    let mut histories = histories(&verdict.findings.named());
    let mut reader = Reader::open(&journals.join(journal::FILE))?;
    while let Some((micros, entry)) = reader.entry()? {
        timeline.see(micros, &entry);
        if !histories.is_empty() {
            histories.see(micros, &entry);
        }
    }
    let page = Page::new(verdict, facts, &timeline, |finding| {
        finding.id.map_or(Vec::new(), |id| histories.of(id).to_vec())
    });
    let picture = svg::draw(&timeline);
    let mut all = json(verdict, facts);
    all["run"] = facts.to_json();
    all["restarts_ms"] = timeline.restarts().into();
    let files = [
        (PICTURE, picture.clone()),
        ("report.md", markdown::render(&page, PICTURE)),
        ("report.html", html::render(&page, &picture)),
        ("report.json", serde_json::to_string_pretty(&all)? + "\n"),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
