//! `declare`: makes what is not there, and changes what may be changed.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use everack_api_client::{Failure, path};
use serde_json::{Value, json};

use super::amend::{self, Pair};
use super::connection::{ask, password_in};
use super::exit::Misused;
use super::{Context, Exit};

#[derive(Debug, Subcommand)]
pub(super) enum Declare {
    /// Make a virtual host, or say something else of it.
    Vhost(Vhost),
    /// Make a user, or change its tags and password, which is read from a file or asked for.
    User(User),
    /// Set what a user may do in the virtual host.
    Permission(Permission),
    /// Set what a user may do with a topic exchange.
    TopicPermission(TopicPermission),
    /// Set a policy.
    Policy(Policy),
    /// Set an operator policy, which bounds what policies may say.
    OperatorPolicy(Policy),
    /// Set a runtime parameter.
    Parameter(Parameter),
    /// Set a runtime parameter of the whole broker.
    GlobalParameter(GlobalParameter),
    /// Set a limit of the virtual host: `max-connections` or `max-queues`.
    VhostLimit(VhostLimit),
    /// Set a limit of a user: `max-connections` or `max-channels`.
    UserLimit(UserLimit),
    /// Make an exchange, durable unless told otherwise.
    Exchange(Exchange),
    /// Make a queue, durable unless told otherwise.
    Queue(Queue),
    /// Bind a queue or an exchange to an exchange.
    Binding(Binding),
}

#[derive(Debug, Args)]
pub(super) struct Vhost {
    /// Its name.
    name: String,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Words about it, with commas between them.
    #[arg(long, value_name = "TAGS")]
    tags: Option<String>,
    /// The type of queues that are declared without one: `classic` or `quorum`.
    #[arg(long, value_name = "TYPE")]
    default_queue_type: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct User {
    /// Its name.
    name: String,
    /// Its tags, with commas between them: `administrator`, `monitoring`, `policymaker`, `management`.
    #[arg(long, value_name = "TAGS", default_value = "")]
    tags: String,
    /// A file whose first line is the user's password; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// The hash of its password instead, as RabbitMQ or `everack hash-password` make it.
    #[arg(long, value_name = "HASH", conflicts_with = "new_password_file")]
    password_hash: Option<String>,
    /// No password: the user can log in with a certificate only.
    #[arg(long, conflicts_with_all = ["new_password_file", "password_hash"])]
    no_password: bool,
}

#[derive(Debug, Args)]
pub(super) struct Permission {
    /// The user.
    user: String,
    /// The names that it may declare and delete, a regular expression.
    #[arg(long, value_name = "REGEX")]
    configure: String,
    /// The names that it may publish to.
    #[arg(long, value_name = "REGEX")]
    write: String,
    /// The names that it may consume from.
    #[arg(long, value_name = "REGEX")]
    read: String,
}

#[derive(Debug, Args)]
pub(super) struct TopicPermission {
    /// The user.
    user: String,
    /// The exchange.
    exchange: String,
    /// The routing keys that it may publish with, a regular expression.
    #[arg(long, value_name = "REGEX")]
    write: String,
    /// The routing keys that it may bind with.
    #[arg(long, value_name = "REGEX")]
    read: String,
}

#[derive(Debug, Args)]
pub(super) struct Policy {
    /// Its name.
    name: String,
    /// The names that it applies to, a regular expression.
    pattern: String,
    /// What it sets, a JSON object such as `{"max-length": 1000}`.
    definition: String,
    /// The one with the highest priority applies.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    priority: i64,
    /// What it applies to: `all`, `queues`, `exchanges`, `classic_queues`, `quorum_queues`; operator policies: `queues`.
    #[arg(long, value_name = "KIND")]
    apply_to: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Parameter {
    /// Its component.
    component: String,
    /// Its name.
    name: String,
    /// Its value, JSON.
    value: String,
}

#[derive(Debug, Args)]
pub(super) struct GlobalParameter {
    /// Its name.
    name: String,
    /// Its value, JSON.
    value: String,
}

#[derive(Debug, Args)]
pub(super) struct VhostLimit {
    /// Which limit.
    limit: String,
    /// How many; -1 for no limit.
    #[arg(allow_negative_numbers = true)]
    value: i64,
}

#[derive(Debug, Args)]
pub(super) struct UserLimit {
    /// The user.
    user: String,
    /// Which limit.
    limit: String,
    /// How many; -1 for no limit.
    #[arg(allow_negative_numbers = true)]
    value: i64,
}

#[derive(Debug, Args)]
pub(super) struct Exchange {
    /// Its name.
    name: String,
    /// Its type: `direct`, `fanout`, `topic`, `headers`, and what the broker knows beyond these.
    #[arg(long = "type", value_name = "TYPE", default_value = "direct")]
    kind: String,
    /// It ends with the broker.
    #[arg(long)]
    transient: bool,
    /// It goes with its last binding.
    #[arg(long)]
    auto_delete: bool,
    /// Nobody publishes to it but other exchanges.
    #[arg(long)]
    internal: bool,
    /// An argument, as `alternate-exchange=lost`; may be given several times.
    #[arg(long = "argument", value_name = "KEY=VALUE", value_parser = Pair::parse)]
    arguments: Vec<Pair>,
}

#[derive(Debug, Args)]
pub(super) struct Queue {
    /// Its name.
    name: String,
    /// Its type: `classic` or `quorum`.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// It ends with the broker, and its messages with it.
    #[arg(long)]
    transient: bool,
    /// It goes with its last consumer.
    #[arg(long)]
    auto_delete: bool,
    /// An argument, as `x-max-length=1000`; may be given several times.
    #[arg(long = "argument", value_name = "KEY=VALUE", value_parser = Pair::parse)]
    arguments: Vec<Pair>,
}

#[derive(Debug, Args)]
pub(super) struct Binding {
    /// The exchange that messages come from.
    pub(super) source: String,
    /// Where they go.
    pub(super) destination: String,
    /// What the destination is.
    #[arg(long, value_enum, default_value_t = Destination::Queue)]
    pub(super) to: Destination,
    /// The routing key.
    #[arg(long, value_name = "KEY", default_value = "")]
    pub(super) key: String,
    /// An argument, as `x-match=any`; may be given several times.
    #[arg(long = "argument", value_name = "KEY=VALUE", value_parser = Pair::parse)]
    arguments: Vec<Pair>,
}

/// What a binding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Destination {
    /// A queue.
    Queue,
    /// An exchange.
    Exchange,
}

impl Destination {
    pub(super) fn letter(self) -> &'static str {
        match self {
            Self::Queue => "q",
            Self::Exchange => "e",
        }
    }
}

