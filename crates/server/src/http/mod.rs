//! The management API over HTTP: RabbitMQ's paths and field names, so that scripts and monitors that know RabbitMQ know us.
//!
//! | room | what it does |
//! |---|---|
//! | [`listener`] | addresses, connections, their limits |
//! | [`local`] | the socket for who operates this machine |
//! | [`caller`] | who asks, and what its tags let it see |
//! | [`inquiry`] | asks the machines how they stand |
//! | [`errand`] | takes changes to the machines, and waits until they are durable |
//! | [`client`] | speaks AMQP to a session of its own, for what clients do: publish, get |
//! | [`rows`] | lists whose entries are made when they are seen |
//! | [`view`] | sorts answers, cuts them into pages, leaves columns out |
//! | [`body`] | what a request brings along |
//! | [`unread`] | what is left of a body that nobody wanted |
//! | [`refusal`] | what is answered instead, in RabbitMQ's JSON |
//! | [`api`] | one file for each resource: from reports and the topology to JSON |
//! | [`console`] | the web console beside it, and what it gets to ask with |
//!
//! What it shows comes from the catalog's snapshot and from reports that partitions and sessions give when they
//! are asked, and rates and history from what was sampled of them ([`crate::statistics`]). Not responsible for what is true, only for how it looks.

mod api;
mod body;
mod caller;
mod client;
mod console;
mod errand;
mod from_json;
pub(crate) mod inquiry;
pub mod listener;
pub(crate) mod local;
pub(crate) mod refusal;
mod rows;
mod unread;
mod view;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::Router;

pub(crate) use self::api::{cluster_name, load_definitions};

use crate::auth::Authenticator;
use crate::config::Config;
use crate::engine::Engine;
use crate::statistics::sampler::Statistics;

/// An address that the process serves, for the overview.
#[derive(Clone, Debug)]
pub struct Served {
    /// RabbitMQ's name of the protocol: `amqp`, `amqp/ssl`, `http`.
    pub protocol: &'static str,
    /// Where.
    pub address: SocketAddr,
}

/// What answers are made of.
pub(crate) struct Node {
    pub(crate) engine: Arc<Engine>,
    pub(crate) config: Arc<ArcSwap<Config>>,
    pub(crate) authenticator: Arc<Authenticator>,
    /// Taken by whoever changes what the configuration may declare, from looking at the catalog until its commands are handed over.
    pub(crate) governing: Arc<tokio::sync::Mutex<()>>,
    pub(crate) name: String,
    pub(crate) started: Instant,
    pub(crate) served: Vec<Served>,
    pub(crate) statistics: Arc<Statistics>,
}

/// The API of a node, and the console beside it.
pub(crate) fn router(node: Node) -> Router {
    let names = console::names(&node.config.load());
    console::beside(api::router(Arc::new(node)), names)
}

/// `everack@` and the machine's name, as RabbitMQ names its nodes.
pub(crate) fn node_name() -> String {
    let host = host_name().unwrap_or_default();
    let host = host.split('.').next().unwrap_or_default();
    format!("everack@{}", if host.is_empty() { "localhost" } else { host })
}

/// The machine's name, if it has one.
fn host_name() -> Option<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let host = host.trim();
    (!host.is_empty()).then(|| host.to_owned())
}
