//! Metrics for Prometheus: RabbitMQ's, under the names that its dashboards query, and our own.
//!
//! | room | what it does |
//! |---|---|
//! | [`service`] | the paths, what is asked of them, and how many may ask at a time |
//! | [`census`] | how everything stands at one moment |
//! | [`page`] | the text that Prometheus reads, in both of its formats |
//! | [`metric`] | what a metric is: name, type, help, where it is read |
//! | [`rabbitmq`] | RabbitMQ's metrics |
//! | [`everack`] | ours |
//! | [`reference`](mod@reference) | the page of the guide |
//!
//! Nothing is kept between two scrapes but the height of counters, which must not fall. Nothing is counted for metrics on a message's
//! way; the disk is timed once a sync ([`crate::engine::disk_figures`]).

mod census;
mod consumers;
mod everack;
mod metric;
mod page;
mod rabbitmq;
pub(crate) mod reference;
pub(crate) mod service;
