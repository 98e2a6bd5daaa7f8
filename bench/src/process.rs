//! What a process costs, read from `/proc`: CPU time, memory and wake-ups of it and all its descendants.

use std::collections::HashMap;
use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

/// The kernel counts process CPU time in ticks of 10 ms on every Linux we know (`USER_HZ`).
const TICKS_A_SECOND: f64 = 100.0;

/// One look at a tree of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU-seconds in user mode, including children that have ended.
    pub user_seconds: f64,
    /// CPU-seconds in the kernel.
    pub system_seconds: f64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Times that a living thread went to sleep by itself: what wake-ups cost.
    pub sleeps: u64,
}

impl Usage {
    /// User and system time together.
    pub fn cpu_seconds(&self) -> f64 {
        self.user_seconds + self.system_seconds
    }

    /// What was used since `earlier`. Memory is what there is now.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            user_seconds: self.user_seconds - earlier.user_seconds,
            system_seconds: self.system_seconds - earlier.system_seconds,
            resident_bytes: self.resident_bytes,
            sleeps: self.sleeps.saturating_sub(earlier.sleeps),
        }
    }
}

impl Usage {
    /// This and what was used later. Memory is the later one.
    pub fn plus(&self, later: &Self) -> Self {
        Self {
            user_seconds: self.user_seconds + later.user_seconds,
            system_seconds: self.system_seconds + later.system_seconds,
            resident_bytes: later.resident_bytes,
            sleeps: self.sleeps + later.sleeps,
        }
    }
}

/// What the whole machine has done: how noisy a measurement was shows here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Machine {
    /// CPU-seconds spent by anybody.
    pub busy_seconds: f64,
    /// CPU-seconds that the hypervisor gave to other machines.
    pub stolen_seconds: f64,
}

impl Machine {
    /// What was done since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            busy_seconds: self.busy_seconds - earlier.busy_seconds,
            stolen_seconds: self.stolen_seconds - earlier.stolen_seconds,
        }
    }
}

impl Machine {
    /// This and what was done later.
    pub fn plus(&self, later: &Self) -> Self {
        Self {
            busy_seconds: self.busy_seconds + later.busy_seconds,
            stolen_seconds: self.stolen_seconds + later.stolen_seconds,
        }
    }
}

/// Lets every thread of `pid` run on the first so many processors only.
pub fn bind(pid: u32, cores: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    (0..cores).for_each(|core| set.set(core));
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let name = task.file_name();
        let id = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw);
        // One that has ended meanwhile needs no processor.
        match id.map(|id| sched_setaffinity(Some(id), &set)) {
            None | Some(Ok(()) | Err(Errno::SRCH)) => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Looks at the whole machine.
pub fn machine() -> Machine {
    parse_machine(&fs::read_to_string("/proc/stat").unwrap_or_default()).unwrap_or_default()
}

/// `cpu user nice system idle iowait irq softirq steal ...`
fn parse_machine(text: &str) -> Option<Machine> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks[..] else {
        return None;
    };
    Some(Machine {
        busy_seconds: (user + nice + system + irq + softirq) / TICKS_A_SECOND,
        stolen_seconds: steal / TICKS_A_SECOND,
    })
}

/// Looks at `pid` and its descendants; `None` when there is no such process.
pub fn usage(pid: u32) -> Option<Usage> {
    let mut usage = Usage::default();
    stat(pid)?;
    for pid in tree(pid) {
        // One that ends while we look is counted by its parent from then on.
        if let Some(stat) = stat(pid) {
            usage.user_seconds += stat.user_ticks as f64 / TICKS_A_SECOND;
            usage.system_seconds += stat.system_ticks as f64 / TICKS_A_SECOND;
            usage.resident_bytes += resident_bytes(pid).unwrap_or(0);
            usage.sleeps += sleeps(pid).unwrap_or(0);
        }
    }
    Some(usage)
}

/// Resident memory of `pid` and its descendants, in bytes: the cheap part of [`usage`].
pub fn resident(pid: u32) -> u64 {
    tree(pid).into_iter().filter_map(resident_bytes).sum()
}

/// CPU-seconds of some of our own threads, to the nanosecond.
pub fn threads_cpu_seconds(thread_ids: &[u32]) -> f64 {
    let nanoseconds = |thread: &u32| -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    thread_ids.iter().filter_map(nanoseconds).sum::<f64>() / 1e9
}

struct Stat {
    parent: u32,
    user_ticks: u64,
    system_ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (name) state ppid ...`; the name may hold spaces and parentheses, so fields are counted behind the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: number(1)? as u32,
        user_ticks: number(11)? + number(13)?,
        system_ticks: number(12)? + number(14)?,
    })
}

/// `pid` and all its descendants.
fn tree(pid: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let Ok(entries) = fs::read_dir("/proc") else {
        return vec![pid];
    };
    for entry in entries.flatten() {
        if let Some(child) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some(stat) = stat(child)
        {
            children.entry(stat.parent).or_default().push(child);
        }
    }
    let mut tree = vec![pid];
    let mut next = 0;
    while let Some(parent) = tree.get(next) {
        tree.extend(children.remove(parent).unwrap_or_default());
        next += 1;
    }
    tree
}

fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status_number(&status, "VmRSS:").map(|kibibytes| kibibytes * 1024)
}

fn sleeps(pid: u32) -> Option<u64> {
    let mut sleeps = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        sleeps += status_number(&status, "voluntary_ctxt_switches:").unwrap_or(0);
    }
    Some(sleeps)
}

fn status_number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat =
            parse_stat("7 (a) b (c)) S 3 1 1 0 -1 0 0 0 0 0 11 22 100 200 20 0 1 0 5").expect("it parses");
        assert_eq!((stat.parent, stat.user_ticks, stat.system_ticks), (3, 111, 222));
        assert!(parse_stat("7 (cut").is_none());
    }

    #[test]
    fn the_machine_line_is_read_by_place() {
        let machine = parse_machine("cpu  100 0 200 9 9 0 50 400 0 0\ncpu0 1").expect("it parses");
        assert_eq!(
            machine,
            Machine {
                busy_seconds: 3.5,
                stolen_seconds: 4.0
            }
        );
        assert_eq!(parse_machine("cpu 1 2"), None);
    }

    #[test]
    fn we_can_look_at_ourselves_and_our_children() {
        let mut child = std::process::Command::new("sleep")
            .arg("30")
            .spawn()
            .expect("sleep starts");
        assert!(tree(std::process::id()).contains(&child.id()));
        let usage = usage(std::process::id()).expect("we exist");
        assert!(usage.resident_bytes > 1 << 20);
        assert!(resident(child.id()) > 0);
        child.kill().expect("our child can be ended");
        child.wait().expect("our child ends");
        assert!(super::usage(child.id()).is_none());
    }
}
