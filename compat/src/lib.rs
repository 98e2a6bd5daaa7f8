//! Foreign clients against the real binary: starting a broker, running clients, speaking raw bytes.
//!
//! Contains none of the broker's code, so that a mistake of ours cannot agree with itself. The same tests run
//! against Debian's RabbitMQ, which proves the expectations: `COMPAT_AGAINST=rabbitmq`, or a broker that runs already:
//! `COMPAT_AGAINST=amqp://guest:guest@127.0.0.1:5672`.

pub mod broker;
pub mod certificates;
pub mod client;
pub mod control;
pub mod http;
pub mod pty;
pub mod raw;
pub mod script;
pub mod shop;
pub mod small_disk;
pub mod tls_proxy;

use std::path::PathBuf;

use libtest_mimic::Trial;

/// A test that passes unless what it does fails; then it tells all that led to it.
pub fn trial(name: impl Into<String>, act: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    Trial::test(name, || act().map_err(|error| format!("{error:#}").into()))
}

/// The build directory that the running test came out of: `target`.
fn target() -> PathBuf {
    let exe = std::env::current_exe().expect("a running test has a path");
    let deps = exe.ancestors().find(|folder| folder.ends_with("deps"));
    let profile = deps.and_then(|deps| deps.parent()).or_else(|| exe.parent());
    let target = profile.and_then(|profile| profile.parent());
    target.expect("tests run from target/PROFILE/deps").to_path_buf()
}

/// Where `cargo xtask setup` put the foreign clients.
pub fn tools() -> PathBuf {
    target().join("compat")
}

/// A file of this package.
pub fn source(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A binary of the workspace that lies beside the running test.
pub fn binary(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("a running test has a path");
    let deps = exe.parent().expect("an executable lies in a folder");
    let profile = if deps.ends_with("deps") {
        deps.parent().expect("deps lies in a folder")
    } else {
        deps
    };
    profile.join(name)
}
