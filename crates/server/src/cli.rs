//! The command line. Every subcommand is described here and done elsewhere.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::auth::{password, rabbitmq};
use crate::config::{Config, Override, Sources, render};
use crate::inspect;
use crate::output::print;
use crate::serve::{self, Broker};

/// A message broker for RabbitMQ's clients: what it has confirmed is never lost.
#[derive(Debug, Parser)]
#[command(
    name = "everack",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker.
    Serve(Serve),
    /// Look into the files of a broker that does not run, and check them.
    Inspect(inspect::Args),
    /// Load any AMQP 0-9-1 broker and measure what it costs, how fast it is and how long a message takes.
    Bench(Box<everack_bench::Args>),
    /// Kill any AMQP 0-9-1 broker under load, again and again, and say whether anything that it confirmed was lost.
    Audit(Box<everack_audit::Args>),
    /// Read a running broker through its management API, RabbitMQ and LavinMQ too, and say how it could lose messages.
    Doctor(everack_audit::doctor::Args),
    /// Operate a running broker over its management API, RabbitMQ too: list, show, declare, delete, close, export, import.
    Ctl(Box<everack_ctl::Ctl>),
    /// Move definitions and messages from a running RabbitMQ to another broker, and count.
    Migrate(Box<everack_migrate::Args>),
    /// Play the order story: order services, warehouses and a broker, killed in the middle of their work.
    #[cfg(feature = "demo")]
    Demo(everack_shop::demo::Args),
    /// Print the configuration with all keys, their defaults and their meaning; or check a file.
    Config(ConfigArgs),
    /// Print all metrics that the broker has for Prometheus, as in the guide.
    Metrics,
    /// Read a password from standard input and print its hash, for `password_hash` in the configuration.
    HashPassword(HashPasswordArgs),
    /// The order service of the demo, which starts this binary for each of its processes.
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    ShopOrderService(everack_shop::order_service::Args),
    /// The warehouse service of the demo.
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    ShopWarehouseService(everack_shop::warehouse_service::Args),
}

#[derive(Debug, Args)]
struct Serve {
    /// The directory of the broker's data [default: ./data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where to listen for AMQP clients; may be given several times [default: 127.0.0.1:5672].
    #[arg(long, value_name = "ADDR:PORT")]
    amqp: Vec<String>,
    /// Where to listen for HTTP requests, the management API; may be given several times; `off` for nowhere [default:
    /// 127.0.0.1:15672, if it is free].
    #[arg(long, value_name = "ADDR:PORT")]
    http: Vec<String>,
    /// Where to listen for scrapes of Prometheus; may be given several times; `off` for nowhere [default: 127.0.0.1:15692, if it
    /// is free].
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Vec<String>,
    /// The configuration file, TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any key of the configuration, as in `--set log.level=debug`; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Check this file instead.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Print the reference as Markdown, as in the guide.
    #[arg(long, conflicts_with = "check")]
    reference: bool,
}

#[derive(Debug, Args)]
struct HashPasswordArgs {
    /// Print a hash in RabbitMQ's format (salted SHA-256) instead, for a RabbitMQ's definitions. It protects a password far less.
    #[arg(long)]
    rabbitmq: bool,
}

impl Cli {
    /// Does what was asked for, with `B` as the broker to serve.
    pub fn run<B: Broker>(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(args) => serve::run::<B>(args.sources()?),
            Command::Inspect(args) => inspect::run(args),
            Command::Bench(args) => everack_bench::run(*args),
            Command::Audit(args) => Ok(everack_audit::run(*args)),
            Command::Doctor(args) => everack_audit::doctor::run(args),
            Command::Ctl(args) => Ok(everack_ctl::run(*args)),
            Command::Migrate(args) => everack_migrate::run(*args),
            Command::Config(args) => args.run(),
            Command::Metrics => {
                print(&crate::metrics::reference::page())?;
                Ok(ExitCode::SUCCESS)
            }
            Command::HashPassword(args) => hash_password(&args),
            #[cfg(feature = "demo")]
            Command::Demo(args) => everack_shop::demo::run(args),
            #[cfg(feature = "demo")]
            Command::ShopOrderService(args) => everack_shop::order_service::run(args),
            #[cfg(feature = "demo")]
            Command::ShopWarehouseService(args) => everack_shop::warehouse_service::run(args),
        }
    }
}

