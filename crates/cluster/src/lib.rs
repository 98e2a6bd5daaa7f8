//! What "committed" means. Payloads are opaque.
