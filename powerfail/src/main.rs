//! The command line of the power-failing file system: `mount` serves one, `ctl` commands it, `campaign` runs
//! a broker on many. Everything is done elsewhere.

use anyhow::bail;
use clap::{Args, Parser, Subcommand};
use everack_powerfail::campaign::Campaign;
use everack_powerfail::control::{self, Answer, Request};
use everack_powerfail::disk::{Model, Outcome, Settings};
use everack_powerfail::{Mode, Mounted};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, setsid};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How long a file system in the background may take to come up.
const START_MAX: Duration = Duration::from_secs(20);

/// A file system for tests that loses power, runs full, fails, tears, rots, dawdles and lies. Needs root and /dev/fuse.
#[derive(Parser)]
#[command(
    name = "powerfail",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Serve an empty file system until SIGTERM, SIGINT or `ctl stop`.
    Mount(Mount),
    /// Command a mounted file system; the answer is one line of JSON.
    Ctl(Ctl),
    /// Cut the power of a real broker again and again under load, and judge what it kept.
    Campaign(Box<Campaign>),
}

#[derive(Args)]
struct Mount {
    /// An empty folder for the durable bytes. It is emptied at the end: the file system lives as long as its process.
    #[arg(long, value_name = "DIR")]
    backing: PathBuf,
    /// Where to mount.
    #[arg(long, value_name = "MOUNTPOINT")]
    at: PathBuf,
    /// Where to listen for `ctl`.
    #[arg(long, value_name = "SOCKET")]
    control: PathBuf,
    /// How to behave from the start, as in `ctl set`; may be given several times.
    #[arg(long, value_name = "MODE")]
    mode: Vec<Mode>,
    /// What a power cut may take.
    #[arg(long, value_enum, default_value_t)]
    model: Model,
    /// MiB that may be unsynced before the oldest file is written back.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    unsynced_max: u64,
    /// Serve in the background; returns once the file system is there. Complaints go to SOCKET with the ending `log`.
    #[arg(long)]
    daemon: bool,
}

#[derive(Args)]
struct Ctl {
    /// Where the file system listens.
    #[arg(long, value_name = "SOCKET")]
    control: PathBuf,
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand)]
enum Order {
    /// The power goes: every call answers EIO until `cut`. Needed where the program still runs when it happens.
    Off,
    /// The power goes and comes back: what was not synced is lost, as the outcome says; every open handle is dead.
    Cut {
        /// What decides everything that is left to chance.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Without one the seed picks: neighbouring seeds go through all four.
        #[arg(long, value_enum)]
        outcome: Option<Outcome>,
    },
    /// Behave like this from now on: normal, lying, slow:MS, slow-sync:MS, enospc:BYTES, eio:read:N, eio:write:N, eio:fsync:N, fsync-once,
    /// flip:N, flip-read:N, short:N.
    Set {
        /// Modes add up; `normal` ends them all.
        mode: Mode,
    },
    /// Turn over bits at rest.
    Flip {
        /// How many.
        bits: u64,
        /// Only in files whose path contains this.
        #[arg(long, default_value = "")]
        part: String,
        /// Which ones.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Modes, counters, what is unsynced, the longest sync.
    Status,
    /// Unmount and end.
    Stop,
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Action::Mount(mount) if mount.daemon => mount.in_background()?,
        Action::Mount(mount) => mount.serve()?,
        Action::Ctl(ctl) => ctl.run()?,
        Action::Campaign(campaign) => return Ok(judged(&campaign)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Exit status 2 if the campaign could not be run: that says nothing about the broker.
fn judged(campaign: &Campaign) -> ExitCode {
    campaign.run().unwrap_or_else(|error| {
        eprintln!("powerfail: {error:#}");
        ExitCode::from(2)
    })
}

impl Mount {
    fn serve(self) -> anyhow::Result<()> {
        // Before any thread begins, so that only the wait below gets them.
        let mut ends = SigSet::empty();
        ends.add(Signal::SIGTERM);
        ends.add(Signal::SIGINT);
        ends.thread_block()?;
        let owner = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let settings = Settings {
            backing: self.backing,
            model: self.model,
            unsynced_bytes_max: self.unsynced_max << 20,
            owner,
        };
        let mounted = Mounted::new(settings, &self.at)?;
        for mode in self.mode {
            mounted.set(mode);
        }
        control::serve(mounted.commands(), &self.control, || {
            // To ourselves: it cannot fail, and the wait below ends.
            let _ = kill(Pid::this(), Signal::SIGTERM);
        })?;
        ends.wait()?;
        drop(mounted);
        let _ = std::fs::remove_file(&self.control);
        Ok(())
    }

    /// The same command without `--daemon`, in a session of its own.
    fn in_background(self) -> anyhow::Result<()> {
        let arguments = std::env::args_os().skip(1).filter(|word| word != "--daemon");
        let mut command = Command::new(std::env::current_exe()?);
        // Of its own, so that who waits for our output does not wait for the file system to end.
        let log = self.control.with_extension("log");
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        // SAFETY: setsid is safe between fork and exec: one system call, no memory of ours is touched.
        unsafe {
            command.pre_exec(|| setsid().map(|_| ()).map_err(Into::into));
        }
        let mut child = command.spawn()?;
        let deadline = Instant::now() + START_MAX;
        while control::ask(&self.control, &Request::Status).is_err() {
            if let Some(status) = child.try_wait()? {
                let why = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("the file system did not come up: {status}\n{why}");
            }
            if Instant::now() > deadline {
                child.kill()?;
                bail!("the file system did not come up within {START_MAX:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Ctl {
    fn run(self) -> anyhow::Result<()> {
        let request = match self.order {
            Order::Off => Request::Off,
            Order::Cut { seed, outcome } => Request::Cut { seed, outcome },
            Order::Set { mode } => Request::Set(mode.to_string()),
            Order::Flip { bits, part, seed } => Request::Flip { bits, part, seed },
            Order::Status => Request::Status,
            Order::Stop => Request::Stop,
        };
        println!("{}", plain(&control::ask(&self.control, &request)?)?);
        if matches!(request, Request::Stop) {
            wait_until_gone(&self.control)?;
        }
        Ok(())
    }
}

/// The answer without its kind: whoever asked knows it.
fn plain(answer: &Answer) -> anyhow::Result<String> {
    Ok(match answer {
        Answer::Cut(cut) => serde_json::to_string(cut)?,
        Answer::Flip(flipped) => serde_json::to_string(flipped)?,
        Answer::Status(status) => serde_json::to_string(status)?,
        Answer::Stopping => "{\"stopping\":true}".to_owned(),
        Answer::Refused(why) => bail!("{why}"),
    })
}

fn wait_until_gone(control: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_MAX;
    while control.exists() {
        if Instant::now() > deadline {
            bail!("the file system did not end within {START_MAX:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
