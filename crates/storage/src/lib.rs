//! A durable log of opaque bytes in segment files. Knows bytes and positions only.
