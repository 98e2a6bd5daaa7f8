//! The screen, drawn from what the state says: six lines about the broker, the rows, a line of keys. Whatever does not fit is left
//! out, so that every size works.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::glance::Head;
use super::state::State;
use super::view::{Column, View};
use crate::output::cell::{bytes_text, safe, text};
use crate::output::field;
use crate::output::table::cut;

/// Lines that are not rows: above them, and below.
const LINES_AROUND: u16 = 7;
/// Between two parts of a line.
const GAP: &str = "  ";

const KEYS: &[(&str, &str)] = &[
    ("q, Esc", "quit"),
    ("1 2 3, Tab", "queues, connections, consumers"),
    ("< >, Left Right", "sort by another column"),
    ("r", "sort the other way round"),
    ("/", "filter by name; Enter keeps, Esc forgets it"),
    ("v", "the next virtual host, then all"),
    ("Space, p", "stand still, and go on"),
    ("Up Down, PgUp PgDn, Home End", "move"),
    ("?, h", "this help"),
];

/// Where the screen looks, and how it may look.
#[derive(Debug)]
pub(super) struct Scene {
    /// The broker's address.
    pub(super) place: String,
    /// How often it is asked.
    pub(super) every: Duration,
    /// Whether there are colours.
    pub(super) colour: bool,
}

impl Scene {
    /// Draws all of it, `now` after the start.
    pub(super) fn draw(&self, frame: &mut Frame<'_>, state: &State, now: Duration) {
        let area = frame.area();
        let width = usize::from(area.width);
        let mut lines = vec![self.title(state, now, width)];
        let head = state
            .glance
            .as_ref()
            .map(|glance| glance.head.clone())
            .unwrap_or_default();
        lines.push(Line::raw(fitted(&flow(&head), width)));
        lines.push(Line::raw(fitted(&resources(&head), width)));
        lines.push(self.warnings(state, &head, width));
        lines.push(tabs(state, width));
        let columns: Vec<&Column> = state
            .view
            .columns()
            .iter()
            .filter(|column| column.from <= area.width)
            .collect();
        lines.push(headings(state, &columns, width));
        let room = usize::from(area.height.saturating_sub(LINES_AROUND));
        lines.extend(rows(state, &columns, width, room));
        frame.render_widget(Paragraph::new(lines), area);
        let last = Rect {
            y: area.bottom().saturating_sub(1),
            height: area.height.min(1),
            ..area
        };
        frame.render_widget(Clear, last);
        frame.render_widget(Paragraph::new(footer(state, width)), last);
        if state.help {
            help(frame, area);
        }
    }

    fn title(&self, state: &State, now: Duration, width: usize) -> Line<'static> {
        let product = state
            .glance
            .as_ref()
            .map_or("", |glance| glance.head.product.as_str());
        let right = match &state.failure {
            _ if state.paused => "PAUSED".to_owned(),
            Some(_) => format!(
                "NO ANSWER for {} s",
                now.saturating_sub(state.answered_at).as_secs()
            ),
            None if state.glance.is_none() => "asking".to_owned(),
            None => format!("every {} s", self.every.as_secs_f64()),
        };
        let left = format!("everack top  {product}  {}", safe(&self.place));
        let room = width.saturating_sub(right.width() + GAP.len());
        let left = cut(&left, room);
        let between = " ".repeat(width.saturating_sub(left.width() + right.width()));
        let style = Style::new().add_modifier(Modifier::REVERSED);
        Line::styled(format!("{left}{between}{right}"), style)
    }

    /// The alarms and risks, or why nothing is known.
    fn warnings(&self, state: &State, head: &Head, width: usize) -> Line<'static> {
        let bad = self.coloured(Color::Red).add_modifier(Modifier::BOLD);
        if let Some(why) = &state.failure {
            return Line::styled(cut(&format!("{}; asking again", safe(why)), width), bad);
        }
        if state.glance.is_none() {
            return Line::raw("");
        }
        if !head.alarms.is_empty() {
            let alarms = format!("ALARM: {}; publishers are blocked", head.alarms.join(", "));
            return Line::styled(fitted(&[vec![alarms], head.risks.clone()].concat(), width), bad);
        }
        if head.risks.is_empty() {
            return Line::styled(
                fitted(&["no alarm".to_owned()], width),
                self.coloured(Color::Green),
            );
        }
        let risks = format!("no alarm; at risk: {}", head.risks.join("; "));
        Line::styled(cut(&risks, width), self.coloured(Color::Yellow))
    }

    fn coloured(&self, colour: Color) -> Style {
        if self.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }
}

fn flow(head: &Head) -> Vec<String> {
    let rates = head
        .rates
        .iter()
        .map(|(name, rate)| format!("{name} {rate:.1}/s"));
    let counts = head
        .counts
        .iter()
        .take(2)
        .map(|(name, count)| format!("{name} {count}"));
    counts.chain(rates).collect()
}