impl Declare {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let vhost = context.vhost();
        let wanted = self.wanted(vhost)?;
        let put = match wanted.by {
            By::Put => context.api.put(&wanted.path, &wanted.body),
            By::Post => context.api.post(&wanted.path, &wanted.body),
        };
        let answer = put
            .map_err(explained)
            .with_context(|| format!("cannot declare {}", wanted.what))?;
        let sentence = match (wanted.by, answer.created) {
            (By::Post, _) | (By::Put, true) => format!("{} is declared", wanted.what),
            (By::Put, false) => format!("{} was there, and is as declared", wanted.what),
        };
        context.say(
            &sentence,
            &json!({ "declared": wanted.what, "created": answer.created }),
        )
    }

    /// The request that declares it.
    fn wanted(self, vhost: &str) -> anyhow::Result<Wanted> {
        Ok(match self {
            Self::Vhost(vhost) => vhost.wanted(),
            Self::User(user) => user.wanted()?,
            Self::Permission(permission) => permission.wanted(vhost),
            Self::TopicPermission(permission) => permission.wanted(vhost),
            Self::Policy(policy) => policy.wanted(vhost, "policy", "policies")?,
            Self::OperatorPolicy(policy) => policy.wanted(vhost, "operator policy", "operator-policies")?,
            Self::Parameter(parameter) => parameter.wanted(vhost)?,
            Self::GlobalParameter(parameter) => parameter.wanted()?,
            Self::VhostLimit(VhostLimit { limit, value }) => Wanted::put(
                format!("the limit {limit} of vhost {vhost}"),
                path(&["vhost-limits", vhost, &limit]),
                json!({ "value": value }),
            ),
            Self::UserLimit(UserLimit { user, limit, value }) => Wanted::put(
                format!("the limit {limit} of user {user}"),
                path(&["user-limits", &user, &limit]),
                json!({ "value": value }),
            ),
            Self::Exchange(exchange) => exchange.wanted(vhost),
            Self::Queue(queue) => queue.wanted(vhost),
            Self::Binding(binding) => binding.wanted(vhost),
        })
    }
}

/// What is unclear in a refusal.
fn explained(failure: Failure) -> anyhow::Error {
    match failure.status() {
        Some(405) => {
            anyhow::Error::new(failure).context("this broker does not let it be declared over its API")
        }
        _ => failure.into(),
    }
}

/// A request that declares something.
struct Wanted {
    what: String,
    by: By,
    path: String,
    body: Value,
}

#[derive(Clone, Copy)]
enum By {
    Put,
    Post,
}

impl Wanted {
    fn put(what: String, path: String, body: Value) -> Self {
        let by = By::Put;
        Self { what, by, path, body }
    }
}

impl Vhost {
    fn wanted(self) -> Wanted {
        let mut body = json!({});
        let said = [
            ("description", self.description),
            ("tags", self.tags),
            ("default_queue_type", self.default_queue_type),
        ];
        for (field, value) in said {
            if let Some(value) = value {
                body[field] = json!(value);
            }
        }
        Wanted::put(
            format!("vhost {}", self.name),
            path(&["vhosts", &self.name]),
            body,
        )
    }
}

