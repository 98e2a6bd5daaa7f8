//! What the repository consists of: its root, its packages as cargo sees them, its files as git would see them.

use crate::shell;
use anyhow::Context;
use ignore::WalkBuilder;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The root of the repository: the parent of this package's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in a folder of the repository")
}

/// The part of `cargo metadata` that we look at.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) target_directory: PathBuf,
}

/// One package of the workspace.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// One line under `[dependencies]`, `[dev-dependencies]` or `[build-dependencies]`.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` is a normal dependency; otherwise `dev` or `build`.
    pub(crate) kind: Option<String>,
}

/// One library, binary, test or bench.
#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
    pub(crate) src_path: PathBuf,
}

impl Package {
    /// The package's folder, relative to the root of the repository.
    pub(crate) fn folder(&self) -> PathBuf {
        let folder = self.manifest_path.parent().expect("a manifest lies in a folder");
        folder.strip_prefix(root()).unwrap_or(folder).to_path_buf()
    }
}

/// The workspace's own packages.
pub(crate) fn metadata() -> anyhow::Result<Metadata> {
    let text = shell::capture(shell::cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
    serde_json::from_str(&text).context("cargo metadata printed something unexpected")
}

/// Every file that is, or would be, in the repository, relative to the root: whatever the ignore files let through. Asks no
/// git, so that the house rules hold in an unpacked archive and on a machine without git too.
pub(crate) fn files() -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut walk = WalkBuilder::new(root());
    walk.hidden(false)
        .require_git(false)
        .parents(false)
        .git_global(false);
    walk.filter_entry(|entry| entry.file_name() != ".git");
    for entry in walk.build() {
        let entry = entry.context("cannot list the repository")?;
        if entry.file_type().is_some_and(|kind| kind.is_file()) {
            let file = entry.path().strip_prefix(root());
            files.push(file.expect("the walk stays below the root").to_path_buf());
        }
    }
    files.sort();
    Ok(files)
}
