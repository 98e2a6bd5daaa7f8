//! Ten thousand queues and five thousand connections: how long somebody waits who looks at them, page by page, and what that takes from
//! the messages that flow.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::Figures;
use super::case::Setting;
use super::connections;
use super::get::get;
use crate::compare::table::Spread;
use crate::measure;
use crate::peer::Peer;
use crate::setup::{Options, Session};
use crate::workload::{QueueKind, Workload};

const QUEUES: u64 = 10_000;
const CONNECTIONS: u64 = 5_000;
/// What a console shows: an overview, and one page of each list, sorted by what is not its name.
const PAGES: [&str; 4] = [
    "/api/overview?lengths_age=600&lengths_incr=5&msg_rates_age=600&msg_rates_incr=5",
    "/api/queues?page=1&page_size=100&sort=messages&sort_reverse=true",
    "/api/connections?page=1&page_size=100&sort=recv_oct",
    "/api/channels?page=1&page_size=100",
];
const LOOKS: usize = 10;
/// A console asks again this often, as RabbitMQ's does.
const REFRESH: Duration = Duration::from_secs(5);
const TURNS: usize = 4;

/// Fills the broker, measures `w2`, looks, and measures `w2` with a console open.
pub fn measure(peer: &Peer, setting: &Setting<'_>) -> anyhow::Result<Figures> {
    let address = peer.management().context("this broker has no management API")?;
    let (queues, count) = (setting.scaled(QUEUES), setting.scaled(CONNECTIONS));
    let crowd = connections::open(peer.url(), count)?;
    let names: Vec<String> = (0..queues).map(|number| format!("crowd.{number}")).collect();
    let mut session = Session::open(peer.url(), Options::PLAIN)?;
    session.declare_queues_without_waiting(&names, QueueKind::Durable)?;
    // Nobody has asked the API yet: what it keeps for those who do costs nothing so far.
    let alone = throughput(peer, setting)?;
    let waited = look(address)?;
    let watched = watched(peer, address, setting)? / alone;
    names.iter().try_for_each(|name| session.delete_queue(name))?;
    session.close();
    drop(crowd);
    Ok(Figures::from([
        ("queues".to_owned(), queues as f64),
        ("connections".to_owned(), count as f64),
        ("list_p50_ms".to_owned(), waited.median),
        ("list_max_ms".to_owned(), waited.max),
        ("watched_throughput_ratio".to_owned(), watched),
    ]))
}

/// Milliseconds that a page took.
fn look(address: SocketAddr) -> anyhow::Result<Spread> {
    let mut waited = Vec::new();
    for _ in 0..LOOKS {
        for page in PAGES {
            let began = Instant::now();
            get(address, page)?;
            waited.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    Spread::of(waited).ok_or_else(|| anyhow!("nothing was looked at"))
}

/// Messages a second of `w2`, the median of several turns.
fn throughput(peer: &Peer, setting: &Setting<'_>) -> anyhow::Result<f64> {
    let workload = Workload::named("w2").context("there is no w2")?;
    let plan = setting.how.plan(peer.url().clone(), Some(peer.pid()))?;
    let run = |_| anyhow::Ok(measure::measure(&workload, &plan)?.received_per_second);
    let runs: Vec<f64> = (0..TURNS).map(run).collect::<Result<_, _>>()?;
    Ok(Spread::of(runs).context("nothing was measured")?.median)
}

/// The same while somebody has a console open.
fn watched(peer: &Peer, address: SocketAddr, setting: &Setting<'_>) -> anyhow::Result<f64> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let console = scope.spawn(|| refresh(address, &over));
        let rate = throughput(peer, setting);
        over.store(true, Ordering::Relaxed);
        console.join().map_err(|_| anyhow!("the console failed"))??;
        rate
    })
}

fn refresh(address: SocketAddr, over: &AtomicBool) -> anyhow::Result<()> {
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        for page in PAGES {
            get(address, page)?;
        }
        while began.elapsed() < REFRESH && !over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}
