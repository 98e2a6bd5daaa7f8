//! `everack migrate`: moves definitions and messages from a running RabbitMQ to another broker, and counts.
//!
//! | room | what it does |
//! |---|---|
//! | [`args`] | what can be asked for |
//! | [`address`], [`api`] | where a broker is; one HTTP client for management APIs |
//! | [`definitions`] | topology, users and policies from one to the other |
//! | [`plan`] | which queues are moved, and what cannot be: pure |
//! | [`journal`] | what is known of one queue's move, on disk: it outlives this process |
//! | [`reconcile`] | from journal and counts to where a move goes on: pure |
//! | [`fingerprint`] | which message is which |
//! | [`link`] | the two connections of a mover, and exact counts of queues |
//! | [`pump`] | the hot loop: consume, publish, wait for the confirm, acknowledge |
//! | [`mover`] | one queue from its count before to its count after, over broken connections |
//! | [`crew`] | several queues at once; pace and progress |
//! | [`report`] | the table, and JSON |
//!
//! One rule holds it together: **a message is acknowledged at the source only after the target has confirmed it.** So nothing can be
//! lost on the way, and what can go wrong is a message that is there twice. `reconcile` tells how that is kept out.

mod address;
mod api;
mod args;
mod crew;
mod definitions;
mod fingerprint;
mod journal;
mod link;
mod mover;
mod plan;
mod pump;
mod reconcile;
mod report;
mod run;

pub use args::Args;
pub use run::run;
