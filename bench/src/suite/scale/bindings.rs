//! Bindings of one exchange, more and more of them: what a message costs that matches one, and what they all hold.

use anyhow::{Context, ensure};

use super::Point;
use crate::peer::Peer;
use crate::process;
use crate::setup::{Options, Session};
use crate::suite::Figures;
use crate::suite::bindings::block;
use crate::suite::case::Found;
use crate::workload::QueueKind;

const EXCHANGE: &str = "bench.scale";
const QUEUE: &str = "bench.scale.all";
/// Messages that lie in the queue together, so that they weigh little beside the bindings.
const MESSAGES: u64 = 200_000;
/// So often, as the kernel counts CPU in steps of 10 ms.
const FLOODS: u64 = 5;

/// A direct and a topic exchange, one after the other.
pub(super) fn measure(peer: &Peer, points: &[u64]) -> anyhow::Result<Found> {
    let mut found = Found {
        series: points
            .iter()
            .map(|&at| Point {
                at: at as f64,
                figures: Figures::new(),
            })
            .collect(),
        ..Found::default()
    };
    for kind in ["direct", "topic"] {
        let mut session = Session::open(peer.url(), Options::PLAIN)?;
        session.declare_exchange(EXCHANGE, kind, true)?;
        session.declare_queue(QUEUE, QueueKind::Transient, false)?;
        let mut bound = 0;
        for (&at, point) in points.iter().zip(&mut found.series) {
            let keys = (bound..at).map(|number| key(kind, number));
            session.bind_without_waiting(QUEUE, EXCHANGE, keys)?;
            session.declare_queue(QUEUE, QueueKind::Transient, true)?;
            bound = at;
            let resident = process::resident(peer.pid());
            let cpu = flood(peer, &mut session, at).with_context(|| format!("{at} bindings, {kind}"))?;
            point.figures.extend([
                (format!("{kind}_resident_bytes"), resident as f64),
                (format!("{kind}_cpu_us_per_message"), cpu),
            ]);
        }
        session.delete_queue(QUEUE)?;
        session.delete_exchange(EXCHANGE)?;
        session.close();
    }
    Ok(found)
}

/// Publishes messages that match one binding each; answers microseconds of the broker's CPU a message.
fn flood(peer: &Peer, session: &mut Session, bindings: u64) -> anyhow::Result<f64> {
    let block = block(EXCHANGE, bindings, session.frame_max());
    let look = || process::usage(peer.pid()).context("the broker has ended");
    let mut cpu_seconds = 0.0;
    for _ in 0..FLOODS {
        let before = look()?;
        session.flood(&block, MESSAGES)?;
        let ready = u64::from(session.declare_queue(QUEUE, QueueKind::Transient, true)?);
        cpu_seconds += look()?.since(&before).cpu_seconds();
        ensure!(ready == MESSAGES, "of {MESSAGES} messages {ready} were routed");
        session.purge_queue(QUEUE)?;
    }
    Ok(cpu_seconds * 1e6 / (MESSAGES * FLOODS) as f64)
}

/// What a message with the key `shop.<number>.created` matches.
fn key(kind: &str, number: u64) -> String {
    match kind {
        "topic" => format!("shop.{number}.*"),
        _ => format!("shop.{number}.created"),
    }
}
