//! A loss audit from outside, for any AMQP 0-9-1 broker. Imports nothing of ours, so that a shared bug cannot hide a loss.
//!
//! Publishers write down each message before they publish it and again when it is confirmed; consumers write down what
//! they got and what they acked. The verdict comes from these journals alone: what a client saw, and nothing that a
//! broker says about itself. A publish without an answer is *unknown*: it may come or not.
//!
//! Responsible for load, journals and the verdict. Starting and killing brokers is the test's part: see [`Nemesis`].

mod campaign;
mod consumer;
mod ledger;
mod message;
mod publisher;
mod verdict;

pub use campaign::{Campaign, Nemesis};
pub use ledger::{Entry, Journal, read};
pub use message::{Id, body, identify};
pub use verdict::Verdict;