fn resources(head: &Head) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some((used, limit)) = head.memory {
        parts.push(format!("memory {} of {}", bytes_text(used), bytes_text(limit)));
    }
    if let Some((free, limit)) = head.disk {
        parts.push(format!(
            "disk {} free, stops at {}",
            bytes_text(free),
            bytes_text(limit)
        ));
    }
    parts.extend(
        head.counts
            .iter()
            .skip(2)
            .map(|(name, count)| format!("{name} {count}")),
    );
    parts
}

/// As many of the parts as there is room for, the first ones first.
fn fitted(parts: &[String], width: usize) -> String {
    let mut line = String::new();
    for part in parts {
        let gap = if line.is_empty() { "" } else { GAP };
        if line.is_empty() || line.width() + gap.len() + part.width() <= width {
            line += gap;
            line += &cut(part, width);
        }
    }
    line
}

fn tabs(state: &State, width: usize) -> Line<'static> {
    let mut spans = Vec::new();
    for (at, view) in View::ALL.into_iter().enumerate() {
        let style = if view == state.view {
            Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
        } else {
            Style::new()
        };
        spans.push(Span::styled(format!("{} {}", at + 1, view.title()), style));
        spans.push(Span::raw(GAP));
    }
    let used: usize = spans.iter().map(|span| span.content.width()).sum();
    let vhost = state.vhost.as_ref().map_or("all".to_owned(), |vhost| safe(vhost));
    let mut about = vec![shown_of(state), format!("vhost {vhost}")];
    if !state.filter.is_empty() {
        about.push(format!("filter {}", safe(&state.filter)));
    }
    spans.push(Span::raw(fitted(&about, width.saturating_sub(used))));
    Line::from(spans)
}

/// How many rows there are, and how many of them are shown, if not all.
fn shown_of(state: &State) -> String {
    let rows = state.rows().len();
    let glance = state.glance.as_ref().filter(|glance| glance.view == state.view);
    match glance {
        Some(glance) if glance.total > glance.rows.len() => format!("{rows} of {}", glance.total),
        Some(_) => format!("{rows}"),
        None => "…".to_owned(),
    }
}

fn headings(state: &State, columns: &[&Column], width: usize) -> Line<'static> {
    let (sort, descending) = state.sort();
    let heading = |column: &Column| {
        let mark = if descending { "▼" } else { "▲" };
        if column.field == sort.field {
            format!("{mark}{}", column.heading)
        } else {
            column.heading.to_owned()
        }
    };
    let cells: Vec<String> = columns.iter().map(|column| heading(column)).collect();
    Line::styled(
        aligned(columns, &cells, width),
        Style::new().add_modifier(Modifier::BOLD),
    )
}

fn rows(state: &State, columns: &[&Column], width: usize, room: usize) -> Vec<Line<'static>> {
    let rows = state.rows();
    // The marked row is always to be seen.
    let first = (state.selected + 1).saturating_sub(room);
    let line = |(at, row): (usize, &&Value)| {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| text(field(row, column.field), column.kind))
            .collect();
        let marked = at == state.selected;
        let style = if marked {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new()
        };
        Line::styled(aligned(columns, &cells, width), style)
    };
    rows.iter().enumerate().skip(first).take(room).map(line).collect()
}

/// One row of cells: numbers to the right, and the first column as wide as the others leave it.
fn aligned(columns: &[&Column], cells: &[String], width: usize) -> String {
    let others: usize = columns.iter().map(|column| usize::from(column.width) + 1).sum();
    let mut line = String::new();
    for (at, (column, cell)) in columns.iter().zip(cells).enumerate() {
        let room = if at == 0 {
            (width + 1).saturating_sub(others)
        } else {
            usize::from(column.width)
        };
        let cell = cut(cell, room);
        let padding = " ".repeat(room.saturating_sub(cell.width()));
        line += if at == 0 { "" } else { " " };
        line += &if column.kind.is_number() {
            padding + &cell
        } else {
            cell + &padding
        };
    }
    line
}

fn footer(state: &State, width: usize) -> Line<'static> {
    if state.is_typing() {
        // What was typed last is to be seen.
        let typed: Vec<char> = safe(&state.filter).chars().collect();
        let from = typed.len().saturating_sub(width.saturating_sub(10));
        return Line::raw(format!("filter: {}_", typed[from..].iter().collect::<String>()));
    }
    let keys = [
        "q quit",
        "? help",
        "/ filter",
        "v vhost",
        "< > sort",
        "r reverse",
        "space pause",
        "tab next list",
    ];
    let style = Style::new().add_modifier(Modifier::DIM);
    Line::styled(fitted(&keys.map(str::to_owned), width), style)
}

/// All keys, over the middle of the screen.
fn help(frame: &mut Frame<'_>, area: Rect) {
    let lines: Vec<Line<'_>> = KEYS
        .iter()
        .map(|(keys, what)| Line::raw(format!(" {keys:30}{what}")))
        .collect();
    let height = (lines.len() as u16 + 2).min(area.height);
    let width = 78.min(area.width);
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let frame_of_it = ratatui::widgets::Block::bordered().title(" keys; any of them goes on ");
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(frame_of_it), place);
}

#[cfg(test)]
mod tests;
