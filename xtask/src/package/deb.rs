//! The package itself: a tree of files, a control file, and `dpkg-deb` over both.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::{fresh, source};
use crate::shell;

/// Scripts of the package, run as root when it comes and goes.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
/// The unit has one source, which the guide shows too.
const UNIT: &str = "docs/guide/src/everack.service";

/// Where Debian's shells look for completions.
pub(super) const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/everack"),
    ("zsh", "usr/share/zsh/vendor-completions/_everack"),
    ("fish", "usr/share/fish/vendor_completions.d/everack.fish"),
];

/// Builds the package and returns its path.
pub(super) fn build(binary: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    ensure!(
        shell::on_path("dpkg-deb"),
        "dpkg-deb is not there: a Debian machine has it"
    );
    let tree = folder.join("tree");
    fresh(&tree)?;
    let everack = tree.join("usr/bin/everack");
    place(
        &everack,
        &fs::read(binary).with_context(|| binary.display().to_string())?,
        0o755,
    )?;
    shell::run(shell::command("strip").arg("--strip-debug").arg(&everack))?;
    place(
        &tree.join("lib/systemd/system/everack.service"),
        source(UNIT)?.as_bytes(),
        0o644,
    )?;
    let config = shell::capture(shell::command(&everack).arg("config"))?;
    place(&tree.join("etc/everack/everack.toml"), config.as_bytes(), 0o640)?;
    let documents = tree.join("usr/share/doc/everack");
    place(
        &documents.join("copyright"),
        source("packaging/debian/copyright")?.as_bytes(),
        0o644,
    )?;
    place(
        &documents.join("CHANGELOG.md"),
        source("CHANGELOG.md")?.as_bytes(),
        0o644,
    )?;
    manual(&tree, &everack)?;
    let version = version(&everack)?;
    control(&tree, &version)?;
    let package = folder.join(format!("everack_{version}_{}.deb", architecture()?));
    shell::run(
        shell::command("dpkg-deb")
            .args(["--build", "--root-owner-group", "-Zxz", "-z1"])
            .arg(&tree)
            .arg(&package),
    )?;
    Ok(package)
}

/// Man pages and completions, as the binary writes them.
fn manual(tree: &Path, everack: &Path) -> anyhow::Result<()> {
    let pages = tree.join("usr/share/man/man1");
    shell::capture(shell::command(everack).arg("man").arg(&pages))?;
    let mut files = Vec::new();
    for entry in fs::read_dir(&pages)? {
        files.push(entry?.path());
    }
    // Without names and times, so that the same pages are the same bytes.
    shell::run(shell::command("gzip").arg("-9n").args(&files))?;
    for (shell_name, path) in COMPLETIONS {
        let script = shell::capture(shell::command(everack).args(["completions", shell_name]))?;
        place(&tree.join(path), script.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// What the binary says of itself, as a version of Debian's.
fn version(everack: &Path) -> anyhow::Result<String> {
    let said = shell::capture(shell::command(everack).arg("--version"))?;
    let version = said
        .split_whitespace()
        .nth(1)
        .context("`everack --version` says no version")?;
    // A pre-release is older than what it leads to.
    Ok(format!("{}-1", version.replace('-', "~")))
}

fn architecture() -> anyhow::Result<String> {
    let said = shell::capture(shell::command("dpkg").arg("--print-architecture"))?;
    Ok(said.trim().to_owned())
}

fn control(tree: &Path, version: &str) -> anyhow::Result<()> {
    let control = source("packaging/debian/control")?
        .replace("@VERSION@", version)
        .replace("@ARCHITECTURE@", &architecture()?)
        .replace("@SIZE@", &(bytes(tree)? / 1024).to_string());
    let folder = tree.join("DEBIAN");
    place(&folder.join("control"), control.as_bytes(), 0o644)?;
    place(
        &folder.join("conffiles"),
        source("packaging/debian/conffiles")?.as_bytes(),
        0o644,
    )?;
    for script in SCRIPTS {
        let text = source(&format!("packaging/debian/{script}"))?;
        place(&folder.join(script), text.as_bytes(), 0o755)?;
    }
    Ok(())
}

/// Writes a file, with the folders above it.
fn place(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder)?;
    fs::write(path, content)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// What all files of a tree take.
fn bytes(tree: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() {
            bytes(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(sum)
}
