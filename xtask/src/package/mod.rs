//! `cargo xtask package`: a Debian package of the release binary, and `--test`: installed into a clean Debian root.
//!
//! The tools are `dpkg-deb` for the one and `mmdebstrap` for the other; everything goes to `target/package`.

mod clean_root;
mod deb;

use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::tally::Tally;
use crate::{shell, workspace};

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Order {
    /// Take this binary instead of building one.
    binary: Option<PathBuf>,
    /// Install it into a clean root.
    tests: bool,
}

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let order = parse(arguments)?;
    let target = workspace::metadata()?.target_directory;
    let binary = match order.binary {
        Some(binary) => std::path::absolute(binary)?,
        None => {
            shell::run(shell::cargo().args(["build", "--release", "--package", "everack-server", "--bins"]))?;
            target.join("release/everack")
        }
    };
    let folder = target.join("package");
    let package = deb::build(&binary, &folder)?;
    println!("{}", package.display());
    if order.tests {
        clean_root::test(&package, &folder)?;
    }
    Ok(())
}

/// The package of the binary that was built for the tests, in a clean root: a step of `cargo xtask test`. Without root's rights it is
/// counted as skipped, never as passed.
pub(crate) fn check() -> anyhow::Result<Tally> {
    let target = workspace::metadata()?.target_directory;
    let folder = target.join("package");
    let package = deb::build(&target.join("debug/everack"), &folder)?;
    if !clean_root::is_possible()? {
        println!("WARNING: the package was NOT installed into a clean root: that needs root's rights");
        return Ok(Tally {
            skipped: 1,
            ..Tally::default()
        });
    }
    clean_root::test(&package, &folder)?;
    Ok(Tally::PASSED)
}

fn parse(arguments: &[String]) -> anyhow::Result<Order> {
    let mut order = Order::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match (argument.as_str(), argument.as_str() == "--binary") {
            ("--test", _) => order.tests = true,
            (_, true) => order.binary = rest.next().map(PathBuf::from),
            _ => bail!("the arguments are [--binary FILE] [--test]"),
        }
    }
    Ok(order)
}

/// Text of a file of the repository.
fn source(path: &str) -> anyhow::Result<String> {
    let path = workspace::root().join(path);
    std::fs::read_to_string(&path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

/// Makes a folder anew.
fn fresh(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(std::fs::create_dir_all(folder)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let check = |text: &str, binary: Option<&str>, tests| {
            let words: Vec<String> = text.split_whitespace().map(ToOwned::to_owned).collect();
            let binary = binary.map(PathBuf::from);
            assert_eq!(parse(&words).unwrap(), Order { binary, tests }, "{text}");
        };
        check("", None, false);
        check("--test", None, true);
        check("--binary a/b --test", Some("a/b"), true);
        assert!(parse(&["--other".to_owned()]).is_err());
    }
}
