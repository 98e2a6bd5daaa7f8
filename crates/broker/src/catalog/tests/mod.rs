//! The machine from outside: one command in, an outcome or a refusal out.

mod authorisation;
mod bindings;
mod default_kind;
mod delayed;
mod durability;
mod exchanges;
mod government;
mod harness;
mod model;
mod no_ack_guard;
mod one_of;
mod queues;
mod together;
