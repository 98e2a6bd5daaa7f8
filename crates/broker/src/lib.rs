//! Exchanges, bindings, queues and consumers as deterministic machines. Knows nothing of IO, clocks or randomness.
