//! The order story: a shop that pays its bills with a message broker.
//!
//! Two services, each its own process, that know the broker only through a public AMQP client library:
//!
//! ```text
//! customer --HTTP--> order-service --one transaction--> orders + outbox
//!                         relay    --publish, confirm--> broker: queue shop.orders
//!                                                          | deliver
//!                    warehouse-service: ship, write it in the books, then ack
//! ```
//!
//! [`demo`] runs several of each, kills them and the broker in the middle of work, and compares what was ordered with
//! what was shipped. Nothing here is part of the broker, and nothing of the broker's code is used: what the story
//! shows is what any customer's service can have.

pub mod order;

pub mod order_service;
pub mod warehouse_service;

pub mod demo;

pub mod backoff;
pub mod broker;
pub mod database;
pub mod service;
