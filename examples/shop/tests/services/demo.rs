//! The demo's children never outlive it, however it ends.

use crate::support::bed::{becomes, die_with_test, eventually};
use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Command, Stdio};

#[tokio::test]
async fn interrupted() {
    check(Signal::INT, Some(130)).await;
}

#[tokio::test]
async fn terminated() {
    check(Signal::TERM, Some(143)).await;
}

#[tokio::test]
async fn killed() {
    check(Signal::KILL, None).await;
}

/// Ends the demo with `signal` while it waits for its broker, here a program that sleeps and says nothing.
async fn check(signal: Signal, status: Option<i32>) {
    let seconds = format!("{}.5", fastrand::u32(1_000_000..));
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop-demo"));
    let directory = tempfile::tempdir().expect("a directory");
    command.env("TMPDIR", directory.path());
    command
        .args(["--broker", &format!("sleep {seconds}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    die_with_test(&mut command);
    let mut demo = command.spawn().expect("the demo starts");
    becomes(1, async || sleepers(&seconds)).await;

    kill_process(Pid::from_child(&demo), signal).expect("the demo can be signalled");
    let ended = eventually(async || demo.try_wait().expect("the demo can be waited for")).await;
    assert_eq!(ended.code(), status);
    becomes(0, async || sleepers(&seconds)).await;
}

/// Number of processes that sleep for that long.
fn sleepers(seconds: &str) -> Result<usize> {
    let processes = std::fs::read_dir("/proc")?.flatten();
    let command_lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let wanted = format!("sleep\0{seconds}\0");
    Ok(command_lines.filter(|line| line == wanted.as_bytes()).count())
}
