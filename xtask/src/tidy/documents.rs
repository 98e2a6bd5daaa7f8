//! Rules about documents: that they still tell the truth about the tree.

use super::{File, Tree, layers};
use crate::workspace;
use std::path::{Component, Path, PathBuf};

const MAP: &str = "ARCHITECTURE.md";
const DECISIONS: &str = "docs/decisions";

/// ARCHITECTURE.md names every package, and every path that it names exists.
pub(crate) fn architecture(tree: &Tree) -> Vec<String> {
    let Some(map) = tree.file(MAP) else {
        return vec![format!("{MAP} is missing: it is the map of the tree")];
    };
    let mut complaints = Vec::new();
    for layer in layers::PACKAGES
        .iter()
        .filter(|layer| !map.text.contains(layer.folder))
    {
        complaints.push(format!(
            "{MAP}: does not mention `{}`: say what it is and where it lies",
            layer.folder
        ));
    }
    for (number, line) in map.numbered() {
        for path in paths(line).filter(|path| !exists(path)) {
            complaints.push(map.complaint(number, format!("`{path}` does not exist: put the map right")));
        }
    }
    complaints
}

/// The words in backticks that look like a path from the root of the repository.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    let tops = [
        "crates/",
        "docs/",
        "examples/",
        "compat/",
        "xtask/",
        "fuzz/",
        ".ci/",
    ];
    quoted.filter(move |word| {
        let plain = word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        plain && tops.iter().any(|top| word.starts_with(top))
    })
}

fn exists(path: &str) -> bool {
    let path = workspace::root().join(path);
    path.exists() || path.with_extension("rs").exists()
}

/// Relative links of every document lead to a file or folder.
pub(crate) fn links(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.markdown() {
        for (number, line) in file.numbered() {
            for target in targets(line).filter(|target| !leads_somewhere(file, target)) {
                complaints.push(file.complaint(number, format!("the link to `{target}` leads nowhere")));
            }
        }
    }
    complaints
}

/// What stands in the round brackets of `[text](target)`, for targets within the repository.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let inside = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    inside.filter(|target| {
        !target.contains("://") && !target.starts_with('#') && !target.starts_with("mailto:")
    })
}

fn leads_somewhere(file: &File, target: &str) -> bool {
    let target = target.split('#').next().unwrap_or_default();
    let folder = file.path.parent().unwrap_or(Path::new(""));
    workspace::root().join(normal(&folder.join(target))).exists()
}

/// Takes out `..`, without asking the file system.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

/// Decisions are numbered without gaps: `docs/decisions/0001-name.md`, each with a title.
pub(crate) fn decisions(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut expected = 1;
    for file in tree.markdown().filter(|file| file.path.starts_with(DECISIONS)) {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        if name == "README.md" {
            continue;
        }
        if !name.starts_with(&format!("{expected:04}-")) {
            complaints.push(file.complaint(
                1,
                format!("the next decision is number {expected:04}: `{expected:04}-name.md`"),
            ));
        }
        if !file.text.starts_with("# ") {
            complaints.push(file.complaint(1, "open it with a title, `# ...`"));
        }
        expected += 1;
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_other_code() {
        let found: Vec<&str> =
            paths("see `crates/amqp/src` and `cargo test` or `docs/x.md`, not crates/y").collect();
        assert_eq!(found, ["crates/amqp/src", "docs/x.md"]);
    }

    #[test]
    fn links_are_found_and_followed() {
        let found: Vec<&str> = targets("[a](b.md) [c](https://d) [e](../f.md#g) [h](#i)").collect();
        assert_eq!(found, ["b.md", "../f.md#g"]);
        assert_eq!(normal(Path::new("docs/guide/../x.md")), Path::new("docs/x.md"));
    }

    #[test]
    fn existing_paths_exist() {
        assert!(exists("xtask/src/tidy.rs"));
        assert!(exists("xtask/src/tidy/documents"));
        assert!(!exists("xtask/src/nothing"));
    }
}
