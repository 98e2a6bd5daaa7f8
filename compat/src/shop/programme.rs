//! The programmes that play the shop: what starts each of their roles.

use crate::client::{node, python};
use crate::{binary, source, tools};
use std::path::Path;
use std::process::Command;

/// Where Debian keeps the Java client and what it needs.
const JAVA_CLASSES: [&str; 2] = ["/usr/share/java/amqp-client.jar", "/usr/share/java/slf4j-api.jar"];

/// One library or framework with its shop.
#[derive(Clone, Copy)]
pub struct Programme {
    /// The name that its authors gave it.
    pub name: &'static str,
    /// The processes that make up the shop, in the order of their start.
    pub roles: &'static [&'static str],
    /// What starts a role, without its arguments.
    pub command: fn() -> Command,
}

impl Programme {
    const fn new(name: &'static str, roles: &'static [&'static str], command: fn() -> Command) -> Self {
        Self { name, roles, command }
    }
}

/// Both sides in one process.
const SHOP: &[&str] = &["shop"];
/// One process each.
const PAIR: &[&str] = &["warehouse", "orders"];

/// All of them.
pub const ALL: &[Programme] = &[
    Programme::new("Celery", PAIR, || python("celery/shop.py")),
    Programme::new("Dramatiq", PAIR, || python("dramatiq/shop.py")),
    Programme::new("aio-pika", SHOP, || python("aio_pika/shop.py")),
    Programme::new("NestJS with a reply queue", PAIR, nest),
    Programme::new("NestJS", PAIR, || direct_reply_to(nest())),
    Programme::new("amqplib", SHOP, || node("amqplib/shop.js")),
    Programme::new("RabbitMQ Java client", SHOP, java),
    Programme::new("RabbitMQ Java client with direct reply-to", SHOP, || {
        direct_reply_to(java())
    }),
    Programme::new("bunny", SHOP, || interpreted("ruby", "bunny/shop.rb")),
    Programme::new("php-amqplib", PAIR, || interpreted("php", "php_amqplib/shop.php")),
    Programme::new("amqp091-go", SHOP, || Command::new(tools().join("go/shop"))),
    Programme::new("librabbitmq", PAIR, || {
        Command::new(tools().join("librabbitmq/shop"))
    }),
    Programme::new("lapin", SHOP, || Command::new(binary("lapin-shop"))),
    Programme::new("amqprs", SHOP, || Command::new(binary("amqprs-shop"))),
];

/// The way that answers come back where an application does not say otherwise.
fn direct_reply_to(mut command: Command) -> Command {
    command.env("SHOP_DIRECT_REPLY_TO", "1");
    command
}

/// NestJS has its own set of packages.
fn nest() -> Command {
    let mut command = node("nestjs/shop.js");
    command.env("NODE_PATH", tools().join("nestjs/node_modules"));
    command
}

fn java() -> Command {
    let classes = tools().join("java");
    let path: Vec<&Path> = std::iter::once(classes.as_path())
        .chain(JAVA_CLASSES.iter().map(Path::new))
        .collect();
    let path = std::env::join_paths(path).expect("no folder of ours has a colon in its name");
    let mut command = Command::new("java");
    // Starts in half the time: the shop lives for seconds.
    command
        .args(["-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp"])
        .arg(path)
        .arg("Shop");
    command
}

fn interpreted(interpreter: &str, script: &str) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(source(script));
    command
}
