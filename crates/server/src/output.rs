//! What goes to standard output, for commands that print and end.

use std::io::{self, Write as _};

use anyhow::Context as _;

/// Prints a text that is complete, line ends included.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    tolerate_closed_pipe(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// A reader that has seen enough, as `head` has, is no error.
pub(crate) fn tolerate_closed_pipe(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the output")
        }
        _ => Ok(()),
    }
}
