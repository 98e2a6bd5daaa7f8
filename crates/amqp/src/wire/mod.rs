//! The bytes of AMQP 0-9-1: numbers and strings, tables, properties, frames and methods. Knows nothing of
//! what they mean for a connection; that is [`crate::connection`].

pub mod frame;
pub mod primitive;
pub mod properties;
pub mod table;

#[rustfmt::skip]
pub mod method;
