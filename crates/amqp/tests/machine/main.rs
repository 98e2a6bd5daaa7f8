//! The machine seen from outside: bytes and times in, events and bytes out. One file a property.

mod any_bytes;
mod content;
mod faults;
mod handshake;
mod liveness;
mod peer;
mod settling;
mod story;
