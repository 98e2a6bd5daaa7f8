//! Production nodes on a fake disk, network and clock: seed in, verdict out.
