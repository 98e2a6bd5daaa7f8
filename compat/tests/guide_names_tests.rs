//! The guide's tables say which test shows what, as `` `path::case` ``: each test that they name exists and is run, and each row that
//! claims something names one.

use everack_compat::client::python;
use everack_compat::source;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The head of a table that claims things, by what its second column says.
const STATES: &str = "| state |";

fn root() -> PathBuf {
    source("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The guide's pages, by name, with their text.
fn pages() -> Vec<(String, String)> {
    let folder = root().join("docs/guide/src");
    let entries = fs::read_dir(&folder).expect("the guide is there");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("the guide can be listed").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".md"))
        .collect();
    names.sort();
    let page = |name: String| (name.clone(), read(&folder.join(&name)));
    names.into_iter().map(page).collect()
}

/// The tests that a line names: file and case.
fn named(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let quoted = line.split('`').skip(1).step_by(2);
    quoted.filter_map(|word| {
        let (path, case) = word.split_once("::")?;
        (path.ends_with(".py") || path.ends_with(".rs")).then_some((path, case))
    })
}

/// Looks tests up; a script is asked for its cases once.
#[derive(Default)]
struct Tests {
    cases: HashMap<String, Vec<String>>,
}

impl Tests {
    /// What is wrong with this name of a test.
    fn complaint(&mut self, path: &str, case: &str) -> Option<String> {
        if !root().join(path).exists() {
            return Some("there is no such file".to_owned());
        }
        let is_there = if path.ends_with(".py") {
            self.of_script(path).iter().any(|known| known == case)
        } else {
            is_in_source(&read(&root().join(path)), case)
        };
        (!is_there).then(|| "there is no such test in that file".to_owned())
    }

    /// The cases of a script that some test runs.
    fn of_script(&mut self, path: &str) -> &[String] {
        let list = || {
            let script = path.strip_prefix("compat/").expect("scripts lie in compat");
            assert!(is_run(script), "{path} is run by no test of compat/tests");
            let output = python(script).arg("--list").output();
            let output = output.expect("the Python clients are missing: run `cargo xtask setup`");
            let text = String::from_utf8_lossy(&output.stdout);
            text.lines().map(str::to_owned).collect()
        };
        self.cases.entry(path.to_owned()).or_insert_with(list)
    }
}

fn is_run(script: &str) -> bool {
    let quoted = format!("\"{script}\"");
    let entries = fs::read_dir(source("tests")).expect("the tests are there");
    entries
        .map(|entry| entry.expect("the tests can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .any(|path| read(&path).contains(&quoted))
}

/// A function marked as a test, or a case of a table that its file turns into tests.
fn is_in_source(text: &str, case: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let function = format!("fn {case}(");
    let is_marked = |at: usize| {
        let above = &lines[at.saturating_sub(4)..at];
        above
            .iter()
            .any(|line| line.trim_start().starts_with("#[") && line.contains("test"))
    };
    let mut functions = (0..lines.len()).filter(|at| lines[*at].contains(&function));
    functions.any(is_marked) || text.contains(&format!("\"{case}\""))
}

#[test]
fn every_test_that_the_guide_names_exists() {
    let mut tests = Tests::default();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (page, text) in pages() {
        for (path, case) in text.lines().flat_map(named) {
            count += 1;
            let complaint = tests.complaint(path, case);
            wrong.extend(complaint.map(|complaint| format!("{page}: `{path}::{case}`: {complaint}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        count > 100,
        "the guide names only {count} tests: is this how it names them still?"
    );
}

#[test]
fn every_row_that_claims_something_names_a_test() {
    let mut wrong = Vec::new();
    let mut rows = 0;
    for (page, text) in pages() {
        let mut claims = false;
        for line in text.lines() {
            claims = line.starts_with('|') && (claims || line.contains(STATES));
            let cells: Vec<&str> = line.split(" | ").map(str::trim).collect();
            let is_row = claims && !line.contains(STATES) && !line.starts_with("|---");
            if !is_row {
                continue;
            }
            rows += 1;
            let state = cells.get(1).copied().unwrap_or_default();
            let because = cells.get(2).map_or("", |cell| cell.trim_end_matches('|').trim());
            let complaint = match state {
                "yes" | "partly" if named(line).next().is_none() => "no test shows it",
                "no" | "pending" if because.is_empty() => "it does not say why",
                "yes" | "partly" | "no" | "pending" => continue,
                _ => "the state is none of yes, partly, no, pending",
            };
            wrong.push(format!("{page}: {complaint}: {line}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows > 100, "the guide has only {rows} rows that claim something");
}

#[test]
fn names_are_found_in_lines_and_cases_in_sources() {
    let line = "| a | yes | `compat/x.py::one`, `a::b`, `crates/y.rs::two words` |";
    assert_eq!(
        named(line).collect::<Vec<_>>(),
        [("compat/x.py", "one"), ("crates/y.rs", "two words")]
    );
    let text = "#[test]\nfn marked() {}\n\n\n\n\nfn plain() {}\ntrial(\"in a table\", f)\n";
    assert!(is_in_source(text, "marked"));
    assert!(!is_in_source(text, "plain"));
    assert!(is_in_source(text, "in a table"));
    assert!(!is_in_source(text, "in no table"));
}
