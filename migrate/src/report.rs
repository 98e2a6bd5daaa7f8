//! What a move came to: the table for people, and JSON.

use serde_json::{Value, json};

use crate::journal::Journal;
use crate::plan::{Left, Plan, Task};

/// What one queue came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) vhost: String,
    pub(crate) queue: String,
    /// Messages of the source when its move began; `None` if it did not.
    pub(crate) source_before: Option<u64>,
    /// Messages that the target has confirmed.
    pub(crate) moved: u64,
    /// Messages of these that earlier legs have moved: the counts of the target are those of the last one.
    pub(crate) earlier: u64,
    /// Messages of these that a crash had left at the source too, and that were not published a second time.
    pub(crate) already_there: u64,
    pub(crate) source_after: Option<u64>,
    pub(crate) target_before: Option<u64>,
    pub(crate) target_after: Option<u64>,
    /// Why the numbers do not agree.
    pub(crate) problem: Option<String>,
}

impl Row {
    pub(crate) fn of(task: &Task) -> Self {
        Self {
            vhost: task.vhost.clone(),
            queue: task.queue.clone(),
            ..Self::default()
        }
    }

    /// A queue that stays where it is.
    pub(crate) fn left(left: &Left) -> Self {
        Self {
            vhost: left.vhost.clone(),
            queue: left.queue.clone(),
            source_before: Some(left.messages),
            source_after: Some(left.messages),
            problem: Some(left.why.to_owned()),
            ..Self::default()
        }
    }

    /// The numbers of a journal, with those of its earlier legs.
    pub(crate) fn take(&mut self, journal: &Journal) {
        let leg = &journal.leg;
        self.source_before = Some(leg.source_before + leg.earlier);
        self.target_before = Some(leg.target_before);
        self.earlier = leg.earlier;
        self.moved = journal.confirmed() + leg.earlier;
    }

    /// Whether all that the source had is in the target, and nothing else has come to it.
    pub(crate) fn agrees(&self) -> bool {
        let arrived = match (self.target_before, self.target_after) {
            (Some(before), Some(after)) => after.checked_sub(before),
            _ => None,
        };
        self.problem.is_none()
            && self.source_before == Some(self.moved)
            && arrived == self.moved.checked_sub(self.earlier)
            && self.source_after == Some(0)
    }

    fn verdict(&self) -> String {
        match &self.problem {
            Some(problem) => format!("NO: {problem}"),
            None if self.agrees() => "yes".to_owned(),
            None => "NO".to_owned(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "vhost": self.vhost,
            "queue": self.queue,
            "source_before": self.source_before,
            "moved": self.moved,
            "earlier": self.earlier,
            "already_there": self.already_there,
            "source_after": self.source_after,
            "target_before": self.target_before,
            "target_after": self.target_after,
            "agrees": self.agrees(),
            "problem": self.problem,
        })
    }
}

/// The sum of a column.
fn sum(rows: &[Row], column: impl Fn(&Row) -> Option<u64>) -> u64 {
    rows.iter().filter_map(column).sum()
}

/// The table of what was done.
pub(crate) fn text(rows: &[Row], notes: &[String]) -> String {
    let number = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
    let head = [
        "vhost",
        "queue",
        "before",
        "moved",
        "left",
        "target before",
        "target after",
        "agrees",
    ];
    let mut lines: Vec<Vec<String>> = vec![head.iter().map(ToString::to_string).collect()];
    for row in rows {
        lines.push(vec![
            row.vhost.clone(),
            row.queue.clone(),
            number(row.source_before),
            row.moved.to_string(),
            number(row.source_after),
            number(row.target_before),
            number(row.target_after),
            row.verdict(),
        ]);
    }
    let disagreeing = rows.iter().filter(|row| !row.agrees()).count();
    lines.push(vec![
        String::new(),
        format!("{} queues", rows.len()),
        sum(rows, |row| row.source_before).to_string(),
        sum(rows, |row| Some(row.moved)).to_string(),
        sum(rows, |row| row.source_after).to_string(),
        sum(rows, |row| row.target_before).to_string(),
        sum(rows, |row| row.target_after).to_string(),
        if disagreeing == 0 {
            "yes".to_owned()
        } else {
            format!("NO: {disagreeing} queues")
        },
    ]);
    format!("{}{}", columns(&lines, 2..7), noted(notes))
}