impl Serve {
    /// Flags of their own come after `--set`, so that the more particular one wins.
    fn sources(self) -> anyhow::Result<Sources> {
        let mut flags = Vec::new();
        for setting in &self.settings {
            let (key, value) = setting
                .split_once('=')
                .with_context(|| format!("--set {setting}: must be KEY=VALUE"))?;
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            flags.push(Override {
                flag: format!("--set {setting}"),
                key,
                value,
            });
        }
        if let Some(data) = &self.data {
            let data = data.to_str().context("--data: the path must be UTF-8")?;
            flags.push(Override::text("--data", "data.directory", data));
        }
        flags.extend(addresses("--amqp", "amqp.listen", &self.amqp));
        flags.extend(addresses_or_off("--http", "http.listen", &self.http));
        flags.extend(addresses_or_off("--metrics", "metrics.listen", &self.metrics));
        Ok(Sources {
            file: self.config,
            flags,
        })
    }
}

/// What a flag says that takes addresses, or `off` for none.
fn addresses_or_off(name: &str, key: &str, given: &[String]) -> Option<Override> {
    match given {
        [word] if word == "off" => Some(Override {
            flag: format!("{name} off"),
            key: key.to_owned(),
            value: "[]".to_owned(),
        }),
        given => addresses(name, key, given),
    }
}

/// What a flag that takes addresses says, if it was given.
fn addresses(name: &str, key: &str, given: &[String]) -> Option<Override> {
    if given.is_empty() {
        return None;
    }
    let list: Vec<String> = given.iter().map(|address| format!("{address:?}")).collect();
    Some(Override {
        flag: format!("{name} {}", given.join(&format!(" {name} "))),
        key: key.to_owned(),
        value: format!("[{}]", list.join(", ")),
    })
}

impl ConfigArgs {
    fn run(self) -> anyhow::Result<ExitCode> {
        match self.check {
            Some(file) => {
                Config::load(&Sources {
                    file: Some(file.clone()),
                    flags: Vec::new(),
                })?;
                print(&format!("{}: no errors\n", file.display()))?;
            }
            None if self.reference => print(&render::reference())?,
            None => print(&render::documented_defaults())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn hash_password(args: &HashPasswordArgs) -> anyhow::Result<ExitCode> {
    let mut stdin = std::io::stdin();
    let mut given = String::new();
    if stdin.is_terminal() {
        eprint!("password: ");
        let _quiet = Quiet::begin();
        stdin.read_line(&mut given).context("cannot read the password")?;
        eprintln!();
    } else {
        stdin
            .read_to_string(&mut given)
            .context("cannot read the password")?;
    }
    // The line end belongs to the terminal or to `echo`, not to the password.
    let password = given
        .strip_suffix('\n')
        .map_or(given.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    anyhow::ensure!(!password.is_empty(), "the password is empty");
    let hash = if args.rabbitmq {
        rabbitmq::hash(password.as_bytes())?
    } else {
        password::hash(password.as_bytes())?
    };
    print(&format!("{hash}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Keeps the terminal from showing what is typed, until dropped.
struct Quiet(Option<rustix::termios::Termios>);

impl Quiet {
    fn begin() -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(mut silent) = before.clone() {
            silent.local_modes.remove(LocalModes::ECHO);
            let _ = tcsetattr(&stdin, OptionalActions::Now, &silent);
        }
        Self(before)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ =
                rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, before);
        }
    }
}
