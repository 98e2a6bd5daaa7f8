//! The load: publishers and consumers that live through the broker's lives, and write down what they see.
//!
//! [`Crew`] is all of them. It is told by a [`Phase`] what to do and in which life the broker is; it never starts or ends one.

mod consumer;
mod crew;
mod gate;
mod phase;
mod probe;
mod publisher;
mod session;
mod topology;
mod transactor;

pub(crate) use crew::Crew;
pub(crate) use phase::Stage;
pub(crate) use session::connect;
pub(crate) use topology::Topology;
