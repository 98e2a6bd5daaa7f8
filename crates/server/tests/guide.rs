//! The guide keeps its word: pages and links exist, and what it says to write into a configuration is accepted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A hash to stand where the guide abbreviates one.
const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$1ttMbdpkUFhi8hZiSLeigw$Fae6Gke7VLLPrOZs4Q5glDxtiInofN8wmHj2/+vdCoc";

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/src")
}

fn read(page: &str) -> String {
    fs::read_to_string(source().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// All pages, by their path within the guide: those in English, and those of each language in a folder of its own.
fn pages() -> BTreeSet<String> {
    let mut pages = pages_in("");
    pages.extend(pages_in("zh/"));
    pages.remove("SUMMARY.md");
    pages
}

fn pages_in(folder: &str) -> BTreeSet<String> {
    let names = fs::read_dir(source().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages = names.filter(|name| name.ends_with(".md"));
    pages.map(|name| format!("{folder}{name}")).collect()
}

/// The targets of a page's links that stay within the guide, without anchors.
fn links(text: &str) -> BTreeSet<String> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target);
    let inside = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    inside
        .map(|target| target.split('#').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn the_summary_lists_every_page() {
    assert_eq!(links(&read("SUMMARY.md")), pages());
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        for target in links(&read(&page)) {
            let folder = source().join(&page);
            assert!(
                folder.with_file_name("").join(&target).exists(),
                "{page} links to {target}, which does not exist"
            );
        }
    }
}

#[test]
fn every_configuration_shown_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("everack.toml");
    let mut shown = 0;
    for page in pages() {
        for example in read(&page).split("```toml\n").skip(1) {
            let example = example.split("```").next().unwrap_or_default();
            let example = example.replace("$argon2id$v=19$m=19456,t=2,p=1$…", HASH);
            fs::write(&file, &example).unwrap();
            let mut everack = Command::new(env!("CARGO_BIN_EXE_everack"));
            let checked = everack.args(["config", "--check"]).arg(&file).output().unwrap();
            let refusal = String::from_utf8_lossy(&checked.stderr).into_owned();
            assert!(checked.status.success(), "{page}:\n{example}\n{refusal}");
            shown += 1;
        }
    }
    assert!(shown >= 3, "the examples were not found");
}

#[test]
fn every_command_is_in_the_reference() {
    let help = Command::new(env!("CARGO_BIN_EXE_everack"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let reference = read("command-line.md");
    for line in commands.lines().filter(is_name) {
        let command = line.split_whitespace().next().unwrap();
        let known = command == "help" || reference.contains(&format!("`everack {command}"));
        assert!(known, "command-line.md does not mention everack {command}");
    }
}
