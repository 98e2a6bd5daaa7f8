//! What the screen shows, as a machine without a terminal: keys and answers in, what to ask for out.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;

use super::glance::Glance;
use super::view::{Column, Question, View};
use crate::output::cell::plain;
use crate::output::{compared, field};

/// Most characters of a filter.
const FILTER_CHARS_MAX: usize = 200;
/// Rows that page up and page down go over.
const PAGE: usize = 10;

/// What the screen shows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) view: View,
    /// By view: the column to sort by, and whether its greatest come first.
    sorts: [(usize, bool); View::ALL.len()],
    pub(super) vhost: Option<String>,
    pub(super) filter: String,
    /// The filter as it was before it was being typed.
    typing: Option<String>,
    pub(super) paused: bool,
    pub(super) help: bool,
    /// The row that is marked.
    pub(super) selected: usize,
    /// The last answer.
    pub(super) glance: Option<Glance>,
    /// Why there is no newer one.
    pub(super) failure: Option<String>,
    /// When the last answer came, since the start.
    pub(super) answered_at: Duration,
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// To go on.
    Stay,
    /// To end.
    Quit,
}

impl State {
    pub(super) fn new(vhost: Option<String>) -> Self {
        Self {
            view: View::Queues,
            sorts: View::ALL.map(View::first_sort),
            vhost,
            filter: String::new(),
            typing: None,
            paused: false,
            help: false,
            selected: 0,
            glance: None,
            failure: None,
            answered_at: Duration::ZERO,
        }
    }

    /// Takes an answer, or why there is none. What comes while it stands still is not looked at.
    pub(super) fn absorb(&mut self, news: Result<Glance, String>, now: Duration) {
        if self.paused {
            return;
        }
        match news {
            Ok(glance) => {
                (self.glance, self.failure, self.answered_at) = (Some(glance), None, now);
                self.stay_in_rows();
            }
            Err(why) => self.failure = Some(why),
        }
    }

    /// What is to be asked for.
    pub(super) fn question(&self) -> Question {
        let (column, descending) = self.sort();
        Question {
            view: self.view,
            vhost: self.vhost.clone(),
            filter: self.filter.clone(),
            sort: column.field,
            descending,
        }
    }

    /// The column to sort by, and whether its greatest come first.
    pub(super) fn sort(&self) -> (&'static Column, bool) {
        let (at, descending) = self.sorts[self.view as usize];
        (&self.view.columns()[at], descending)
    }

    /// Whether the filter is being typed.
    pub(super) fn is_typing(&self) -> bool {
        self.typing.is_some()
    }

    /// The rows to show, in order.
    pub(super) fn rows(&self) -> Vec<&Value> {
        let Some(glance) = self.glance.as_ref().filter(|glance| glance.view == self.view) else {
            return Vec::new();
        };
        let name = self.view.columns()[0].field;
        let (column, descending) = self.sort();
        let has = |row: &&Value| field(row, name).is_some_and(|name| plain(name).contains(&self.filter));
        let mut rows: Vec<&Value> = glance.rows.iter().filter(has).collect();
        rows.sort_by(|one, other| {
            let order = compared(field(one, column.field), field(other, column.field));
            if descending { order.reverse() } else { order }
        });
        rows
    }

