//! Rules about the text of single files.

use super::{File, Tree};

/// The longest a file that a person wrote may get.
const LINES_MAX: usize = 700;

/// Marks of unfinished work. Put together here so that this file does not carry them itself.
const LEFTOVERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("#[ig", "nore"),
];

pub(crate) fn leftovers(tree: &Tree) -> Vec<String> {
    let code = |file: &&File| {
        let extension = file
            .path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        [
            "rs", "py", "js", "c", "sh", "toml", "md", "go", "java", "php", "rb",
        ]
        .contains(&extension)
    };
    find(
        tree.files.iter().filter(code),
        LEFTOVERS,
        "finish it, or open an issue and take the mark out",
    )
}

pub(crate) fn module_docs(tree: &Tree) -> Vec<String> {
    let missing = |file: &&File| {
        let in_src = file.path.components().any(|part| part.as_os_str() == "src");
        in_src && !file.is_generated() && !opens_with_docs(&file.text)
    };
    let complaint = |file: &File| {
        file.complaint(
            1,
            "open it with `//!`: what it is, and what it is not responsible for",
        )
    };
    tree.rust().filter(missing).map(complaint).collect()
}

fn opens_with_docs(text: &str) -> bool {
    let code = text
        .lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with("// "));
    code.is_some_and(|line| line.starts_with("//!"))
}

pub(crate) fn length(tree: &Tree) -> Vec<String> {
    let lines = |file: &File| file.text.lines().count();
    let too_long = |file: &&File| !file.is_generated() && lines(file) > LINES_MAX;
    let complaint = |file: &File| {
        file.complaint(
            lines(file),
            format!("longer than {LINES_MAX} lines: split it by purpose"),
        )
    };
    tree.rust().filter(too_long).map(complaint).collect()
}

pub(crate) fn machine_paths(tree: &Tree) -> Vec<String> {
    // Absolute paths of someone's home or checkout; a relative path may well end in such a word.
    let folders = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
    ];
    let mut complaints = Vec::new();
    for file in &tree.files {
        for (number, line) in file.numbered() {
            if folders.iter().any(|folder| names_absolutely(line, folder)) {
                complaints.push(file.complaint(
                    number,
                    "names a path of one machine: make it relative, or compute it",
                ));
            }
        }
    }
    complaints
}

fn names_absolutely(line: &str, folder: &str) -> bool {
    let inside_a_path = |c: char| c.is_alphanumeric() || "._-})$>/*".contains(c);
    line.match_indices(folder)
        .any(|(at, _)| !line[..at].chars().next_back().is_some_and(inside_a_path))
}

pub(crate) fn registry_hosts(tree: &Tree) -> Vec<String> {
    let hosts = [
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("npmjs", ".org"),
        concat!("static.crates", ".io"),
        concat!("index.crates", ".io"),
        concat!("deb.debian", ".org"),
    ];
    find(
        tree.files.iter(),
        &hosts,
        "names the host of a package registry: name the package, not where it is fetched",
    )
}

fn find<'a>(files: impl Iterator<Item = &'a File>, needles: &[&str], advice: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        for (number, line) in file.numbered() {
            if let Some(needle) = needles.iter().find(|needle| line.contains(**needle)) {
                complaints.push(file.complaint(number, format!("`{needle}`: {advice}")));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Metadata;

    fn check(rule: fn(&Tree) -> Vec<String>, path: &str, text: &str, complaints: usize) {
        let files = vec![File {
            path: path.into(),
            text: text.into(),
        }];
        let metadata = Metadata {
            packages: Vec::new(),
            target_directory: "target".into(),
        };
        let found = rule(&Tree { metadata, files });
        assert_eq!(found.len(), complaints, "{path}: {text}: {found:?}");
    }

    #[test]
    fn leftovers_are_found() {
        check(leftovers, "a.rs", concat!("// TO", "DO later"), 1);
        check(leftovers, "a.rs", concat!("dbg", "!(x);\ntodo", "!()"), 2);
        check(leftovers, "a.rs", "let all_done = true;", 0);
    }

    #[test]
    fn modules_need_an_opening() {
        check(module_docs, "crates/a/src/lib.rs", "use x;", 1);
        check(module_docs, "crates/a/src/lib.rs", "//! What it is.", 0);
        check(
            module_docs,
            "crates/a/src/method.rs",
            concat!("// GENER", "ATED by us\nuse x;"),
            0,
        );
        check(module_docs, "crates/a/tests/b.rs", "use x;", 0);
    }

    #[test]
    fn long_files_are_found() {
        check(length, "a.rs", &"x\n".repeat(LINES_MAX), 0);
        check(length, "a.rs", &"x\n".repeat(LINES_MAX + 1), 1);
        check(
            length,
            "a.rs",
            &format!("//! {}ATED by us\n{}", "GENER", "x\n".repeat(LINES_MAX + 1)),
            0,
        );
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        check(machine_paths, "a.md", concat!("see /ro", "ot/notes"), 1);
        check(machine_paths, "a.md", concat!("`/ho", "me/ann/everack`"), 1);
        check(machine_paths, "a.md", concat!("see tests/", "work/one.rs"), 0);
    }
}
