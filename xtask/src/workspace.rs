//! What the repository consists of: its root, its packages as cargo sees them, its files as git sees them.

use crate::shell;
use anyhow::Context;
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

/// Every file that is, or would be, in the repository, relative to the root: tracked ones and new ones, but nothing ignored.
pub(crate) fn files() -> anyhow::Result<Vec<PathBuf>> {
    let mut list = shell::command("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let text = shell::capture(&mut list)?;
    let mut files: Vec<PathBuf> = text
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .collect();
    files.retain(|file| root().join(file).is_file());
    files.sort();
    files.dedup();
    Ok(files)
}
