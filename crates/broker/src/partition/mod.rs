//! The contents of queues: the high-rate machine.
