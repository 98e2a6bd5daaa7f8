//! What can be asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

/// The command line of `everack migrate`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "It ends with the status
  0  the counts of all queues agree
  1  those of a queue do not
  2  nothing could be moved at all")]
pub struct Args {
    /// The management API of the broker to move away from, with an administrator's name and password.
    #[arg(long, value_name = "URL")]
    pub(crate) from: String,
    /// Its AMQP address [default: the host and login of --from, port 5672, or 5671 if that is https].
    #[arg(long, value_name = "URL")]
    pub(crate) from_amqp: Option<String>,
    /// The management API of the broker to move to.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://guest:guest@127.0.0.1:15672"
    )]
    pub(crate) to: String,
    /// Its AMQP address [default: the host and login of --to, port 5672, or 5671 if that is https].
    #[arg(long, value_name = "URL")]
    pub(crate) to_amqp: Option<String>,
    /// Certificates of the authorities that may have signed the certificates of APIs, PEM, instead of the usual ones.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// What is moved besides messages: all definitions in one import, or only virtual hosts, exchanges, queues and bindings, or
    /// nothing.
    #[arg(long, value_enum, default_value_t = Definitions::All)]
    pub(crate) definitions: Definitions,
    /// Move no messages.
    #[arg(long)]
    pub(crate) no_messages: bool,
    /// Only queues whose name matches this regular expression, found anywhere in it unless anchored with ^ and $.
    #[arg(long, value_name = "REGEX")]
    pub(crate) queues: Option<String>,
    /// Only queues of this virtual host; may be given several times.
    #[arg(long = "vhost", value_name = "NAME")]
    pub(crate) vhosts: Vec<String>,
    /// Say what would be done, and what cannot be moved; change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Where the journals of the move are kept. Give the same directory when you run it again.
    #[arg(long, value_name = "DIR", default_value = "everack-migrate")]
    pub(crate) state: PathBuf,
    /// Queues that are moved at one time.
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) parallel: u16,
    /// Messages of one queue that are on their way at one time.
    #[arg(long, value_name = "COUNT", default_value_t = 2000, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    pub(crate) window: u16,
    /// Bytes of one queue that are on their way at one time, by the average size of its messages.
    #[arg(long, value_name = "BYTES", default_value_t = 32 << 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) window_bytes: u64,
    /// The most messages a second, over all queues [default: as fast as it goes].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) pace: Option<u64>,
    /// For how many seconds a broker may be away before a queue is given up. Nothing is lost by that: run it again.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) patience: u64,
    /// Add to queues that hold messages already, of which no journal tells.
    #[arg(long)]
    pub(crate) add: bool,
    /// Where counts and journal do not fit together after a crash: go on nevertheless. Messages may come twice then; none is lost.
    #[arg(long)]
    pub(crate) accept_duplicates: bool,
    /// Print one JSON object instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is moved besides messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Definitions {
    /// Everything that the source exports.
    All,
    /// Virtual hosts, exchanges, queues and bindings.
    Topology,
    /// Nothing: they are there.
    None,
}

impl Args {
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}
