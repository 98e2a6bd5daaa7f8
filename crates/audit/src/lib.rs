//! A loss audit from outside, for any AMQP 0-9-1 broker. Imports nothing of ours, so that a shared bug cannot hide a loss.
//!
//! Publishers write down each message before they publish it and again when it is confirmed; consumers write down what
//! they got and what they acked. The verdict comes from this journal alone: what a client saw, and nothing that a
//! broker says about itself. A publish without an answer is *unknown*: it may come or not.
//!
//! From the outside in: [`Args`] (the command line), [`run`], a campaign of [`workload`]s under the load's hands and the
//! nemesis's [`faults`], the [`journal`], the [`verdict`] over it, and the report for people.

mod args;
mod campaign;
mod load;
mod message;
mod nemesis;
mod report;
mod run;

pub mod doctor;
pub mod faults;
pub mod journal;
pub mod verdict;
pub mod workload;

pub use args::Args;
pub use message::{Id, body, identify};
pub use run::run;
