//! The command line. Every subcommand is described here and done elsewhere.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use everack_ctl::Quiet;

use crate::auth::{password, rabbitmq};
use crate::config::environment::{self, FromEnvironment};
use crate::config::{Config, Override, Sources, rabbitmq as rabbitmq_conf, render};
use crate::manual::{Completions, Manual};
use crate::output::print;
use crate::serve::{self, Broker};
use crate::{health, inspect};

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
    /// Show how a running broker is, RabbitMQ too, on a screen that is drawn over and over: rates, queues, connections, consumers.
    Top(Box<everack_ctl::top::Top>),
    /// Move definitions and messages from a running RabbitMQ to another broker, and count.
    Migrate(Box<everack_migrate::Args>),
    /// Play the order story: order services, warehouses and a broker, killed in the middle of their work.
    #[cfg(feature = "demo")]
    Demo(everack_shop::demo::Args),
    /// Ask whether a broker answers: status 0, or 1 with the reason.
    Health(health::Args),
    /// Print the configuration with all keys, their defaults and their meaning; or check a file.
    Config(ConfigArgs),
    /// Print all metrics that the broker has for Prometheus, as in the guide.
    Metrics,
    /// Read a password from standard input and print its hash, for `password_hash` in the configuration.
    HashPassword(HashPasswordArgs),
    /// Print what a shell needs to complete everack's command lines.
    Completions(Completions),
    /// Write a man page for each command.
    Man(Manual),
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
    /// The configuration file, TOML; or a rabbitmq.conf, if its name ends in .conf.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any key of the configuration, as in `--set log.level=debug`; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Heed the variables that RabbitMQ's container image knows, such as RABBITMQ_DEFAULT_USER. For containers.
    #[arg(long)]
    rabbitmq_environment: bool,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Check this file instead.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Print what a rabbitmq.conf comes to, as a file of ours; what has no counterpart is named.
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    from_rabbitmq: Option<PathBuf>,
    /// RabbitMQ's enabled_plugins file beside it: what becomes of each plugin is told in comments.
    #[arg(long, value_name = "FILE", requires = "from_rabbitmq")]
    enabled_plugins: Option<PathBuf>,
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
            Command::Top(args) => Ok(everack_ctl::top::run(&args)),
            Command::Migrate(args) => everack_migrate::run(*args),
            Command::Health(args) => health::run(&args),
            Command::Config(args) => args.run(),
            Command::Metrics => {
                print(&crate::metrics::reference::page())?;
                Ok(ExitCode::SUCCESS)
            }
            Command::HashPassword(args) => hash_password(&args),
            Command::Completions(args) => args.run(),
            Command::Man(args) => args.run(),
            #[cfg(feature = "demo")]
            Command::Demo(args) => everack_shop::demo::run(args, everack_console::story),
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
        let environment = self.environment()?;
        let mut flags = environment.flags;
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
            file: self.config.or(environment.file),
            flags,
            notes: environment.notes,
        })
    }

    fn environment(&self) -> anyhow::Result<FromEnvironment> {
        if !self.rabbitmq_environment {
            return Ok(FromEnvironment::default());
        }
        // A variable that is not UTF-8 is none of these.
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let mut variables: Vec<(String, String)> = std::env::vars_os().filter_map(text).collect();
        if let Some(file) = &self.config {
            // The flag wins, and says what kind of file it is.
            variables.retain(|(name, _)| name != "RABBITMQ_CONFIG_FILE");
            variables.push(("RABBITMQ_CONFIG_FILE".to_owned(), file.display().to_string()));
        }
        environment::read(&variables, &|path| std::fs::read_to_string(path))
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
                    ..Sources::default()
                })?;
                print(&format!("{}: no errors\n", file.display()))?;
            }
            None if self.from_rabbitmq.is_some() => self.translate()?,
            None if self.reference => print(&render::reference())?,
            None => print(&render::documented_defaults())?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn translate(&self) -> anyhow::Result<()> {
        let read = |file: &PathBuf| {
            std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
        };
        let Some(file) = &self.from_rabbitmq else {
            return Ok(());
        };
        let translation = rabbitmq_conf::translate(&read(file)?, rabbitmq_conf::memory())
            .map_err(|faults| anyhow::anyhow!("{}: {}", file.display(), faults.join("\n  ")))?;
        let plugins = self.enabled_plugins.as_ref().map(read).transpose()?;
        let told = plugins
            .map(|text| rabbitmq_conf::told_plugins(&text))
            .unwrap_or_default();
        print(&format!("{}{told}", translation.toml))?;
        if !translation.left.is_empty() {
            eprintln!(
                "everack: {} keys have no counterpart; the end of the file names them",
                translation.left.len()
            );
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a line such as `CMD ["serve", "--data", "/d"]`.
    fn words(dockerfile: &str, instruction: &str) -> Vec<String> {
        let line = dockerfile
            .lines()
            .map(str::trim_start)
            .find_map(|line| line.strip_prefix(instruction));
        let line = line.unwrap_or_else(|| panic!("the Dockerfile has no {instruction}"));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{instruction}{line}: {error}"))
    }

    #[test]
    fn the_image_runs_commands_that_there_are() {
        let dockerfile = include_str!("../../../Dockerfile");
        let entry = words(dockerfile, "ENTRYPOINT ");
        let check = |words: Vec<String>| {
            let parsed = Cli::try_parse_from(&words);
            assert!(parsed.is_ok(), "{words:?}: {:?}", parsed.err());
        };
        check(entry.into_iter().chain(words(dockerfile, "CMD ")).collect());
        let health = dockerfile
            .lines()
            .rfind(|line| line.contains("CMD ["))
            .unwrap_or_default()
            .trim_start();
        check(words(health, "CMD "));
    }
}
