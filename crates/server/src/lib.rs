//! The process around a node: configuration, logins, sockets, signals, the log. The only crate that
//! knows tokio. Not responsible for what a broker does; that is `node` and below.

mod abort;
pub mod audit_log;
pub mod auth;
pub mod broker;
pub mod cli;
pub mod config;
pub mod data_directory;
mod engine;
pub mod health;
pub mod http;
pub mod inspect;
pub mod log;
mod manual;
mod memory;
mod metrics;
pub mod net;
mod output;
mod process;
pub mod ready;
pub mod serve;
pub mod shutdown;
pub mod signals;
mod statistics;
mod traces;
