//! Operating a broker from a terminal, over its management API.
//!
//! | room | what it does |
//! |---|---|
//! | [`command`] | `everack ctl`: what can be asked for, one file a group |
//! | [`rabbitmqctl`] | RabbitMQ's command line tools, under their names |
//! | [`top`] | `everack top`: a screen that shows how a broker is |
//! | [`output`] | tables for people, JSON for scripts |
//! | [`Quiet`] | a password is typed without being seen |
//!
//! Imports nothing of ours but `everack-api-client`, which asks, and speaks only RabbitMQ's API (and Everack's paths beside it), so that it works with RabbitMQ too.
//! Not responsible for what is true: the broker decides, this asks and shows.

mod command;
mod output;
mod quiet;
pub mod rabbitmqctl;
pub mod top;

pub use command::{Ctl, run};
pub use quiet::Quiet;
