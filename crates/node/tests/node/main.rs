//! The node's rooms by their outputs: requests, bytes and crashes in; notices, bytes and recovered queues out.

mod addressing;
mod catalog_service;
mod delayed;
mod desk;
mod growth;
mod history;
mod holding;
mod large;
mod lifecycle;
mod parking;
mod partition;
mod patience;
mod policies;
mod priorities;
mod queue_image;
mod record;
mod recovery;
mod report;
mod sending;
mod session;
mod talk;
mod unroutable;
