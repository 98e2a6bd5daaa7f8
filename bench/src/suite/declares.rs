//! Durable queues: declared as fast as they can be written, and declared with each answer awaited, on ten channels at a time.

use std::time::Instant;

use anyhow::Context;

use super::Figures;
use super::case::Setting;
use crate::peer::Peer;
use crate::process;
use crate::setup::{Options, Session};
use crate::workload::QueueKind;

const QUEUES: u64 = 10_000;
/// RabbitMQ declares some two hundred a second.
const QUEUES_OF_RABBITMQ: u64 = 500;
const CHANNELS: u16 = 10;

/// Declares, and deletes what it has declared.
pub fn measure(peer: &Peer, setting: &Setting<'_>) -> anyhow::Result<Figures> {
    let full = match peer.name() {
        "rabbitmq" => QUEUES_OF_RABBITMQ,
        _ => QUEUES,
    };
    let count = setting.scaled(full);
    let mut session = Session::open(peer.url(), Options::PLAIN)?;
    let before = process::usage(peer.pid()).context("the broker has ended")?;
    let names: Vec<String> = (0..count).map(|number| format!("nowait.{number}")).collect();
    let began = Instant::now();
    session.declare_queues_without_waiting(&names, QueueKind::Durable)?;
    let nowait = began.elapsed().as_secs_f64();
    let after = process::usage(peer.pid()).context("the broker has ended")?;
    delete(&mut session, &names)?;
    let names: Vec<String> = (0..count).map(|number| format!("awaited.{number}")).collect();
    let began = Instant::now();
    session.declare_queues_over_channels(&names, QueueKind::Durable, CHANNELS)?;
    let awaited = began.elapsed().as_secs_f64();
    delete(&mut session, &names)?;
    session.close();
    let held = after.resident_bytes.saturating_sub(before.resident_bytes);
    Ok(Figures::from([
        ("queues".to_owned(), count as f64),
        ("nowait_declares_per_second".to_owned(), count as f64 / nowait),
        ("awaited_declares_per_second".to_owned(), count as f64 / awaited),
        ("held_bytes_per_queue".to_owned(), held as f64 / count as f64),
    ]))
}

fn delete(session: &mut Session, names: &[String]) -> anyhow::Result<()> {
    names.iter().try_for_each(|name| session.delete_queue(name))
}
