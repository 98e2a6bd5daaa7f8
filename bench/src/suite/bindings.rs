//! Many bindings of one topic exchange: how long they take, what they hold, and what a message costs that is routed by them.

use std::time::Instant;

use anyhow::{Context, ensure};

use super::Figures;
use super::case::Setting;
use crate::block::{Block, Recipe, Route};
use crate::peer::Peer;
use crate::process;
use crate::setup::{Options, Session};
use crate::workload::QueueKind;

const BINDINGS: u64 = 1_000_000;
const MESSAGES: u64 = 200_000;
const EXCHANGE: &str = "bench.topics";
const QUEUE: &str = "bench.topics.all";
/// Keys that messages take in turn, spread over all bindings.
const KEYS: u64 = 4096;

/// Binds, publishes messages that each match one binding, and deletes both ends. The cost of a message is all of it: parsing,
/// routing and putting it into a transient queue.
pub fn measure(peer: &Peer, setting: &Setting<'_>) -> anyhow::Result<Figures> {
    let count = setting.scaled(BINDINGS);
    let mut session = Session::open(peer.url(), Options::PLAIN)?;
    session.declare_exchange(EXCHANGE, "topic", true)?;
    session.declare_queue(QUEUE, QueueKind::Transient, false)?;
    let before = process::usage(peer.pid()).context("the broker has ended")?;
    let began = Instant::now();
    let keys = (0..count).map(|number| format!("shop.{number}.*"));
    session.bind_without_waiting(QUEUE, EXCHANGE, keys)?;
    session.declare_queue(QUEUE, QueueKind::Transient, true)?;
    let bound = began.elapsed().as_secs_f64();
    let between = process::usage(peer.pid()).context("the broker has ended")?;
    session.flood(&block(EXCHANGE, count, session.frame_max()), MESSAGES)?;
    let ready = session.declare_queue(QUEUE, QueueKind::Transient, true)?;
    ensure!(
        u64::from(ready) == MESSAGES,
        "of {MESSAGES} messages {ready} were routed"
    );
    let after = process::usage(peer.pid()).context("the broker has ended")?;
    session.delete_queue(QUEUE)?;
    session.delete_exchange(EXCHANGE)?;
    session.close();
    let held = between.resident_bytes.saturating_sub(before.resident_bytes);
    let cpu = after.since(&between).cpu_seconds();
    Ok(Figures::from([
        ("bindings".to_owned(), count as f64),
        ("binds_per_second".to_owned(), count as f64 / bound),
        ("held_bytes_per_binding".to_owned(), held as f64 / count as f64),
        ("cpu_us_per_message".to_owned(), cpu * 1e6 / MESSAGES as f64),
    ]))
}

/// Messages that match one of so many bindings each, of `shop.<number>.created`.
pub(super) fn block(exchange: &str, bindings: u64, frame_max: u32) -> Block {
    let route = |key: u64| Route {
        exchange: exchange.to_owned(),
        // A large prime's multiples lie everywhere among the bindings.
        routing_key: format!("shop.{}.created", key * 7919 % bindings),
    };
    Block::new(&Recipe {
        sizes: vec![16],
        routes: (0..KEYS).map(route).collect(),
        frame_max,
        ..Recipe::default()
    })
}
