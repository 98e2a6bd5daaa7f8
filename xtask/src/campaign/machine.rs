//! What machine a campaign ran on, as far as a reader needs it to judge the figures.

use crate::{shell, workspace};
use serde_json::{Value, json};
use std::fs;

/// Cores, memory, kernel, file system of the scratch folder, commit, date.
pub(crate) fn describe(scratch: &std::path::Path) -> Value {
    json!({
        "date": said("date", &["--utc", "+%F"]),
        "commit": said("git", &["rev-parse", "--short", "HEAD"]),
        "tree_is_clean": said("git", &["status", "--porcelain"]).is_empty(),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "processor": field("/proc/cpuinfo", "model name"),
        "memory": field("/proc/meminfo", "MemTotal"),
        "kernel": said("uname", &["-sr"]),
        "file_system": said("stat", &["--file-system", "--format=%T", &scratch.display().to_string()]),
    })
}

/// What a command prints, on one line; nothing where it is not there.
fn said(program: &str, arguments: &[&str]) -> String {
    let mut command = shell::command(program);
    command.current_dir(workspace::root()).args(arguments);
    shell::capture(&mut command).map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

/// The value behind `name :` in one of the kernel's files.
fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_once(':'))
        .map_or_else(String::new, |(_, value)| value.trim().to_owned())
}
