//! The checks of the queue machine: small cases by their outputs, and a long random walk beside a naive model.

mod cases;
mod harness;
mod model;
mod walk;
