//! One broker as step functions: joins protocol, queues, log and commitment. Knows nothing of tokio, files, sockets or clocks.
//!
//! | room | what it does |
//! |---|---|
//! | [`session`] | one client connection: events to requests, notices to output |
//! | [`partition`] | the queue machine with the log in front of it |
//! | [`catalog_service`] | the topology machine with the log in front of it |
//! | [`dead_letters`] | where dead messages go: between partitions, topology and log |
//! | [`record`] | what the log's records mean, byte by byte |
//! | [`rounds`], [`commits`] | when the log is written and synced, and in which order that is told |
//! | [`recovery`] | from a checkpoint and the log behind it back to the machines |
//! | [`request`], [`notice`], [`append`], [`outbox`] | what travels between them: closed enums and plain data |
//! | [`report`], [`ledger`] | what the machines say of themselves when somebody looks |
//! | [`traces`] | which messages are followed on their way, and what is told of them |

pub mod session;

pub mod alarms;
pub mod charge;
pub mod few;
mod growth;
pub mod large;
pub mod ledger;
pub mod limits;
pub mod link;
pub mod messages;
pub mod names;
pub mod notice;
pub mod outbox;
pub mod replies;
pub mod report;
pub mod request;
pub mod shared;
pub mod tenants;
pub mod traces;

pub mod catalog_service;
pub mod dead_letters;
pub mod machine;
pub mod partition;
pub mod transaction;

pub mod append;
pub mod buffers;
pub mod commits;
pub mod opening;
pub mod pace;
pub mod progress;
pub mod recall;
pub mod record;
pub mod recovery;
pub mod rounds;
pub mod space;
pub mod upkeep;

pub mod translate;