impl User {
    fn wanted(self) -> anyhow::Result<Wanted> {
        let mut body = json!({ "tags": self.tags });
        match (&self.password_hash, &self.new_password_file) {
            (Some(hash), _) => body["password_hash"] = json!(hash),
            (None, Some(file)) => body["password"] = json!(password_in(file)?),
            // RabbitMQ's word for a user without a password.
            (None, None) if self.no_password => body["password_hash"] = json!(""),
            (None, None) if std::io::stdin().is_terminal() => {
                let (first, again) = (ask("new password: ")?, ask("once more: ")?);
                if first != again {
                    return Err(Misused("the two passwords differ".to_owned()).into());
                }
                body["password"] = json!(first);
            }
            (None, None) => {
                let how = "give --new-password-file, --password-hash or --no-password";
                return Err(Misused(format!("the user {} needs a password: {how}", self.name)).into());
            }
        }
        if body["password"] == json!("") {
            return Err(Misused("the password is empty".to_owned()).into());
        }
        let what = format!("user {}", self.name);
        Ok(Wanted::put(what, path(&["users", &self.name]), body))
    }
}

impl Permission {
    fn wanted(self, vhost: &str) -> Wanted {
        let Self {
            user,
            configure,
            write,
            read,
        } = self;
        Wanted::put(
            format!("what user {user} may do in vhost {vhost}"),
            path(&["permissions", vhost, &user]),
            json!({ "configure": configure, "write": write, "read": read }),
        )
    }
}

impl TopicPermission {
    fn wanted(self, vhost: &str) -> Wanted {
        let Self {
            user,
            exchange,
            write,
            read,
        } = self;
        Wanted::put(
            format!("what user {user} may do with exchange {exchange} in vhost {vhost}"),
            path(&["topic-permissions", vhost, &user]),
            json!({ "exchange": exchange, "write": write, "read": read }),
        )
    }
}

impl Policy {
    fn wanted(self, vhost: &str, what: &str, segment: &str) -> anyhow::Result<Wanted> {
        let all = if segment == "policies" { "all" } else { "queues" };
        let body = json!({
            "pattern": self.pattern,
            "definition": amend::json(&self.definition, "the definition")?,
            "priority": self.priority,
            "apply-to": self.apply_to.as_deref().unwrap_or(all),
        });
        let what = format!("{what} {} in vhost {vhost}", self.name);
        Ok(Wanted::put(what, path(&[segment, vhost, &self.name]), body))
    }
}

impl Parameter {
    fn wanted(self, vhost: &str) -> anyhow::Result<Wanted> {
        let Self {
            component,
            name,
            value,
        } = self;
        let value = amend::json(&value, "the value")?;
        let body = json!({ "component": component, "vhost": vhost, "name": name, "value": value });
        let what = format!("parameter {name} of {component} in vhost {vhost}");
        Ok(Wanted::put(
            what,
            path(&["parameters", &component, vhost, &name]),
            body,
        ))
    }
}

impl GlobalParameter {
    fn wanted(self) -> anyhow::Result<Wanted> {
        let Self { name, value } = self;
        let body = json!({ "name": name, "value": amend::json(&value, "the value")? });
        let what = format!("global parameter {name}");
        Ok(Wanted::put(what, path(&["global-parameters", &name]), body))
    }
}

impl Exchange {
    fn wanted(self, vhost: &str) -> Wanted {
        let body = json!({
            "type": self.kind,
            "durable": !self.transient,
            "auto_delete": self.auto_delete,
            "internal": self.internal,
            "arguments": amend::object(self.arguments),
        });
        let what = format!("exchange {} in vhost {vhost}", self.name);
        Wanted::put(what, path(&["exchanges", vhost, &self.name]), body)
    }
}

impl Queue {
    fn wanted(self, vhost: &str) -> Wanted {
        let mut arguments = amend::object(self.arguments);
        if let Some(kind) = self.kind {
            arguments.insert("x-queue-type".to_owned(), kind.into());
        }
        let body = json!({
            "durable": !self.transient,
            "auto_delete": self.auto_delete,
            "arguments": arguments,
        });
        let what = format!("queue {} in vhost {vhost}", self.name);
        Wanted::put(what, path(&["queues", vhost, &self.name]), body)
    }
}

impl Binding {
    /// The path of all bindings between the two.
    pub(super) fn path(&self, vhost: &str) -> String {
        let (from, to) = (&self.source, &self.destination);
        path(&["bindings", vhost, "e", from, self.to.letter(), to])
    }

    fn wanted(self, vhost: &str) -> Wanted {
        Wanted {
            what: format!(
                "binding of {} to {} in vhost {vhost}",
                self.destination, self.source
            ),
            by: By::Post,
            path: self.path(vhost),
            body: json!({ "routing_key": self.key, "arguments": amend::object(self.arguments) }),
        }
    }
}
