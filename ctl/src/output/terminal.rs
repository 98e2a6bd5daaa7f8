//! What standard output is: a terminal of some width that takes colour, or a file.

use std::io::IsTerminal as _;

/// What standard output can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// Columns of the screen; none if it is no terminal, where nothing is cut off.
    pub(crate) width: Option<usize>,
    /// Whether headings are bold.
    pub(crate) bold: bool,
}

impl Terminal {
    /// No terminal: every line is whole, and plain.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self {
        width: None,
        bold: false,
    };

    /// Standard output as it is. `NO_COLOR` and a dumb terminal are heeded.
    pub(crate) fn of_output() -> Self {
        let stdout = std::io::stdout();
        if !stdout.is_terminal() {
            return Self {
                width: None,
                bold: false,
            };
        }
        let size = rustix::termios::tcgetwinsize(&stdout);
        let width = size
            .ok()
            .map(|size| usize::from(size.ws_col))
            .filter(|width| *width > 0);
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        Self {
            width,
            bold: set("NO_COLOR").is_none() && !dumb,
        }
    }
}
