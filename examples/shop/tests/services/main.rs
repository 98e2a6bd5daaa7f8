//! The services as processes of their own, from outside: over HTTP, over AMQP, and by what is in their databases.
//!
//! Every test runs on SQLite and on PostgreSQL. The broker is a [`support::scripted_broker`], because a real one cannot
//! be asked to return exactly the second of three messages, or to fall silent between a publish and its confirm. The
//! story on the real broker is told by `everack demo`.

mod support;

mod orders;
mod outbox;

mod books;
mod demo;
mod warehouse;
