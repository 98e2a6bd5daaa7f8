//! The configuration: every key defined once (`keys`), read from a TOML file and flags (`load`),
//! refused with file, line and key (`fault`), reloaded at SIGHUP as far as a key allows, and
//! rendered as documentation (`render`). Not responsible for acting on any value.

mod check;
pub mod collector;
pub mod environment;
pub mod fault;
pub mod governing;
pub mod keys;
mod load;
pub mod rabbitmq;
pub mod render;
pub mod setting;
pub mod table;
#[cfg(test)]
mod tests;

pub use fault::Refused;
pub use keys::{Config, Traces};
#[cfg(test)]
pub(crate) use load::parse;
pub(crate) use load::without_counterpart;
pub use load::{Override, Sources};
pub(crate) use setting::DirectWrites;
pub use table::{Change, Changed};
