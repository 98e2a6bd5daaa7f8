//! Rows under column names, printed as RabbitMQ's tools print them.

use unicode_width::UnicodeWidthStr as _;

use super::cell::Cell;
use super::options::Formatter;

/// As wide as a term may be before the pretty printer breaks it.
const ERLANG_WIDTH: usize = 78;

/// What a list command found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rows {
    /// The names of the columns, in RabbitMQ's order.
    pub(super) columns: Vec<String>,
    /// A cell for each column.
    pub(super) rows: Vec<Vec<Cell>>,
    /// Whether RabbitMQ prints them one by one. Then an empty list is nothing at all, else an empty line.
    pub(super) streamed: bool,
}

impl Rows {
    /// The text of all, line ends included.
    pub(super) fn render(&self, formatter: Formatter, headers: bool) -> String {
        match formatter {
            Formatter::Table => self.table(headers),
            Formatter::Json => self.json(),
            Formatter::Csv => self.csv(),
            Formatter::Pretty => self.pretty(),
            Formatter::Erlang => self.erlang(),
        }
    }

    fn table(&self, headers: bool) -> String {
        if self.rows.is_empty() {
            return if self.streamed {
                String::new()
            } else {
                "\n".to_owned()
            };
        }
        let mut out = String::new();
        if headers {
            out += &format!("{}\n", self.columns.join("\t"));
        }
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(Cell::table).collect();
            out += &format!("{}\n", cells.join("\t"));
        }
        out
    }

    fn json(&self) -> String {
        if self.rows.is_empty() && !self.streamed {
            return "[]\n".to_owned();
        }
        let mut out = "[\n".to_owned();
        for (at, row) in self.rows.iter().enumerate() {
            let field = |(name, cell): (&String, &Cell)| {
                format!("{}:{}", serde_json::Value::from(name.as_str()), cell.json())
            };
            let fields: Vec<String> = self.columns.iter().zip(row).map(field).collect();
            let comma = if at == 0 { "" } else { "," };
            out += &format!("{comma}{{{}}}\n", fields.join(","));
        }
        out + "]\n"
    }

    fn csv(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let quoted: Vec<String> = self.columns.iter().map(|name| format!("\"{name}\"")).collect();
        let mut out = format!("{}\n", quoted.join(","));
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(Cell::csv).collect();
            out += &format!("{}\n", cells.join(","));
        }
        out
    }

    /// Lines are drawn with the terminal's other set of characters, as RabbitMQ draws them.
    fn pretty(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let cells: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(Cell::pretty).collect())
            .collect();
        let widest = |at: usize| {
            let lines = cells.iter().flat_map(|row| row[at].split('\n'));
            lines
                .map(|line| line.width())
                .max()
                .unwrap_or(0)
                .max(self.columns[at].width())
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(widest).collect();
        let rule = |[left, middle, right]: [char; 3]| {
            let bars: Vec<String> = widths.iter().map(|width| "q".repeat(width + 2)).collect();
            format!("\x1b(0{left}{}{right}\x1b(B\n", bars.join(&middle.to_string()))
        };
        let bold = |name: &String| format!("\x1b[1m{name}\x1b[0m");
        let names: Vec<(String, usize)> = self
            .columns
            .iter()
            .map(|name| (bold(name), name.width()))
            .collect();
        let mut out = rule(['l', 'w', 'k']) + &pretty_line(&names, &widths);
        for row in &cells {
            out += &rule(['t', 'n', 'u']);
            let height = row.iter().map(|cell| cell.split('\n').count()).max().unwrap_or(1);
            for at in 0..height {
                let line = |cell: &String| cell.split('\n').nth(at).unwrap_or_default().to_owned();
                let line: Vec<String> = row.iter().map(line).collect();
                let line: Vec<(String, usize)> = line
                    .into_iter()
                    .map(|text| (text.clone(), text.width()))
                    .collect();
                out += &pretty_line(&line, &widths);
            }
        }
        out + &rule(['m', 'v', 'j'])
    }

    fn erlang(&self) -> String {
        let row = |row: &Vec<Cell>| {
            let field = |(name, cell): (&String, &Cell)| format!("{{{name},{}}}", cell.erlang());
            let fields: Vec<String> = self.columns.iter().zip(row).map(field).collect();
            // What fits on a line is on one, as the pretty printer has it.
            let one_line = format!("[{}]", fields.join(","));
            if one_line.chars().count() <= ERLANG_WIDTH {
                one_line
            } else {
                format!("[{}]", fields.join(",\n  "))
            }
        };
        let rows: Vec<String> = self.rows.iter().map(row).collect();
        let one_line = format!("[{}]", rows.join(","));
        if !one_line.contains('\n') && one_line.chars().count() <= ERLANG_WIDTH {
            format!("{one_line}\n")
        } else {
            format!("[{}]\n", rows.join(",\n "))
        }
    }
}

