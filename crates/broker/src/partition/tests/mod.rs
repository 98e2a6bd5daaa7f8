//! The checks of the queue machine: small cases by their outputs, and a long random walk beside a naive model.

mod consumers;
mod harness;
mod hearing;
mod holding;
mod levels;
mod lifecycle;
mod limits;
mod messages;
mod model;
mod patience;
mod retention;
mod retry;
mod rules;
mod schedule;
mod single;
mod steps;
mod turns;
mod upkeep;
mod walk;
