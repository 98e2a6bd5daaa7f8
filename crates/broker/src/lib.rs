//! Exchanges, bindings, queues and consumers as deterministic machines.
//!
//! Two machines live here: [`catalog`] knows the topology, the users and their permissions (low rate, totally
//! ordered), [`partition`] holds the contents of queues (high rate, many instances). [`routing`] reads a snapshot of the
//! catalog. Nothing here knows IO, clocks or randomness, nor the bytes of any protocol: time, generated names and
//! stored bytes are passed in.

pub mod arguments;
pub mod catalog;
pub mod ids;
pub mod name;
pub mod partition;
pub mod ranges;
pub mod routing;
pub mod terms;
