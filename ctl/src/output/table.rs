//! A table for people: columns aligned, as wide as the terminal allows.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::terminal::Terminal;

/// Between two columns.
const GAP: usize = 2;
/// Columns are not made narrower than this for a narrow terminal.
const NARROWEST: usize = 8;

/// Rows under headings.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    headings: Vec<Heading>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Heading {
    text: String,
    is_number: bool,
}

impl Table {
    /// A table without rows. Numbers are aligned to the right.
    pub(crate) fn new<'a>(headings: impl IntoIterator<Item = (&'a str, bool)>) -> Self {
        let heading = |(text, is_number): (&str, bool)| Heading {
            text: text.to_owned(),
            is_number,
        };
        Self {
            headings: headings.into_iter().map(heading).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row of cells that are safe to show.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The table as text, a line a row.
    pub(crate) fn render(&self, terminal: Terminal) -> String {
        let widths = self.widths(terminal.width);
        let heading: Vec<String> = self.headings.iter().map(|heading| heading.text.clone()).collect();
        let mut out = String::new();
        let first = self.line(&heading, &widths);
        if terminal.bold {
            out += &format!("\x1b[1m{first}\x1b[0m\n");
        } else {
            out += &format!("{first}\n");
        }
        for row in &self.rows {
            out += &self.line(row, &widths);
            out.push('\n');
        }
        out
    }

    /// As wide as the widest cell; if that is too much for the terminal, the widest columns give way.
    fn widths(&self, width_max: Option<usize>) -> Vec<usize> {
        let widest = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let cells = cells.map(|cell| cell.width()).max().unwrap_or(0);
            cells.max(self.headings[at].text.width())
        };
        let mut widths: Vec<usize> = (0..self.headings.len()).map(widest).collect();
        let Some(width_max) = width_max else {
            return widths;
        };
        let gaps = GAP * self.headings.len().saturating_sub(1);
        let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(width_max);
        while excess > 0 {
            let text = |at: &usize| !self.headings[*at].is_number && widths[*at] > NARROWEST;
            let Some(widest) = (0..widths.len()).filter(text).max_by_key(|at| widths[*at]) else {
                break;
            };
            widths[widest] -= 1;
            excess -= 1;
        }
        widths
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (at, (heading, width)) in self.headings.iter().zip(widths).enumerate() {
            let cell = cut(row.get(at).map_or("", String::as_str), *width);
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            let gap = if at == 0 { 0 } else { GAP };
            line.push_str(&" ".repeat(gap));
            if heading.is_number {
                line.push_str(&padding);
                line.push_str(&cell);
            } else {
                line.push_str(&cell);
                line.push_str(&padding);
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// The beginning of a text that is too wide, with a mark that something is missing.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[[&str; 2]]) -> Table {
        let mut table = Table::new([("name", false), ("messages", true)]);
        for row in rows {
            table.push(row.iter().map(|cell| (*cell).to_owned()).collect());
        }
        table
    }

    #[test]
    fn columns_are_aligned() {
        let check = |rows: &[[&str; 2]], terminal: Terminal, expected: &str| {
            assert_eq!(table(rows).render(terminal), expected);
        };
        check(&[], Terminal::PLAIN, "name  messages\n");
        check(
            &[["orders", "12"], ["é中", "3"]],
            Terminal::PLAIN,
            "name    messages\norders        12\né中            3\n",
        );
        let narrow = Terminal {
            width: Some(20),
            bold: true,
        };
        check(
            &[["a-very-long-name", "1"]],
            narrow,
            "\x1b[1mname        messages\x1b[0m\na-very-lo…         1\n",
        );
        let tiny = Terminal {
            width: Some(3),
            bold: false,
        };
        check(
            &[["a-very-long-name", "1"]],
            tiny,
            "name      messages\na-very-…         1\n",
        );
    }

    #[test]
    fn what_is_cut_is_no_wider_than_allowed() {
        let check = |text: &str, width, expected: &str| assert_eq!(cut(text, width), expected);
        check("abc", 3, "abc");
        check("abcd", 3, "ab…");
        check("中中中", 4, "中…");
        check("abc", 1, "…");
    }
}
