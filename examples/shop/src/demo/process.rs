//! Child processes that can be killed for the story, and that never outlive it.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a child may take to end politely before it is killed.
const POLITE_MAX: Duration = Duration::from_secs(3);
/// How much of a log an error message shows.
const LOG_TAIL_BYTES: usize = 2_000;

/// What to start: a program and the arguments that come before ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its first arguments.
    pub args: Vec<OsString>,
}

impl Program {
    /// A program with its leading arguments.
    pub fn new(path: impl Into<PathBuf>, args: &[&str]) -> Self {
        Self {
            path: path.into(),
            args: args.iter().map(OsString::from).collect(),
        }
    }

    /// Splits a command line at white space; there is no quoting.
    pub fn parse(command: &str) -> Result<Self> {
        let mut words = command.split_whitespace();
        let path = words.next().context("an empty command")?;
        Ok(Self {
            path: path.into(),
            args: words.map(OsString::from).collect(),
        })
    }

    /// The same with every `{name}` in the arguments replaced.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let replace = |arg: &OsString| {
            arg.to_string_lossy()
                .replace(&format!("{{{name}}}"), value)
                .into()
        };
        Self {
            path: self.path.clone(),
            args: self.args.iter().map(replace).collect(),
        }
    }

    /// The same with one more argument.
    pub(super) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }
}

/// A running child. Dropping it kills it.
pub(super) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` in a process group of its own, so that the whole of it can be killed, with its output appended
    /// to `log`. To be called on a thread that lives as long as the child may: on Linux the child is bound to it.
    pub(super) fn start(name: &str, program: &Program, log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(&program.path);
        command
            .args(&program.args)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        die_with_parent(&mut command);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}: {}", program.path.display()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// An error, with the end of the log, when the child is no longer there although nobody has killed it.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        let log = std::fs::read(&self.log).unwrap_or_default();
        let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned();
        bail!(
            "{} ended by itself ({}). The end of {}:\n{tail}",
            self.name,
            told(status),
            self.log.display()
        );
    }

    /// Stops it in the middle of whatever it does, so that the books can be read before it is killed.
    pub(super) fn freeze(&self) -> Result<()> {
        Ok(kill_process(self.pid(), Signal::STOP)?)
    }

    /// Lets it go on, unless it is `doomed`.
    pub(super) fn thaw_unless(&self, doomed: bool) -> Result<()> {
        if doomed {
            Ok(())
        } else {
            Ok(kill_process(self.pid(), Signal::CONT)?)
        }
    }

    /// SIGKILL: nothing in it gets to run any more. Returns when it is gone.
    pub(super) fn kill(mut self) -> Result<()> {
        kill_process_group(self.pid(), Signal::KILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and kills it when it does not in time.
    pub(super) async fn end(mut self) -> Result<()> {
        kill_process(self.pid(), Signal::TERM)?;
        let deadline = Instant::now() + POLITE_MAX;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return self.kill();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Once it has been waited for, its number may belong to somebody else: then there is nothing to kill.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Has the kernel kill the child when we die in a way that leaves no time to do it ourselves.
#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    use rustix::process::{getppid, set_parent_process_death_signal};
    let parent = rustix::process::getpid();
    let bind = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // If we died before the line above, the signal will never come.
        if getppid() == Some(parent) {
            Ok(())
        } else {
            Err(std::io::Error::other("the parent is gone"))
        }
    };
    // SAFETY: between fork and exec only system calls that are async-signal-safe are made; nothing is allocated unless
    // the parent has died, in which case nobody waits for what the child does.
    unsafe {
        command.pre_exec(bind);
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_command: &mut Command) {}

fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_and_filled_in() {
        let program = Program::parse("broker serve --amqp 127.0.0.1:{port} --data {data}").unwrap();
        let filled = program.with("port", "1234").with("data", "/tmp/d").arg("--more");
        assert_eq!(
            filled,
            Program::new(
                "broker",
                &["serve", "--amqp", "127.0.0.1:1234", "--data", "/tmp/d", "--more"]
            )
        );
        assert!(Program::parse("  ").is_err());
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let sleeper = Program::new("sleep", &["1000"]);
        let process = Process::start("sleeper", &sleeper, &directory.path().join("log")).unwrap();
        let pid = process.pid();
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[test]
    fn an_early_end_is_told_with_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let complainer = Program {
            path: "sh".into(),
            args: vec!["-c".into(), "echo no disk; exit 3".into()],
        };
        let mut process = Process::start("complainer", &complainer, &directory.path().join("log")).unwrap();
        let error = loop {
            match process.check_alive() {
                Ok(()) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("exit status 3"), "{error}");
        assert!(error.contains("no disk"), "{error}");
    }
}