/// What would be done.
pub(crate) fn plan_text(plan: &Plan) -> String {
    let mut lines = vec![vec![
        "vhost".to_owned(),
        "queue".to_owned(),
        "messages".to_owned(),
        "moves".to_owned(),
    ]];
    for task in &plan.tasks {
        let (vhost, queue) = (task.vhost.clone(), task.queue.clone());
        lines.push(vec![vhost, queue, task.messages.to_string(), "yes".to_owned()]);
    }
    for left in &plan.left {
        let (vhost, queue) = (left.vhost.clone(), left.queue.clone());
        lines.push(vec![
            vhost,
            queue,
            left.messages.to_string(),
            format!("NO: {}", left.why),
        ]);
    }
    format!("{}{}", columns(&lines, 2..3), noted(&plan.notes))
}

fn noted(notes: &[String]) -> String {
    notes.iter().map(|note| format!("note: {note}\n")).collect()
}

/// Columns as wide as they must be; numbers to the right.
fn columns(lines: &[Vec<String>], numbers: std::ops::Range<usize>) -> String {
    let count = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            match () {
                () if numbers.contains(&column) => format!("{cell:>width$}"),
                () if column + 1 == count => cell.clone(),
                () => format!("{cell:<width$}"),
            }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// The same for programmes.
pub(crate) fn json(rows: &[Row], notes: &[String]) -> Value {
    json!({
        "queues": rows.iter().map(Row::json).collect::<Vec<_>>(),
        "source_before": sum(rows, |row| row.source_before),
        "moved": sum(rows, |row| Some(row.moved)),
        "source_after": sum(rows, |row| row.source_after),
        "agrees": rows.iter().all(Row::agrees),
        "notes": notes,
    })
}

/// The plan for programmes.
pub(crate) fn plan_json(plan: &Plan) -> Value {
    let task = |task: &Task| json!({ "vhost": task.vhost, "queue": task.queue, "messages": task.messages });
    let left = |left: &Left| json!({ "vhost": left.vhost, "queue": left.queue, "messages": left.messages, "why": left.why });
    json!({
        "moves": plan.tasks.iter().map(task).collect::<Vec<_>>(),
        "stays": plan.left.iter().map(left).collect::<Vec<_>>(),
        "notes": plan.notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(moved: u64, source_after: u64, target_after: u64) -> Row {
        Row {
            vhost: "/".into(),
            queue: "orders".into(),
            source_before: Some(10),
            moved,
            source_after: Some(source_after),
            target_before: Some(5),
            target_after: Some(target_after),
            ..Row::default()
        }
    }

    #[test]
    fn agreement_is_of_all_numbers() {
        assert!(row(10, 0, 15).agrees());
        assert!(!row(9, 0, 14).agrees(), "fewer moved");
        assert!(!row(11, 0, 16).agrees(), "more moved");
        assert!(!row(10, 0, 14).agrees(), "fewer in the target");
        assert!(!row(10, 0, 16).agrees(), "twice in the target");
        assert!(!row(10, 1, 15).agrees(), "left at the source");
        let problem = Some("why".to_owned());
        assert!(
            !Row {
                problem,
                ..row(10, 0, 15)
            }
            .agrees()
        );
    }

    #[test]
    fn the_table_ends_in_sums() {
        let text = text(&[row(10, 0, 15), row(10, 1, 15)], &["mind".to_owned()]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "vhost  queue     before  moved  left  target before  target after  agrees"
        );
        assert_eq!(
            lines[1],
            "/      orders        10     10     0              5            15  yes"
        );
        assert_eq!(
            lines[2],
            "/      orders        10     10     1              5            15  NO"
        );
        assert_eq!(
            lines[3],
            "       2 queues      20     20     1             10            30  NO: 1 queues"
        );
        assert_eq!(lines[4], "note: mind");
    }
}
