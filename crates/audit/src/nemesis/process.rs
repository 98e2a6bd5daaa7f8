//! A command and everything that it starts: in a session of its own, killed as a whole, and nothing left behind.
//!
//! A process is ours if it is in the command's process group, or if it carries the mark that all descendants inherit in their
//! environment: a broker that forks to the background leaves the group, but keeps the mark. Orphans become our children (we
//! are their subreaper), so that they can be waited for.

use anyhow::{Context, ensure};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper,
    set_parent_process_death_signal, setsid, test_kill_process, test_kill_process_group, waitpid,
};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The name of the mark in the environment.
const MARK: &str = "EVERACK_AUDIT_MARK";
/// How long killed processes may take to vanish; one that writes to a slow disk vanishes when the write is done.
const VANISH_MAX: Duration = Duration::from_secs(60);

/// A running command with its descendants. Dropping it kills all of them.
pub(super) struct Group {
    leader: Child,
    pid: Pid,
    mark: String,
    /// Processes beside the leader that carried the mark when they were looked for, and may still be there.
    known: Vec<Pid>,
    ended: Option<ExitStatus>,
}

impl Group {
    /// Runs a command line with `sh -c`; its output goes to the end of a file.
    ///
    /// To be called on a thread that lives as long as the group: the kernel kills the leader when that thread ends, which is what
    /// is left to do if we are killed ourselves.
    pub(super) fn start(command_line: &str, log: &Path) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        set_child_subreaper(Some(getpid())).context("cannot become the subreaper")?;
        let log = File::options().create(true).append(true).open(log)?;
        let mark = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new("sh");
        command
            .args(["-c", command_line])
            .env(MARK, &mark)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // SAFETY: between fork and exec only two system calls are made, both async-signal-safe; nothing is allocated.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                set_parent_process_death_signal(Some(Signal::KILL))?;
                Ok(())
            });
        }
        let leader = command
            .spawn()
            .with_context(|| format!("cannot run `{command_line}`"))?;
        let pid = i32::try_from(leader.id()).ok().and_then(Pid::from_raw);
        Ok(Self {
            pid: pid.context("a process has an id")?,
            leader,
            mark,
            known: Vec::new(),
            ended: None,
        })
    }

    /// How the leader ended, if it has.
    pub(super) fn leader_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.leader.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Whether any process is left, in the group or out of it.
    pub(super) fn lives(&mut self) -> bool {
        self.reap();
        self.find();
        // One that was killed carries no mark any more, and is there until it was waited for.
        self.known.retain(|pid| is_there(*pid));
        test_kill_process_group(self.pid).is_ok() || !self.known.is_empty()
    }

    /// SIGKILL to all at once.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    /// SIGSTOP.
    pub(super) fn stop(&mut self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(super) fn go_on(&mut self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM to the group only: helpers in the background end when the broker does, or are killed after it.
    pub(super) fn terminate(&mut self) {
        if kill_process_group(self.pid, Signal::TERM).is_err() {
            self.signal(Signal::TERM);
        }
    }

    fn signal(&mut self, signal: Signal) {
        // The group first, in one call: this is the moment of the crash. Who has ended already is no error.
        let _ = kill_process_group(self.pid, signal);
        self.find();
        for pid in &self.known {
            let _ = kill_process(*pid, signal);
        }
    }

    /// Looks for processes that carry the mark.
    fn find(&mut self) {
        for pid in self.marked() {
            if !self.known.contains(&pid) {
                self.known.push(pid);
            }
        }
    }

    /// Kills what is left, and waits until nothing is.
    pub(super) async fn end(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + VANISH_MAX;
        loop {
            self.kill();
            if !self.lives() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "processes of the broker cannot be killed: group {}",
                self.pid
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Takes the exit statuses of all that have ended, so that they vanish.
    fn reap(&mut self) {
        // An error means that it was waited for before.
        let _ = self.leader_ended();
        while let Ok(Some(_)) = rustix::process::waitpgid(self.pid, WaitOptions::NOHANG) {}
    }

    /// Processes beside the leader that carry our mark and have not ended, in the group or not.
    fn marked(&self) -> Vec<Pid> {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let wanted = format!("{MARK}={}", self.mark);
        let numbered = entries.flatten().filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            Pid::from_raw(pid)
        });
        numbered
            .filter(|pid| *pid != self.pid && carries(*pid, wanted.as_bytes()))
            .collect()
    }
}

/// Whether a process has this in its environment. One that has ended has none; others' environments cannot be read.
fn carries(pid: Pid, wanted: &[u8]) -> bool {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry == wanted)
}

/// Whether a process is there. An orphan of ours that has ended is waited for here, and is gone.
fn is_there(pid: Pid) -> bool {
    let waited = waitpid(Some(pid), WaitOptions::NOHANG);
    !matches!(waited, Ok(Some(_))) && test_kill_process(pid).is_ok()
}

impl Drop for Group {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        self.kill();
        while self.lives() && Instant::now() < deadline {
            self.kill();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command_line: &str) -> (tempfile::TempDir, Group) {
        let folder = tempfile::tempdir().unwrap();
        let group = Group::start(command_line, &folder.path().join("log")).unwrap();
        (folder, group)
    }

    fn wait_for(what: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !what() {
            assert!(Instant::now() < deadline, "it never happened");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn descendants_die_with_it_in_the_background_too() {
        let (folder, group) =
            run("sleep 1000 & setsid sleep 1000 & setsid sh -c 'sleep 1000; true' & echo up; wait");
        wait_for(|| fs::read_to_string(folder.path().join("log")).is_ok_and(|log| log.contains("up")));
        // One of the group, two that left it, and the child of one of these.
        wait_for(|| group.marked().len() == 4);
        let pids = group.marked();
        drop(group);
        for pid in pids {
            assert!(test_kill_process(pid).is_err(), "{pid} is left");
        }
    }

    #[test]
    fn a_leader_may_end_and_leave_the_broker() {
        let (_folder, mut group) = run("setsid sleep 1000 &");
        while group.leader_ended().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        wait_for(|| !group.marked().is_empty());
        assert!(group.lives());
        group.kill();
        while group.lives() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
