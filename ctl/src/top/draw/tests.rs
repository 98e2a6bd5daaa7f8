//! Screens of every size and state, drawn into memory. What keys do to the state is tested beside the state.

use super::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use crate::top::glance::Glance;

fn scene() -> Scene {
    Scene {
        place: "http://127.0.0.1:15672 as guest".into(),
        every: Duration::from_secs(2),
        colour: false,
    }
}

fn overview() -> Value {
    json!({
        "product_name": "Everack", "product_version": "0.1.0",
        "message_stats": {"publish_details": {"rate": 12.5}, "deliver_get_details": {"rate": 11.0}},
        "queue_totals": {"messages_ready": 7, "messages_unacknowledged": 2},
        "object_totals": {"queues": 2, "consumers": 1, "connections": 3, "channels": 4},
    })
}

fn nodes(alarm: bool) -> Value {
    json!([{"mem_used": 104_857_600, "mem_limit": 1_073_741_824, "mem_alarm": alarm,
            "disk_free": 10_737_418_240_u64, "disk_free_limit": 50_331_648}])
}

fn queues() -> Value {
    json!({"filtered_count": 900, "items": [
        {"name": "orders", "vhost": "/", "messages_ready": 5, "messages_unacknowledged": 2, "consumers": 1,
         "message_stats": {"publish_details": {"rate": 12.5}}},
        {"name": "a\u{1b}[2Jb", "vhost": "shop", "messages_ready": 2},
    ]})
}

fn looked(overview: &Value, nodes: &Value) -> State {
    let mut state = State::new(None);
    let glance = Glance::of(
        overview,
        nodes,
        &json!([{"name": "shop"}]),
        queues(),
        View::Queues,
    );
    state.absorb(Ok(glance), Duration::ZERO);
    state
}

fn screen(state: &State, width: u16, height: u16, now: u64) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| scene().draw(frame, state, Duration::from_secs(now)))
        .unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y: u16| {
        (0..width)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
            .trim_end()
            .to_owned()
    };
    (0..height).map(line).collect()
}

/// What is drawn on a screen of some size; the lines are compared from the first one on.
fn check(state: &State, (width, height): (u16, u16), expected: &[&str]) {
    let lines = screen(state, width, height, 5);
    assert_eq!(&lines[..expected.len()], expected, "{}", lines.join("\n"));
}

#[test]
fn a_narrow_screen() {
    check(
        &looked(&overview(), &nodes(false)),
        (60, 10),
        &[
            "everack top  Everack 0.1.0  http://127.0.0.1:156…  every 2 s",
            "ready 7  unsettled 2  in 12.5/s  out 11.0/s  ack 0.0/s",
            "memory 100 MiB of 1.00 GiB  queues 2  consumers 1",
            "no alarm",
            "1 Queues  2 Connections  3 Consumers  2 of 900  vhost all",
            "queue                ▼ready unsettled     in/s    out/s cons",
            "orders                    5         2     12.5             1",
            "a\\u{1b}[2Jb               2",
            "",
            "q quit  ? help  / filter  v vhost  < > sort  r reverse",
        ],
    );
}

#[test]
fn a_wide_screen_has_more_columns() {
    let lines = screen(&looked(&overview(), &nodes(false)), 120, 12, 5);
    let headings = "queue                  vhost         ▼ready unsettled     in/s    out/s    ack/s cons  oldest  parked      size state";
    assert_eq!(lines[5], headings);
    assert!(
        lines[2].contains("disk 10.0 GiB free, stops at 48.0 MiB"),
        "{}",
        lines[2]
    );
}

#[test]
fn what_is_wrong_is_said() {
    let alarmed = looked(&overview(), &nodes(true));
    check(
        &alarmed,
        (80, 8),
        &["everack top  Everack 0.1.0  http://127.0.0.1:15672 as guest            every 2 s"],
    );
    assert_eq!(
        screen(&alarmed, 80, 8, 5)[3],
        "ALARM: memory; publishers are blocked"
    );
    let mut risky = overview();
    risky["no_ack"] = json!({"warned": 2});
    let risky = looked(&risky, &nodes(false));
    assert_eq!(
        screen(&risky, 100, 8, 5)[3],
        "no alarm; at risk: consumers without acknowledgement on durable queues (2 warnings)"
    );
    let mut away = looked(&overview(), &nodes(false));
    away.absorb(
        Err("http://127.0.0.1:15672 does not answer: refused".into()),
        Duration::from_secs(4),
    );
    let lines = screen(&away, 80, 10, 65);
    assert!(lines[0].ends_with("NO ANSWER for 65 s"), "{}", lines[0]);
    assert_eq!(
        lines[3],
        "http://127.0.0.1:15672 does not answer: refused; asking again"
    );
    assert!(
        lines[6].starts_with("orders"),
        "what was seen last stays: {}",
        lines[6]
    );
}

#[test]
fn a_broker_that_was_never_seen() {
    let mut state = State::new(None);
    assert!(screen(&state, 60, 8, 0)[0].ends_with("asking"));
    state.absorb(Err("nobody there".into()), Duration::ZERO);
    let lines = screen(&state, 60, 8, 3);
    assert!(lines[0].ends_with("NO ANSWER for 3 s"), "{}", lines[0]);
    assert_eq!(lines[3], "nobody there; asking again");
}

#[test]
fn keys_are_seen() {
    let typed = |keys: &str| {
        let mut state = looked(&overview(), &nodes(false));
        for c in keys.chars() {
            let _ = state.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        }
        screen(&state, 80, 20, 5)
    };
    assert_eq!(typed("/ord")[19], "filter: ord_");
    assert_eq!(typed("/ord")[7], "");
    assert!(typed(" ")[0].ends_with("PAUSED"));
    assert!(typed("v")[4].contains("vhost shop"));
    assert!(typed("2")[5].starts_with("connection "), "{}", typed("2")[5]);
    assert!(
        typed("?")
            .iter()
            .any(|line| line.contains("sort by another column"))
    );
}

#[test]
fn every_size_can_be_drawn() {
    let state = looked(&overview(), &nodes(true));
    for width in 1..130 {
        for height in [1, 2, 3, 6, 7, 8, 30] {
            assert_eq!(screen(&state, width, height, 5).len(), usize::from(height));
        }
    }
}
