//! The `everack` binary.
fn main() {}
