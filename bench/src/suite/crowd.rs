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
use crate::process;
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
/// The turns of `w2`, with a console open or without. What drifts on the machine meets both kinds alike.
const TURNS: [bool; 8] = [false, true, true, false, false, true, true, false];

/// Fills the broker, looks, and measures `w2` in turns with a console open and without one.
///
/// A broker of ours samples every five seconds in all of them: it does so for ten minutes after its start, looked at or not. So the ratio
/// tells what the pages take, and `unwatched_cpu_cores`, of a broker through which nothing flows, what the samples do.
pub fn measure(peer: &Peer, setting: &Setting<'_>) -> anyhow::Result<Figures> {
    let address = peer.management().context("this broker has no management API")?;
    let (queues, count) = (setting.scaled(QUEUES), setting.scaled(CONNECTIONS));
    let crowd = connections::open(peer.url(), count)?;
    let names: Vec<String> = (0..queues).map(|number| format!("crowd.{number}")).collect();
    let mut session = Session::open(peer.url(), Options::PLAIN)?;
    session.declare_queues_without_waiting(&names, QueueKind::Durable)?;
    let waited = look(address)?;
    let unwatched_cores = cpu_cores(peer)?;
    let watched_cores = beside_console(address, || cpu_cores(peer))?;
    let watched_ratio = throughput_ratio(peer, address, setting)?;
    names.iter().try_for_each(|name| session.delete_queue(name))?;
    session.close();
    drop(crowd);
    Ok(Figures::from([
        ("queues".to_owned(), queues as f64),
        ("connections".to_owned(), count as f64),
        ("list_p50_ms".to_owned(), waited.median),
        ("list_max_ms".to_owned(), waited.max),
        ("unwatched_cpu_cores".to_owned(), unwatched_cores),
        ("watched_cpu_cores".to_owned(), watched_cores),
        ("watched_throughput_ratio".to_owned(), watched_ratio),
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

/// CPU-seconds a second that the broker takes through two refreshes while no message flows.
fn cpu_cores(peer: &Peer) -> anyhow::Result<f64> {
    let usage = || process::usage(peer.pid()).context("the broker's process is gone");
    let (before, began) = (usage()?, Instant::now());
    thread::sleep(2 * REFRESH);
    let used = usage()?.since(&before);
    Ok(used.cpu_seconds() / began.elapsed().as_secs_f64())
}

/// Messages a second with a console open, as a part of those without: the medians of their turns.
fn throughput_ratio(peer: &Peer, address: SocketAddr, setting: &Setting<'_>) -> anyhow::Result<f64> {
    let (mut alone, mut watched) = (Vec::new(), Vec::new());
    for open in TURNS {
        let turn = || throughput(peer, setting);
        if open {
            watched.push(beside_console(address, turn)?);
        } else {
            alone.push(turn()?);
        }
    }
    let median = |rates| Spread::of(rates).map(|spread| spread.median);
    Ok(median(watched).context("no turn with a console")? / median(alone).context("no turn without one")?)
}

/// Messages a second of `w2` in one turn, which lasts as long as a console waits before it asks again, so that it asks in each.
fn throughput(peer: &Peer, setting: &Setting<'_>) -> anyhow::Result<f64> {
    let workload = Workload::named("w2").context("there is no w2")?;
    let mut plan = setting.how.plan(peer.url().clone(), Some(peer.pid()))?;
    plan.duration = plan.duration.max(REFRESH);
    Ok(measure::measure(&workload, &plan)?.received_per_second)
}

/// What `work` returns while somebody has a console open.
fn beside_console<T>(address: SocketAddr, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let console = scope.spawn(|| refresh(address, &over));
        let result = work();
        over.store(true, Ordering::Relaxed);
        console.join().map_err(|_| anyhow!("the console failed"))??;
        result
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
