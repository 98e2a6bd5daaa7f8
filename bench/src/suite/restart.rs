//! A large backlog of small durable messages: what it takes on the disk, and how long a broker that was killed needs to have it again.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Figures;
use super::case::Setting;
use crate::block::Block;
use crate::peer::Peer;
use crate::setup::{Options, Session};
use crate::workload::QueueKind;

const QUEUE: &str = "bench.backlog";
const BODY_BYTES: u32 = 100;
/// All of it is committed within this time, and deleted.
const WITHIN: Duration = Duration::from_secs(300);

/// Piles up `messages` at full scale, kills the broker, starts it again, and counts.
pub fn measure(peer: &mut Peer, setting: &Setting<'_>, messages: u64) -> anyhow::Result<Figures> {
    let count = setting.scaled(messages);
    let mut session = Session::open(peer.url(), Options::PLAIN)?;
    session.declare_queue(QUEUE, QueueKind::Durable, false)?;
    let block = Block::to_queue(QUEUE, BODY_BYTES, true, session.frame_max());
    session.flood(&block, count)?;
    wait_for(&mut session, count)?;
    // All of it, with what lies ready for later.
    let disk = peer.disk_bytes();
    peer.crash_and_restart()?;
    let mut session = Session::open(peer.url(), Options::PLAIN)?;
    let ready = u64::from(session.declare_queue(QUEUE, QueueKind::Durable, true)?);
    ensure!(
        ready == count,
        "{count} messages lay in the queue, and {ready} after the crash"
    );
    session.delete_queue(QUEUE)?;
    session.close();
    Ok(Figures::from([
        ("backlog_messages".to_owned(), count as f64),
        ("ready_seconds".to_owned(), peer.ready_after().as_secs_f64()),
        ("disk_bytes_per_message".to_owned(), disk as f64 / count as f64),
    ]))
}

/// A message is counted in a durable queue once it is synced.
fn wait_for(session: &mut Session, count: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let ready = u64::from(session.declare_queue(QUEUE, QueueKind::Durable, true)?);
        if ready == count {
            return Ok(());
        }
        ensure!(
            began.elapsed() < WITHIN,
            "only {ready} of {count} messages arrived"
        );
        thread::sleep(Duration::from_millis(50));
    }
}
