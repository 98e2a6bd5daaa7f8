//! Rates and history: what was counted a while ago, so that somebody who looks now sees how it changes.
//!
//! ```text
//! every 5 s   sampler ── asks partitions and sessions (http::inquiry) ──> figures ──> book: one track a thing
//! a request   book ── look ──> rate, samples, averages
//! ```
//!
//! | room | what it does |
//! |---|---|
//! | [`sampler`] | the task, and how often it samples |
//! | [`figures`] | which numbers a queue, a connection, ... has, and in which order |
//! | [`book`] | the tracks of all things |
//! | [`track`] | one thing's samples, at RabbitMQ's resolutions |
//! | [`series`] | samples at one resolution, in few bytes |
//! | [`pace`] | how fast consumers get on, without history |
//! | [`range`] | which samples somebody wants |
//!
//! Nothing here is counted for the sake of statistics: the numbers are those that machines and sockets keep anyway. What it
//! costs, and what a thing may take at most, is in docs/decisions/0027-rates-and-metrics.md. Knows nothing of JSON.

pub(crate) mod book;
pub(crate) mod figures;
mod pace;
pub(crate) mod range;
pub(crate) mod sampler;
mod series;
pub(crate) mod track;

/// Between two samples, in milliseconds; RabbitMQ's `collect_statistics_interval`.
pub(crate) const TICK_MILLIS: u64 = 5_000;

/// A moment of sampling: [`TICK_MILLIS`] since 1970.
pub(crate) type Tick = u32;