    /// Takes a key.
    pub(super) fn key(&mut self, key: KeyEvent) -> Wish {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c' | 'd') => Wish::Quit,
                _ => Wish::Stay,
            };
        }
        if self.is_typing() {
            self.typed(key.code);
        } else if self.help {
            self.help = false;
        } else if matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
            return Wish::Quit;
        } else {
            self.command(key.code);
        }
        self.stay_in_rows();
        Wish::Stay
    }

    fn command(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char(' ' | 'p') => self.paused = !self.paused,
            KeyCode::Char('/') => self.typing = Some(self.filter.clone()),
            KeyCode::Char('v') => self.next_vhost(),
            KeyCode::Char('r') => self.sorts[self.view as usize].1 ^= true,
            KeyCode::Char('<') | KeyCode::Left => self.sort_by_neighbour(-1),
            KeyCode::Char('>') | KeyCode::Right => self.sort_by_neighbour(1),
            KeyCode::Char(digit @ '1'..='3') => self.show(digit as usize - '1' as usize),
            KeyCode::Tab => self.show(self.view as usize + 1),
            KeyCode::BackTab => self.show(self.view as usize + View::ALL.len() - 1),
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.selected += 1,
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(PAGE),
            KeyCode::PageDown => self.selected += PAGE,
            KeyCode::Home | KeyCode::Char('g') => self.selected = 0,
            KeyCode::End | KeyCode::Char('G') => self.selected = usize::MAX,
            _ => {}
        }
    }

    fn typed(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = None,
            KeyCode::Esc => self.filter = self.typing.take().unwrap_or_default(),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if self.filter.chars().count() < FILTER_CHARS_MAX => self.filter.push(c),
            _ => {}
        }
    }

    fn show(&mut self, at: usize) {
        self.view = View::ALL[at % View::ALL.len()];
        self.selected = 0;
    }

    fn sort_by_neighbour(&mut self, step: isize) {
        let columns = self.view.columns().len();
        let (at, _) = &mut self.sorts[self.view as usize];
        *at = at.saturating_add_signed(step).min(columns - 1);
    }

    /// All virtual hosts one by one, then all together.
    fn next_vhost(&mut self) {
        let names = self
            .glance
            .as_ref()
            .map(|glance| glance.vhosts.as_slice())
            .unwrap_or_default();
        let next = match &self.vhost {
            None => 0,
            Some(name) => names
                .iter()
                .position(|other| other == name)
                .map_or(names.len(), |at| at + 1),
        };
        self.vhost = names.get(next).cloned();
        self.selected = 0;
    }

    fn stay_in_rows(&mut self) {
        self.selected = self.selected.min(self.rows().len().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state() -> State {
        let mut state = State::new(None);
        let rows = json!([
            {"name": "orders", "messages_ready": 3, "consumers": 1},
            {"name": "invoices", "messages_ready": 12},
            {"name": "orders.late", "messages_ready": 5, "consumers": 2},
        ]);
        let vhosts = json!([{"name": "/"}, {"name": "shop"}]);
        let glance = Glance::of(&json!({}), &json!([]), &vhosts, rows, View::Queues);
        state.absorb(Ok(glance), Duration::from_secs(1));
        state
    }

    /// Types keys; `^` before a letter holds control, `\n` is enter, `\u{8}` backspace, `\u{1b}` escape, `\t` tab, `↓` and `→` arrows.
    fn press(state: &mut State, keys: &str) -> Wish {
        let mut wish = Wish::Stay;
        let mut modifiers = KeyModifiers::NONE;
        for c in keys.chars() {
            let code = match c {
                '^' => {
                    modifiers = KeyModifiers::CONTROL;
                    continue;
                }
                '\n' => KeyCode::Enter,
                '\u{8}' => KeyCode::Backspace,
                '\u{1b}' => KeyCode::Esc,
                '\t' => KeyCode::Tab,
                '↓' => KeyCode::Down,
                '→' => KeyCode::Right,
                c => KeyCode::Char(c),
            };
            wish = state.key(KeyEvent::new(code, modifiers));
            modifiers = KeyModifiers::NONE;
        }
        wish
    }

    fn names(state: &State) -> Vec<&str> {
        state
            .rows()
            .iter()
            .map(|row| row["name"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn rows_are_sorted_and_filtered_by_keys() {
        let check = |keys: &str, expected: &[&str]| {
            let mut state = state();
            press(&mut state, keys);
            assert_eq!(names(&state), expected, "{keys:?}");
        };
        check("", &["invoices", "orders.late", "orders"]);
        check("r", &["orders", "orders.late", "invoices"]);
        check("<<", &["orders.late", "orders", "invoices"]);
        check("<<<<<r", &["invoices", "orders", "orders.late"]);
        check("→→→→→", &["orders.late", "orders", "invoices"]);
        check("/ord\n", &["orders.late", "orders"]);
        check("/ordx\u{8}", &["orders.late", "orders"]);
        check("/ord\u{1b}", &["invoices", "orders.late", "orders"]);
        check("2", &[]);
        check("21", &["invoices", "orders.late", "orders"]);
        check("\t\t\t", &["invoices", "orders.late", "orders"]);
    }

    #[test]
    fn keys_change_what_is_asked_for() {
        let check = |keys: &str, expected: &str| {
            let mut state = state();
            press(&mut state, keys);
            let path = state.question().path();
            assert!(path.starts_with(expected), "{keys:?}: {path}");
        };
        check("", "/api/queues?sort=messages_ready&sort_reverse=true");
        check("r", "/api/queues?sort=messages_ready&sort_reverse=false");
        check("v", "/api/queues/%2F?");
        check("vv", "/api/queues/shop?");
        check("vvv", "/api/queues?");
        check("2", "/api/connections?sort=recv_oct_details.rate");
        check("3vv", "/api/consumers/shop?");
    }

    #[test]
    fn some_keys_end_it() {
        let check = |keys: &str, expected| assert_eq!(press(&mut state(), keys), expected, "{keys:?}");
        check("q", Wish::Quit);
        check("\u{1b}", Wish::Quit);
        check("^c", Wish::Quit);
        check("/q", Wish::Stay);
        check("/^c", Wish::Quit);
        check("?q", Wish::Stay);
        check("?qq", Wish::Quit);
        check("^q", Wish::Stay);
    }

    #[test]
    fn the_mark_stays_in_the_rows() {
        let check = |keys: &str, expected: usize| {
            let mut state = state();
            press(&mut state, keys);
            assert_eq!(state.selected, expected, "{keys:?}");
        };
        check("↓", 1);
        check("↓↓↓↓↓", 2);
        check("G", 2);
        check("Gk", 1);
        check("G/late\n", 0);
        check("Gv", 0);
        check("k", 0);
    }

    #[test]
    fn a_paused_screen_stands_still() {
        let mut state = state();
        press(&mut state, " ");
        state.absorb(Err("gone".into()), Duration::from_secs(2));
        assert_eq!((state.failure.as_deref(), names(&state).len()), (None, 3));
        press(&mut state, "p");
        state.absorb(Err("gone".into()), Duration::from_secs(3));
        assert_eq!(state.failure.as_deref(), Some("gone"));
        // What was seen last stays on the screen.
        assert_eq!(
            (names(&state).len(), state.answered_at),
            (3, Duration::from_secs(1))
        );
    }
}
