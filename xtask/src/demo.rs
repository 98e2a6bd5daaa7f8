//! `cargo xtask demo`: the README's first command. Builds what the story needs and hands over to `everack demo`.

use crate::{shell, workspace};

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    shell::run(shell::cargo().args(["build", "--release", "--package", "everack-server", "--bins"]))?;
    let everack = workspace::metadata()?.target_directory.join("release/everack");
    shell::run(shell::command(everack).arg("demo").args(arguments))
}