fn pretty_line(cells: &[(String, usize)], widths: &[usize]) -> String {
    let mut out = String::new();
    for ((text, width), column) in cells.iter().zip(widths) {
        out += &format!("\x1b(0x\x1b(B {text}{} ", " ".repeat(column - width));
    }
    out + "\x1b(0x\x1b(B\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn users(rows: &[(&str, &str)], streamed: bool) -> Rows {
        let row = |(name, tag): &(&str, &str)| vec![Cell::text(name), Cell::Words(vec![(*tag).to_owned()])];
        Rows {
            columns: vec!["user".to_owned(), "tags".to_owned()],
            rows: rows.iter().map(row).collect(),
            streamed,
        }
    }

    /// What RabbitMQ 3.10.8 printed.
    #[test]
    fn users_in_all_formats() {
        let guest = users(&[("guest", "administrator")], false);
        let check = |formatter, expected: &str| assert_eq!(guest.render(formatter, true), expected);
        check(Formatter::Table, "user\ttags\nguest\t[administrator]\n");
        check(
            Formatter::Json,
            "[\n{\"user\":\"guest\",\"tags\":[\"administrator\"]}\n]\n",
        );
        check(
            Formatter::Csv,
            "\"user\",\"tags\"\n\"guest\",\"[administrator]\"\n",
        );
        check(
            Formatter::Erlang,
            "[[{user,<<\"guest\">>},{tags,[administrator]}]]\n",
        );
        check(
            Formatter::Pretty,
            "\u{1b}(0lqqqqqqqwqqqqqqqqqqqqqqqk\u{1b}(B\n\
             \u{1b}(0x\u{1b}(B \u{1b}[1muser\u{1b}[0m  \u{1b}(0x\u{1b}(B \u{1b}[1mtags\u{1b}[0m          \u{1b}(0x\u{1b}(B\n\
             \u{1b}(0tqqqqqqqnqqqqqqqqqqqqqqqu\u{1b}(B\n\
             \u{1b}(0x\u{1b}(B guest \u{1b}(0x\u{1b}(B administrator \u{1b}(0x\u{1b}(B\n\
             \u{1b}(0mqqqqqqqvqqqqqqqqqqqqqqqj\u{1b}(B\n",
        );
        assert_eq!(guest.render(Formatter::Table, false), "guest\t[administrator]\n");
    }

    #[test]
    fn nothing_in_all_formats() {
        let check = |streamed, formatter, expected: &str| {
            assert_eq!(users(&[], streamed).render(formatter, true), expected);
        };
        check(true, Formatter::Table, "");
        check(false, Formatter::Table, "\n");
        check(true, Formatter::Json, "[\n]\n");
        check(false, Formatter::Json, "[]\n");
    }

    #[test]
    fn long_terms_are_broken_as_the_pretty_printer_does() {
        let rows = Rows {
            columns: ["name", "messages", "durable", "effective_policy_of_the_queue"]
                .map(str::to_owned)
                .to_vec(),
            rows: ["quo", "stock"]
                .iter()
                .map(|name| {
                    vec![
                        Cell::text(name),
                        Cell::Plain(json!(0)),
                        Cell::Plain(json!(true)),
                        Cell::text(""),
                    ]
                })
                .collect(),
            streamed: true,
        };
        let expected = "\
[[{name,<<\"quo\">>},
  {messages,0},
  {durable,true},
  {effective_policy_of_the_queue,''}],
 [{name,<<\"stock\">>},
  {messages,0},
  {durable,true},
  {effective_policy_of_the_queue,''}]]
";
        assert_eq!(rows.render(Formatter::Erlang, true), expected);
    }
}
