//! The border between AMQP's words and the broker's, in two files: one for each direction.

pub mod from_amqp;
pub mod to_amqp;
